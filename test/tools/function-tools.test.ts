/**
 * Goal: a user's module becomes tools, or its mistake is named; what a tool does wrong stays in it.
 * Method: modules written to disk; the tools called over MCP as the agent process does, and once by
 * the real Claude Code.
 */

import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { InMemoryTransport } from "@modelcontextprotocol/sdk/inMemory.js";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

import { defineTool, loadFunctionTools, type ToolContext } from "../../src/tools/function-tools.ts";
import { ROOT, run } from "../cli/plimsoll.ts";
import { AgentLab } from "../turn/real-agents.ts";

const CONTEXT: ToolContext = {
  agentName: "helper",
  tenant: "acme",
  sessionId: "s",
  turnId: "t",
  signal: new AbortController().signal,
};

let directory = "";
beforeAll(async () => {
  // Within the project, so that a module finds zod as a user's would in theirs.
  directory = await mkdtemp(join(dirname(fileURLToPath(import.meta.url)), ".modules-"));
});
afterAll(() => rm(directory, { recursive: true }));

async function module(name: string, source: string): Promise<string> {
  const file = join(directory, name);
  await writeFile(file, source);
  return file;
}

interface Called {
  readonly text: string;
  readonly isError: boolean;
}

/** A client of the tools, as a turn's process is one. */
async function connect(files: readonly string[], context = CONTEXT) {
  const errors: [string, unknown][] = [];
  const tools = await loadFunctionTools(files);
  const server = tools.serverFor(
    () => context,
    (...error) => errors.push(error),
  );
  if (server === undefined) throw new Error("no tools");
  const client = new Client({ name: "test", version: "1" });
  const [ours, theirs] = InMemoryTransport.createLinkedPair();
  await server.instance.connect(theirs);
  await client.connect(ours);
  return {
    errors,
    list: async () => (await client.listTools()).tools,
    call: async (name: string, input: Record<string, unknown>): Promise<Called> => {
      const result = await client.callTool({ name, arguments: input });
      const [part] = result.content as { text: string }[];
      return { text: part?.text ?? "", isError: result.isError === true };
    },
  };
}

const GREET_JS = `
export const greet = {
  description: "Greets someone",
  input: {
    type: "object",
    properties: {
      name: { type: "string", description: "Whom to greet" },
      times: { type: "integer", minimum: 1 },
    },
    required: ["name"],
  },
  run: ({ name, times = 1 }, { tenant }) => Array(times).fill(name + " of " + tenant).join(),
};
export const nothing = { description: "Does nothing", input: { type: "object" }, run() {} };
`;

const WHOLE_JS = `
import { z } from "zod";
const description = "Says what it was given";
const run = (input) => JSON.stringify(input);
const a = { type: "string" };
export const map = {
  description, run, input: { type: "object", additionalProperties: { type: "number" } },
};
export const closed = {
  description, run, input: { type: "object", properties: { a }, additionalProperties: false },
};
export const plain = { description, run, input: z.object({ a: z.string() }) };
export const loose = { description, run, input: z.looseObject({ a: z.string() }) };
export const strict = { description, run, input: z.strictObject({ a: z.string() }) };
export const catchall = { description, run, input: z.object({}).catchall(z.number()) };
export const refined = {
  description, run,
  input: z.object({ from: z.number(), to: z.number() }).refine(({ from, to }) => from < to, "order"),
};
`;

const ADD_TS = `
import { z } from "zod";
interface Sum { readonly sum: number }
export const add = {
  description: "Adds" as string,
  input: z.object({ left: z.number().describe("The first"), right: z.number() }),
  run: ({ left, right }: { left: number; right: number }): Sum => ({ sum: left + right }),
};
`;

