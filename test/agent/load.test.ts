/**
 * Goal: an agent file becomes a definition, or every mistake of every file is told at its place.
 * Method: real files in a temporary folder; at the end, chance spoils a good file 500 times.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AgentOverrides, loadAgents } from "../../src/agent/load.ts";
import { DiagnosticsError } from "../../src/lib/diagnostics.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "plimsoll-agent-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function write(name: string, content: string | Buffer): Promise<string> {
  const path = join(folder, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  return path;
}

async function loadOne(
  yaml: string,
  environment: Record<string, string> = {},
  overrides: AgentOverrides = {},
) {
  const [agent] = await loadAgents(await write("agent.yaml", yaml), environment, overrides);
  if (agent === undefined) throw new Error("expected an agent");
  return agent;
}

/** `file:line:column path message | remedy` of each problem, files relative to the folder. */
async function problems(load: Promise<unknown>): Promise<string[]> {
  const thrown: unknown = await load.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (thrown === undefined) return [];
  if (!(thrown instanceof DiagnosticsError)) throw new Error("not a diagnostic", { cause: thrown });
  expect(thrown.code).toBe("agent_invalid");
  return thrown.diagnostics.map(({ file, line, column, path, message, remedy }) =>
    `${file}:${line}:${column} ${path} ${message} | ${remedy}`.replaceAll(`${folder}/`, ""),
  );
}

const MINIMAL = "name: a\ninstructions: Be kind.\n";

const FULL = `name: support-agent
description: Helps people.
model:
  provider: bedrock
  id: claude-opus-5
  effort: high
  thinking: { budgetTokens: 2048 }
  fallback: [claude-sonnet-5]
instructions:
  file: prompts/system.md
tools:
  builtin: [Read, WebFetch]
  functions: [./tools/clock.js]
  mcp:
    docs: { type: http, url: "https://mcp.example.com", headers: { Authorization: "Bearer \${TOKEN}" } }
    files:
      type: stdio
      command: files-server
      args: [--root, /srv, ./notes, ../x.js, .hidden]
      required: false
output:
  schema: { file: answer.json }
limits: { steps: 5, budgetUsd: 0.5, turnTime: 2m, stallTime: 30s }
hosting: { pattern: ephemeral, spares: 2 }
`;

async function writeIncludes(): Promise<void> {
  await write("prompts/system.md", "You help. ${NOT_A_VARIABLE}\n");
  await write("tools/clock.js", "export const clock = {};\n");
  await write("answer.json", '{"type":"object","properties":{"file":{"type":"string"}}}');
}

