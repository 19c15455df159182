import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";

import { DiagnosticsError } from "../../src/lib/diagnostics.ts";
import { BUILT_IN_SCRIPT } from "../../src/rehearsal/built-in-script.ts";
import { loadRehearsalScript } from "../../src/rehearsal/load-script.ts";
import { PLACEHOLDERS } from "../../src/rehearsal/template.ts";
import { matchesPattern, RehearsalScriptSchema } from "../../src/rehearsal/script.ts";

describe("RehearsalScriptSchema", () => {
  it("takes the built-in script", () => {
    expect(RehearsalScriptSchema.parse(BUILT_IN_SCRIPT)).toEqual(BUILT_IN_SCRIPT);
  });

  it.each([
    ["no rules", { rules: [] }],
    ["an unknown key", { rules: [{ reply: [{ text: "a" }], delay: 3 }] }],
    ["a part with two keys", { rules: [{ reply: [{ text: "a", thinking: "b" }] }] }],
    ["a part without a key", { rules: [{ reply: [{}] }] }],
    ["an unknown placeholder", { rules: [{ reply: [{ text: "{{secret}}" }] }] }],
    [
      "an unknown placeholder in a tool's input",
      { rules: [{ reply: [{ tool: { name: "a", input: { b: ["{{secret}}"] } } }] }] },
    ],
    ["a broken expression", { rules: [{ when: { userText: "/(/" }, reply: [{ text: "a" }] }] }],
    ["a status the API does not have", { rules: [{ error: { status: 418 } }] }],
    ["no reply", { rules: [{ when: {} }] }],
    ["no reply after the last error", { rules: [{ error: { status: 529, times: 2 } }] }],
    [
      "a stream that is both cut and held",
      { rules: [{ reply: [{ text: "a" }], cutAfterTokens: 1, hangAfterTokens: 1 }] },
    ],
  ])("refuses %s", (_, script) => {
    expect(RehearsalScriptSchema.safeParse(script).success).toBe(false);
  });
});

describe("matchesPattern()", () => {
  it.each([
    ["What is the WEATHER?", "weather", true],
    ["What is the time?", "weather", false],
    ["a.c", "a.c", true],
    ["abc", "a.c", false],
    ["abc", "/^a.c$/", true],
    ["ABC", "/^a.c$/", false],
    ["ABC", "/^a.c$/i", true],
    ["see /usr/bin", "/usr/bin", true],
  ])("finds in %j the pattern %j: %j", (text, pattern, found) => {
    expect(matchesPattern(text, pattern)).toBe(found);
  });
});

describe("loadRehearsalScript()", () => {
  let directory = "";
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "rehearsal-script-"));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  async function load(text: string, environment = {}): Promise<unknown> {
    const file = join(directory, "script.yaml");
    await writeFile(file, text);
    return loadRehearsalScript(file, environment);
  }

  it("reads a script and puts variables into it", async () => {
    const script = await load('rules:\n  - reply: [{ text: "Hello ${NAME}" }]\n', { NAME: "Ada" });
    expect(script).toEqual({ rules: [{ reply: [{ text: "Hello Ada" }] }] });
  });

  it("names every problem with its place and the cure", async () => {
    const text = "rules:\n  - reply:\n      - txt: hello\n    firstTokenMs: -1\n";
    const thrown: unknown = await load(text).catch((error: unknown) => error);
    if (!(thrown instanceof DiagnosticsError)) throw thrown;
    expect(thrown.code).toBe("agent_invalid");
    expect(thrown.diagnostics).toMatchObject([
      { line: 3, column: 9, path: "rules[0].reply[0].txt", remedy: "Did you mean `text`?" },
      { line: 3, path: "rules[0].reply[0]" },
      { line: 4, column: 19, path: "rules[0].firstTokenMs" },
    ]);
  });

  it("says that a file cannot be read", async () => {
    const missing = loadRehearsalScript(join(directory, "none.yaml"), {});
    await expect(missing).rejects.toMatchObject({
      code: "agent_invalid",
      diagnostics: [{ message: "cannot be read: ENOENT" }],
    });
  });

  it("takes the scripts that the documentation shows", async () => {
    const examples = [...(await readPage()).matchAll(/```yaml\n(.*?)```/gs)];
    expect(examples.length).toBeGreaterThan(0);
    for (const [, example = ""] of examples) await load(example);
  });
});

describe("docs/rehearsal.md", () => {
  it("explains every key in the words of the schema", async () => {
    const page = await readPage();
    const missing = describedKeys(z.toJSONSchema(RehearsalScriptSchema, { io: "input" })).filter(
      ({ key, description }) => !page.includes(`${key}\` | ${description} |`),
    );
    // What the page says of these stands above their tables.
    expect(missing.map(({ key }) => key).sort()).toEqual(["reply", "when"]);
  });

  it("explains every placeholder", async () => {
    const page = await readPage();
    for (const [name, meaning] of Object.entries(PLACEHOLDERS)) {
      expect(page).toContain(`| \`{{${name}}}\` | ${meaning} |`);
    }
  });
});

function readPage(): Promise<string> {
  return readFile(new URL("../../docs/rehearsal.md", import.meta.url), "utf8");
}

type JsonSchema = z.core.JSONSchema.JSONSchema;

/** Every key of the schema with its description; one without is a key that nobody explains. */
function describedKeys(schema: JsonSchema): { key: string; description: string }[] {
  const own = Object.entries(schema.properties ?? {}).flatMap(([key, value]) =>
    typeof value === "boolean"
      ? []
      : [{ key, description: value.description ?? "nothing" }, ...describedKeys(value)],
  );
  const { items } = schema;
  const isSchema = typeof items === "object" && !Array.isArray(items);
  return isSchema ? [...own, ...describedKeys(items)] : own;
}