describe("loadFunctionTools", () => {
  it("has no server when there are no tools", async () => {
    const tools = await loadFunctionTools([]);
    expect(tools.names).toEqual([]);
    expect(
      tools.serverFor(
        () => CONTEXT,
        () => {},
      ),
    ).toBeUndefined();
  });

  it("loads JavaScript with a JSON Schema, and TypeScript with zod", async () => {
    const files = [await module("greet.js", GREET_JS), await module("add.ts", ADD_TS)];
    const tools = await loadFunctionTools(files);
    expect(tools.names).toEqual(["greet", "nothing", "add"]);
    const { list, call, errors } = await connect(files);
    const [greet, , add] = await list();
    expect(greet).toMatchObject({
      name: "greet",
      description: "Greets someone",
      inputSchema: {
        properties: { name: { type: "string", description: "Whom to greet" } },
        required: ["name"],
      },
    });
    expect(add?.inputSchema).toMatchObject({
      properties: { left: { type: "number", description: "The first" } },
      required: ["left", "right"],
    });
    expect(await call("greet", { name: "Ada", times: 2 })).toEqual({
      text: "Ada of acme,Ada of acme",
      isError: false,
    });
    expect(await call("add", { left: 1, right: 2 })).toEqual({ text: '{"sum":3}', isError: false });
    expect(await call("nothing", {})).toEqual({ text: "", isError: false });
    expect(errors).toEqual([]);
  });

  it("checks the input before the tool sees it", async () => {
    const { call, errors } = await connect([await module("checked.js", GREET_JS)]);
    for (const input of [{}, { name: 7 }, { name: "Ada", times: 0 }]) {
      const { isError, text } = await call("greet", input);
      expect(isError).toBe(true);
      expect(text).toContain("Input validation error");
    }
    expect(errors).toEqual([]);
  });

  it("hands on what a schema allows beyond its properties, and nothing that it forbids", async () => {
    const { call } = await connect([await module("whole.js", WHOLE_JS)]);
    for (const [name, input, expected] of [
      ["map", { x: 1, y: 2 }, '{"x":1,"y":2}'],
      ["map", { x: "one" }, null],
      ["closed", { a: "1" }, '{"a":"1"}'],
      ["closed", { a: "1", b: "2" }, null],
      ["loose", { a: "1", b: "2" }, '{"a":"1","b":"2"}'],
      ["strict", { a: "1", b: "2" }, null],
      ["catchall", { b: 2 }, '{"b":2}'],
      ["refined", { from: 1, to: 2 }, '{"from":1,"to":2}'],
      ["refined", { from: 2, to: 1 }, null],
      ["plain", { a: "1", b: "2" }, '{"a":"1"}'],
    ] as const) {
      const { text, isError } = await call(name, input);
      expect([name, input, isError ? null : text]).toEqual([name, input, expected]);
      if (isError) expect(text).toContain("Input validation error");
    }
  });

  it("loads TypeScript as people write it, also where Node strips types by itself", async () => {
    await mkdir(join(directory, "node_modules", "shop"), { recursive: true });
    const tool = (name: string, result: string) =>
      `export const ${name} = { description: "d", input: { type: "object" }, run: () => ${result} };`;
    await module("db.ts", "export enum State { open = 'open' }\nexport const rows: number = 1;");
    const orders = `import { rows } from "./db.js";\nimport { State } from "./db";\n`;
    await module("orders.ts", orders + tool("orders", "`${rows} ${State.open}`"));
    await module("node_modules/shop/index.ts", tool("shop", '"open" as string'));
    const functions = "[orders.ts, node_modules/shop/index.ts]";
    const file = await module(
      "typed.yaml",
      `name: typed\ninstructions: x\ntools: { functions: ${functions} }\n`,
    );
    // From 22.18 on a Node says so of itself.
    const strips = `Reflect.defineProperty(process.features, "typescript", { value: "strip" })`;
    const node = [process.execPath, "--import", `data:text/javascript,${strips}`] as const;
    const program = [...node, join(ROOT, "build", "main.js")] as const;
    const { code, stderr } = await run(["check", file], { directory, program });
    expect([code, stderr]).toEqual([0, ""]);
    const { call } = await connect([join(directory, "orders.ts")]);
    expect((await call("orders", {})).text).toBe("1 open");
  });

  it("leaves no translated code where other users could put theirs", async () => {
    const temporary = join(directory, "temporary");
    await mkdir(temporary);
    vi.stubEnv("TMPDIR", temporary);
    try {
      await loadFunctionTools([await module("fresh.ts", ADD_TS)]);
    } finally {
      vi.unstubAllEnvs();
    }
    expect(await readdir(temporary)).toEqual([]);
  });

  it.each([
    ["{ minProperties: 1 }", 'input has "minProperties", which cannot be checked'],
    ['{ anyOf: [{ required: ["a"] }], not: {} }', 'input has "anyOf", "not", which cannot'],
    ["{ patternProperties: {} }", 'input has "patternProperties"'],
    ["{ dependencies: {} }", 'input has "dependencies"'],
    ["{ properties: { a: { if: {}, then: {} } } }", "of type object (Conditional schemas"],
  ])("refuses a JSON Schema that it could not check: %s", async (more, reason) => {
    const file = await module(
      `unchecked-${more.replaceAll(/\W+/g, "-")}.js`,
      `export const it = { description: "d", input: { type: "object", ...${more} }, run() {} };`,
    );
    const error = await loadFunctionTools([file]).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: "agent_invalid",
      message: expect.stringContaining(reason) as string,
    });
  });

  it.each(["counter.js", "counter.ts"])(
    "loads %s once, however many agents use it",
    async (name) => {
      const file = await module(
        name,
        `let n = 0;
       export const count = { description: "Counts", input: { type: "object" }, run: () => ++n };`,
      );
      const [first, second] = [await connect([file]), await connect([file])];
      expect((await first.call("count", {})).text).toBe("1");
      expect((await second.call("count", {})).text).toBe("2");
    },
  );

  const tool = (fields: string) => `export const it = { ${fields} };`;
  const whole = 'description: "d", input: { type: "object" }, run() {}';
  it.each([
    ["a default export", `export default { ${whole} };`, '"default"', "tools are named exports"],
    ["no object", "export const it = 7;", '"it"', "an object with description, input and run"],
    ["null", "export const it = null;", '"it"', "an object with description, input and run"],
    ["no run", tool('description: "d", input: { type: "object" }'), '"it"', "input and run"],
    [
      "no description",
      tool('input: { type: "object" }, run() {}'),
      '"it"',
      "description is missing",
    ],
    ["no input", tool('description: "d", run() {}'), '"it"', "input must be a zod object"],
    [
      "an input that is no object",
      tool('description: "d", input: { type: "string" }, run() {}'),
      '"it"',
      "input must be a zod object or a JSON Schema of type object",
    ],
    [
      "an unusable name",
      `const it = { ${whole} }; export { it as "a b" };`,
      '"a b"',
      "not a usable tool name",
    ],
    ["a syntax error", "export const = 1;", "Cannot load the tools", "Unexpected token"],
    ["a throw", 'throw new Error("no database");', "Cannot load the tools", "no database"],
  ])("names the mistake of a module with %s", async (mistake, source, place, reason) => {
    const file = await module(`${mistake.replaceAll(" ", "-")}.js`, source);
    const loading = loadFunctionTools([file]);
    await expect(loading).rejects.toMatchObject({ code: "agent_invalid" });
    await expect(loading).rejects.toThrow(place);
    await expect(loading).rejects.toThrow(reason);
    await expect(loading).rejects.toThrow(file);
  });

  it("refuses a name that two modules export, and a file that is not there", async () => {
    const files = [await module("one.js", GREET_JS), await module("two.js", GREET_JS)];
    await expect(loadFunctionTools(files)).rejects.toThrow("another module exports");
    const missing = loadFunctionTools([join(tmpdir(), "not", "there.js")]);
    await expect(missing).rejects.toMatchObject({ code: "agent_invalid" });
  });
});