describe("loadAgents, a file that fits", () => {
  it("fills in the defaults", async () => {
    expect(await loadOne(MINIMAL)).toEqual({
      name: "a",
      description: "",
      file: join(folder, "agent.yaml"),
      version: expect.stringMatching(/^[0-9a-f]{64}$/u),
      model: { provider: "anthropic", id: "claude-sonnet-5", fallback: [] },
      instructions: "Be kind.",
      tools: { builtin: [], functions: [], mcp: {} },
      limits: {
        steps: 20,
        turnTimeMs: 600_000,
        stallTimeMs: 300_000,
        transcript: { maxBytes: 16 * 2 ** 20, whenFull: "shorten" },
      },
      hosting: { pattern: "hybrid", stayMs: 0, spares: 0, clientWaitMs: 0 },
    });
  });

  it("takes every key, and reads what the file names", async () => {
    await writeIncludes();
    const agent = await loadOne(FULL, { TOKEN: "t" });
    expect(agent).toEqual({
      name: "support-agent",
      description: "Helps people.",
      file: join(folder, "agent.yaml"),
      version: agent.version,
      model: {
        provider: "bedrock",
        id: "claude-opus-5",
        effort: "high",
        thinking: { type: "enabled", budgetTokens: 2048 },
        fallback: ["claude-sonnet-5"],
      },
      instructions: "You help. ${NOT_A_VARIABLE}\n",
      tools: {
        builtin: ["Read", "WebFetch"],
        functions: [join(folder, "tools/clock.js")],
        mcp: {
          docs: {
            type: "http",
            url: "https://mcp.example.com",
            headers: { Authorization: "Bearer t" },
            required: true,
          },
          files: {
            type: "stdio",
            command: "files-server",
            args: ["--root", "/srv", join(folder, "notes"), join(folder, "../x.js"), ".hidden"],
            env: {},
            required: false,
          },
        },
      },
      outputSchema: { type: "object", properties: { file: { type: "string" } } },
      limits: {
        steps: 5,
        budgetUsd: 0.5,
        turnTimeMs: 120_000,
        stallTimeMs: 30_000,
        transcript: { maxBytes: 16 * 2 ** 20, whenFull: "shorten" },
      },
      hosting: { pattern: "ephemeral", stayMs: 0, spares: 2, clientWaitMs: 0 },
    });
  });

  it("takes an output schema in place, also one with a property named file", async () => {
    const schema = "{ type: object, properties: { file: { type: string } }, file: 1 }";
    const { outputSchema } = await loadOne(`${MINIMAL}output: { schema: ${schema} }\n`);
    expect(outputSchema).toMatchObject({ type: "object", file: 1 });
  });

  it("lets the command line choose provider and model", async () => {
    await write("script.yaml", "replies: []\n");
    const yaml = `${MINIMAL}model: { thinking: adaptive, rehearsalScript: script.yaml }\n`;
    expect((await loadOne(yaml)).model).not.toHaveProperty("rehearsalScript");
    const { model } = await loadOne(yaml, {}, { provider: "rehearsal", modelId: "m" });
    expect(model).toEqual({
      provider: "rehearsal",
      id: "m",
      thinking: { type: "adaptive" },
      fallback: [],
      rehearsalScript: join(folder, "script.yaml"),
    });
  });

  it("has no stall time above the turn time", async () => {
    const { limits } = await loadOne(`${MINIMAL}limits: { turnTime: 1m }\n`);
    expect(limits.stallTimeMs).toBe(60_000);
  });

  it("changes the version with the file and with what it names", async () => {
    await writeIncludes();
    const version = async (yaml: string) => (await loadOne(yaml, { TOKEN: "t" })).version;
    const first = await version(FULL);
    expect(await version(FULL)).toBe(first);
    expect(await version(`${FULL}# more\n`)).not.toBe(first);
    for (const [file, content] of [
      ["prompts/system.md", "Other"],
      ["tools/clock.js", "// other"],
      ["answer.json", '{"type":"object"}'],
    ] as const) {
      await writeIncludes();
      await write(file, content);
      expect(await version(FULL), file).not.toBe(first);
    }
  });

  it("gives a value that cannot be changed", async () => {
    const agent = await loadOne(MINIMAL);
    expect(() => Object.assign(agent.limits, { steps: 9 })).toThrow(TypeError);
    expect(Object.isFrozen(agent.tools.mcp)).toBe(true);
  });

  it("loads the agents of the examples", async () => {
    const examples = fileURLToPath(new URL("../../examples", import.meta.url));
    const names: string[] = [];
    // One by one: an agent that is a session is served alone.
    for (const name of await readdir(examples)) {
      const file = join(examples, name, "agent.yaml");
      if (!existsSync(file)) continue;
      names.push(...(await loadAgents(file, {})).map((agent) => agent.name));
    }
    expect(names).toContain("hello");
    expect(names.length).toBeGreaterThanOrEqual(5);
  });
});

describe("loadAgents, a folder", () => {
  it("takes *.yaml but the server file, and every folder's agent.yaml", async () => {
    await write("plimsoll.yaml", "listen: {}\n");
    await write("b.yaml", MINIMAL.replace(": a", ": b"));
    await write("c/agent.yaml", MINIMAL.replace(": a", ": c"));
    await write("c/prompts.yaml", "no: agent\n");
    await write(".hidden/agent.yaml", "no: agent\n");
    await write("notes.md", "no agent");
    expect((await loadAgents(folder, {})).map(({ name }) => name)).toEqual(["b", "c"]);
  });

  it("takes the agents of folders that are links", async () => {
    await write("elsewhere/support/agent.yaml", MINIMAL);
    await write("agents/b.yaml", "name: b\ninstructions: x\n");
    await symlink("../elsewhere/support", join(folder, "agents", "support"));
    await symlink("../elsewhere/none", join(folder, "agents", "broken"));
    await symlink("b.yaml", join(folder, "agents", "a-link"));
    const agents = await loadAgents(join(folder, "agents"), {});
    expect(agents.map(({ name }) => name)).toEqual(["b", "a"]);
    expect(agents[1]?.file).toBe(join(folder, "agents", "support", "agent.yaml"));
  });

  it("tells the problems of all files, and names that are there twice", async () => {
    await write("a.yaml", "nam: a\ninstructions: x\n");
    await write("b.yaml", MINIMAL);
    await write("c.yaml", `description: x\n${MINIMAL}`);
    expect(await problems(loadAgents(folder, {}))).toEqual([
      "a.yaml:1:1 name is missing: needs text | ",
      "a.yaml:1:1 nam is not a key that is known here | Did you mean `name`?",
      "c.yaml:2:7 name is the name of b.yaml as well | Rename one",
    ]);
  });

  it("serves an agent that is a session alone", async () => {
    await write("a.yaml", `${MINIMAL}hosting: {pattern: single-container, idleTime: 1m}\n`);
    expect((await loadAgents(folder, {}))[0]?.hosting).toEqual({
      pattern: "single-container",
      stayMs: 60_000,
      spares: 0,
      clientWaitMs: 0,
    });
    await write("b.yaml", MINIMAL.replace(": a", ": b"));
    expect(await problems(loadAgents(folder, {}))).toEqual([
      "a.yaml:3:20 hosting.pattern needs a server of its own: it serves one session of one agent, and here are 2 | Serve this file alone, or use the pattern `long-running`",
    ]);
  });

  it("says when there is nothing", async () => {
    expect(await problems(loadAgents(folder, {}))).toEqual([
      expect.stringContaining("holds no agent file | Put a file `agent.yaml` there"),
    ]);
    expect(await problems(loadAgents(join(folder, "none.yaml"), {}))).toEqual([
      "none.yaml:1:1  the agent file does not exist | Correct the path",
    ]);
  });
});

const NAME = "needs 1 to 63 lower-case letters, digits and `-`, not beginning with `-`";
const RESERVED = "needs another name: `plimsoll`, `tools` and names with `__` are reserved";