describe("a function tool", () => {
  const FAULTY = `
    const input = { type: "object" };
    const description = "Is faulty";
    const cycle = {}; cycle.self = cycle;
    export const throws = { description, input, run() { throw new Error("the database is away"); } };
    export const rejects = { description, input, run: async () => Promise.reject("no error at all") };
    export const circular = { description, input, run: () => cycle };
    export const huge = { description, input, run: () => "x".repeat(400_001) };
    export const shouts = { description, input, run() { throw new Error("x".repeat(500_000)); } };
  `;

  it.each([
    ["throws", "the database is away"],
    ["rejects", "The tool failed"],
    ["circular", "circular structure"],
    ["huge", "the result has 400001 characters, at most 400000 are passed on"],
  ])("that %s tells the model, and the log", async (name, words) => {
    const { call, errors } = await connect([await module("faulty.js", FAULTY)]);
    const { text, isError } = await call(name, {});
    expect(isError).toBe(true);
    expect(text).toContain(words);
    expect(errors.map(([toolName]) => toolName)).toEqual([name]);
  });

  it("cannot flood the model with its error", async () => {
    const { call } = await connect([await module("shouts.js", FAULTY)]);
    expect((await call("shouts", {})).text).toHaveLength(400_000);
  });

  it("is typed by its zod schema", async () => {
    const { z } = await import("zod");
    const typed = defineTool({
      description: "Doubles",
      input: z.object({ n: z.number() }),
      run: ({ n }) => 2 * n,
    });
    expect(typed.run({ n: 4 }, CONTEXT)).toBe(8);
  });

  const WAITS = `
    export const wait = {
      description: "Waits",
      input: { type: "object" },
      async run(_input, { signal }) {
        globalThis.waiting = true;
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        globalThis.waiting = false;
        return "too late for anyone";
      },
    };
  `;

  it("learns that its turn was cancelled, and may answer when nobody listens", async () => {
    const unhandled: unknown[] = [];
    const onUnhandled = (reason: unknown): void => void unhandled.push(reason);
    process.on("unhandledRejection", onUnhandled);
    const call = { tool: { name: "wait", input: {} } };
    await using lab = await AgentLab.open([{ reply: [call] }]);
    const state = globalThis as { waiting?: boolean };
    const controller = new AbortController();
    const turn = lab.turn({
      agent: { tools: { functions: [await module("waits.js", WAITS)] } },
      signal: controller.signal,
    });
    await vi.waitFor(() => expect(state.waiting).toBe(true), { timeout: 30_000 });
    controller.abort("client_gone");
    const { end } = await turn;
    expect(end.outcome).toMatchObject({ status: "cancelled", cause: "client_gone" });
    expect(state.waiting).toBe(false);
    await new Promise((resolve) => setTimeout(resolve, 100));
    process.off("unhandledRejection", onUnhandled);
    expect(unhandled).toEqual([]);
  });

  it("is called by the real Claude Code", async () => {
    await using lab = await AgentLab.open([
      { when: { afterTool: false }, reply: [{ tool: { name: "greet", input: { name: "Ada" } } }] },
      { reply: [{ text: "{{toolResult}}" }] },
    ]);
    const functions = [await module("called.js", GREET_JS)];
    const { end, events } = await lab.turn({ agent: { tools: { functions } } });
    expect(end.outcome).toMatchObject({ status: "completed", text: "Ada of acme" });
    expect(events).toContainEqual(
      expect.objectContaining({
        type: "tool_call_started",
        toolName: "greet",
        serverName: "tools",
      }),
    );
  });
});