describe("loadAgents, problems", () => {
  it.each<[yaml: string, ...problems: string[]]>([
    [
      "name: My Agent\ninstructions: x\n",
      `1:7 name ${NAME}: got "My Agent" | Choose a name such as \`support-agent\``,
    ],
    ["name: a\n", "1:1 instructions is missing: needs text or a map of keys | "],
    [
      'name: a\ninstructions: " "\n',
      '2:15 instructions needs text that is not empty: got " " | Say what the agent does',
    ],
    [
      `${MINIMAL}hosting: {pattern: single-container, spares: 2}\n`,
      "3:46 hosting.spares needs at most 1 with `single-container`: got 2 | Lower it: there is one session",
    ],
    [
      `${MINIMAL}hosting: {pattern: hybird}\n`,
      '3:20 hosting.pattern needs one of `hybrid`, `ephemeral`, `long-running`, `single-container`: got "hybird" | Did you mean `hybrid`?',
    ],
    [
      `${MINIMAL}hosting: {pattern: ephemeral, linger: 1m}\n`,
      '3:39 hosting.linger needs the pattern `hybrid`: got "1m" | Remove `linger`, or change the pattern',
    ],
    [
      `${MINIMAL}hosting: {idleTime: 1m}\n`,
      '3:21 hosting.idleTime needs the pattern `long-running` or `single-container`: got "1m" | Remove `idleTime`, or change the pattern; with `hybrid` it is called `linger`',
    ],
    [
      `${MINIMAL}limits: {budgetUsd: 1}\nhosting: {linger: 1m}\n`,
      "3:21 limits.budgetUsd needs a process for each turn: it counts what the process has spent since its start: got 1 | Remove it, or `linger`, or use the pattern `hybrid`",
    ],
    [
      `${MINIMAL}hosting: {spares: 65}\n`,
      expect.stringMatching(/^3:19 hosting\.spares needs .*64.*: got 65/u),
    ],
    [
      `${MINIMAL}tools: {builtin: [bash]}\n`,
      expect.stringMatching(
        /^3:19 tools\.builtin\[0\] needs one of `Bash`.*got "bash" \| Did you mean `Bash`\?$/u,
      ),
    ],
    [
      `${MINIMAL}tools: {builtin: [Read, Read]}\n`,
      "3:18 tools.builtin needs every tool once: got a list | Remove the repetition",
    ],
    [
      `${MINIMAL}tools: {mcp: {tools: {type: stdio, command: x}}}\n`,
      `3:15 tools.mcp.tools ${RESERVED} | Choose another name`,
    ],
    [
      `${MINIMAL}tools: {mcp: {a__b: {type: stdio, command: x}}}\n`,
      `3:15 tools.mcp.a__b ${RESERVED} | Choose another name`,
    ],
    [
      `${MINIMAL}tools: {mcp: {a.b: {type: stdio, command: x}}}\n`,
      "3:15 tools.mcp.a.b needs a server name of letters, digits, `_` and `-` | Choose another name",
    ],
    [
      `${MINIMAL}tools: {mcp: {a: {type: stdoi, command: x}}}\n`,
      expect.stringMatching(
        /^3:25 tools\.mcp\.a\.type needs one of .*got "stdoi" \| Did you mean `stdio`\?$/u,
      ),
    ],
    [
      `${MINIMAL}tools: {mcp: {a: {type: http, url: "http://x", headers: {"a key": b, c: "é\u20ac"}}}}\n`,
      "3:58 tools.mcp.a.headers.a key needs the name of a header: letters, digits and `-`, without blanks or a colon | Write for example `X-Api-Key`",
    ],
    [
      `${MINIMAL}tools: {mcp: {a: {type: http, url: "http://x", headers: {c: "\u20ac", d: "é"}}}}\n`,
      "3:58 tools.mcp.a.headers.c needs a value that a header can have: one line of Latin letters and signs | Take out line breaks, also one at its end, and what is not in Latin-1",
    ],
    [
      `${MINIMAL}tools: {mcp: {a: {type: http, url: "file:///x"}}}\n`,
      '3:36 tools.mcp.a.url needs an http or https URL: got "file:///x" | Write for example `https://mcp.example.com/mcp`',
    ],
    [
      `${MINIMAL}model: {thinking: {budgetTokens: 5}}\n`,
      "3:34 model.thinking.budgetTokens needs at least 1024: got 5 | ",
    ],
    [
      `${MINIMAL}model: {provider: antropic}\n`,
      expect.stringMatching(/^3:19 model\.provider .* \| Did you mean `anthropic`\?$/u),
    ],
    [
      `${MINIMAL}limits: {steps: 0, budgetUsd: 0}\n`,
      "3:17 limits.steps needs at least 1: got 0 | ",
      "3:31 limits.budgetUsd needs more than 0: got 0 | ",
    ],
    [
      `${MINIMAL}output: {schema: {type: array}}\n`,
      '3:25 output.schema.type needs `object`: got "array" | ',
    ],
    // What the file names.
    [
      "name: a\ninstructions: {file: none.md}\n",
      '2:22 instructions.file the instructions file "none.md" does not exist | Correct the path; it is relative to the agent file',
    ],
    [
      "name: a\ninstructions: {file: .}\n",
      '2:22 instructions.file the instructions file "." is a directory | Name a file; it is relative to the agent file',
    ],
    [
      "name: a\ninstructions: {file: empty.md}\n",
      '2:22 instructions.file the instructions file "empty.md" is empty | Say what the agent does',
    ],
    [
      "name: a\ninstructions: {file: big.md}\n",
      '2:22 instructions.file the instructions file "big.md" is larger than 256KiB | Make it smaller; it is relative to the agent file',
    ],
    [
      `${MINIMAL}tools: {functions: [empty.md, none.js]}\n`,
      '3:21 tools.functions[0] the module "empty.md" is not a module | Name a .js, .mjs, .ts or .mts file',
      '3:31 tools.functions[1] the module "none.js" does not exist | Correct the path; it is relative to the agent file',
    ],
    [
      `${MINIMAL}output: {schema: {file: bad.json}}\n`,
      '3:25 output.schema.file the schema file "bad.json" is not JSON | It must be JSON with `type` `object`',
    ],
    [
      `${MINIMAL}output: {schema: {file: array.json}}\n`,
      '3:25 output.schema.file the schema file "array.json" is not of type `object` | It must be JSON with `type` `object`',
    ],
    // All at once.
    [
      "nam: a\ninstructions: {file: none.md}\nmodel:\n  id: ${NONE}\n",
      expect.stringContaining(":1 name is missing"),
      expect.stringContaining("1:1 nam "),
      expect.stringContaining("2:22 instructions.file"),
      expect.stringMatching(/^4:7 model/u),
    ],
  ])("%s", async (yaml, ...expected) => {
    await write("empty.md", "\n");
    await write("big.md", "x".repeat(256 * 1024 + 1));
    await write("bad.json", "{type: secret");
    await write("array.json", '{"type":"array"}');
    const found = await problems(loadOne(yaml));
    expect(found.map((line) => line.replace(/^agent\.yaml:/u, ""))).toEqual(expected);
  });

  it("takes no output schema that is too long for a command line, wherever it stands", async () => {
    const schemaOf = (bytes: number) =>
      JSON.stringify({ type: "object", title: "x".repeat(bytes) });
    await write("long.json", schemaOf(120 * 1024));
    for (const schema of ["{ file: long.json }", schemaOf(120 * 1024)]) {
      expect(await problems(loadOne(`${MINIMAL}output: { schema: ${schema} }\n`))).toEqual([
        "agent.yaml:3:19 output.schema is larger than 120KiB as JSON | Make it smaller, by shorter descriptions for example",
      ]);
    }
    const { outputSchema } = await loadOne(`${MINIMAL}output: { schema: ${schemaOf(122_000)} }\n`);
    expect(outputSchema).toMatchObject({ type: "object" });
  });

  it("shows no variable in the name of a file", async () => {
    const yaml = "name: a\ninstructions: {file: '${SECRET}'}\n";
    const found = await problems(loadOne(yaml, { SECRET: "hush" }));
    expect(found).toHaveLength(1);
    expect(found.join()).not.toContain("hush");
    expect(found.join()).toContain("`${SECRET}`");
  });
});

describe("loadAgents, a good file spoilt by chance", () => {
  it("says what is wrong and nothing worse, soon", { timeout: 60_000 }, async () => {
    await writeIncludes();
    const pieces = "{}[]:,-?&*!|>'\"%@`#\n\t \0\uFEFF\u2028".split("");
    const words = [
      "${",
      "$${",
      "${TOKEN}",
      "---\n",
      "...\n",
      "&a ",
      "*a",
      "<<: ",
      "!!map ",
      "__proto__: ",
      "\r\n",
      "null",
      "1e999",
    ];
    const edit = fc.record({
      at: fc.nat(FULL.length),
      remove: fc.nat(12),
      insert: fc.constantFrom(...pieces, ...words, ""),
    });
    let invalid = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
        const spoilt = edits.reduce(
          (text, { at, remove, insert }) => text.slice(0, at) + insert + text.slice(at + remove),
          FULL,
        );
        const before = process.cpuUsage();
        const found = await problems(loadOne(spoilt, { TOKEN: "hush-hush" }));
        const { user, system } = process.cpuUsage(before);
        expect((user + system) / 1000).toBeLessThan(2_000);
        expect(found.join()).not.toContain("hush-hush");
        if (found.length > 0) invalid++;
      }),
      { numRuns: 500 },
    );
    expect(invalid).toBeGreaterThan(250);
  });
});
