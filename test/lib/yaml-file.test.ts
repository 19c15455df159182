/**
 * Goal: every mistake in a file is told at its place, in one run, in bounded time, without a secret.
 * Method: a table of bad inputs with the exact line and column; chance for what no one thought of.
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { formatDiagnostics } from "../../src/lib/diagnostics.ts";
import { nearest } from "../../src/lib/did-you-mean.ts";
import { needs } from "../../src/lib/schema-issues.ts";
import { readYaml } from "../../src/lib/yaml-file.ts";

const Schema = z.strictObject({
  name: z.string().optional(),
  count: z.int().min(1).max(9).optional(),
  ratio: z.number().optional(),
  isOn: z.boolean().optional(),
  mode: z.enum(["fast", "slow"]).optional(),
  tags: z.array(z.string()).optional(),
  serve: z.strictObject({ port: z.int(), concurrency: z.int().optional() }).optional(),
  tools: z
    .array(
      z.discriminatedUnion("type", [
        z.strictObject({ type: z.literal("mcp"), url: z.string() }),
        z.strictObject({ type: z.literal("shell") }),
      ]),
    )
    .optional(),
  text: z.union([z.string(), z.strictObject({ file: z.string() })]).optional(),
  headers: z.record(z.string(), z.string()).optional(),
  even: z
    .int()
    .refine((value) => value % 2 === 0, { error: needs("an even number", "Add one") })
    .optional(),
});

function read(text: string, environment: Record<string, string> = {}) {
  return readYaml({ file: "a.yaml", text }, Schema, environment);
}

/** `line:column path message | remedy` of each problem. */
function problems(text: string, environment: Record<string, string> = {}): string[] {
  const result = read(text, environment);
  if (result.ok) return [];
  return result.diagnostics.map(
    ({ line, column, path, message, remedy }) => `${line}:${column} ${path} ${message} | ${remedy}`,
  );
}

const QUOTE = "Text with special characters, and `${VAR}` within [ ] or { }, goes in quotes";
const KNOWN =
  "Known here: `name`, `count`, `ratio`, `isOn`, `mode`, `tags`, `serve`, `tools`, `text`, `headers`, `even`";

describe("readYaml, one mistake", () => {
  it.each<[text: string, ...problems: string[]]>([
    // The whole file.
    ["", "1:1  the file is empty | See docs/ for what belongs here"],
    ["# only this\n", "1:1  the file is empty | See docs/ for what belongs here"],
    ["hello", '1:1  needs a map of keys: got "hello" | '],
    ["- a\n- b\n", "1:1  needs a map of keys: got a list | "],
    [
      "name: a\n---\nname: b\n",
      "2:1  a second document begins here, and only one is read | " +
        "Remove the `---`, or put the second document into a file of its own",
    ],
    // Syntax.
    ["serve:\n\tport: 1\n", "2:1  a tab is used to indent | Use spaces"],
    ["name: !foo a\n", "1:7  has a tag (`!...`) that is not known | Remove the tag"],
    ["name: 'a\n", `2:1  is not valid YAML: Missing closing 'quote | ${QUOTE}`],
    [
      "name: @a\n",
      `1:7  is not valid YAML: Plain value cannot start with reserved character @ | ${QUOTE}`,
    ],
    [
      "tags: [${A}]\n",
      `1:9  is not valid YAML: Missing , or : between flow sequence items | ${QUOTE}`,
    ],
    ["name: a\nname: b\n", "2:1 name the key `name` is there twice | Keep one of them"],
    ["? [a]\n: b\n", "1:3  has a key that is not a word | Use plain words as keys"],
    ["__proto__: {a: 1}\n", "1:1  has a key that is not a word | Use plain words as keys"],
    // Aliases.
    [
      "name: *b\n",
      "1:7 name refers to `*b`, which is not there | Mark the value with `&b` before, or put the text in quotes",
    ],
    ["tags: &t\n  - *t\n", "2:5 tags[0] `*t` contains itself | Remove the alias"],
    // Keys.
    [
      "serve:\n  port: 1\n  concurency: 3\n",
      "3:3 serve.concurency is not a key that is known here | Did you mean `concurrency`?",
    ],
    ["zzzzzz: 1\n", `1:1 zzzzzz is not a key that is known here | ${KNOWN}`],
    ["serve: {}\n", "1:8 serve.port is missing: needs a whole number | "],
    // Types.
    ["count: many\n", '1:8 count needs a whole number: got "many" | '],
    ['count: "3"\n', '1:8 count needs a whole number: got "3" | Remove the quotes'],
    ["count: 2.5\n", "1:8 count needs a whole number: got 2.5 | "],
    ["count: 12\n", "1:8 count needs at most 9: got 12 | "],
    ["count: 0\n", "1:8 count needs at least 1: got 0 | "],
    ["ratio: .inf\n", "1:8 ratio needs a number: got .inf | "],
    ["isOn: yes\n", '1:7 isOn needs true or false: got "yes" | '],
    ["name: 3\n", "1:7 name needs text: got 3 | Put it in quotes"],
    ["name:\n", "1:6 name needs text: got nothing | Give it a value, or remove the key"],
    ["name: {a: 1}\n", "1:7 name needs text: got a map | "],
    ["tags: a\n", '1:7 tags needs a list: got "a" | '],
    ["tags:\n  - a\n  - 3\n", "3:5 tags[1] needs text: got 3 | Put it in quotes"],
    ["mode: fasst\n", '1:7 mode needs `fast` or `slow`: got "fasst" | Did you mean `fast`?'],
    [
      "tools:\n  - type: mpc\n",
      '2:11 tools[0].type needs `mcp` or `shell`: got "mpc" | Did you mean `mcp`?',
    ],
    ["tools:\n  - type: mcp\n", "2:5 tools[0].url is missing: needs text | "],
    ["text: [a]\n", "1:7 text needs text or a map of keys: got a list | "],
    ["text: {file: 3}\n", "1:14 text.file needs text: got 3 | Put it in quotes"],
    ["headers: {a: 3}\n", "1:14 headers.a needs text: got 3 | Put it in quotes"],
    ["even: 3\n", "1:7 even needs an even number: got 3 | Add one"],
    // Variables.
    [
      "name: a ${NONE} b\n",
      "1:9 name needs the environment variable NONE, which is not set | Set NONE, or give a default: `${NONE:-default}`",
    ],
    [
      "count: ${NONE}\n",
      "1:8 count needs the environment variable NONE, which is not set | Set NONE, or give a default: `${NONE:-default}`",
    ],
    [
      "name: ${not a name}\n",
      "1:7 name has a `${` that does not name a variable | " +
        "Write `${NAME}` or `${NAME:-default}`, or `$${` for a literal `${`",
    ],
    // Other ways to write a file.
    ["\uFEFFcount: 0\n", "1:8 count needs at least 1: got 0 | "],
    ["name: a\r\ncount: 0\r\n", "2:8 count needs at least 1: got 0 | "],
  ])("%j", (text, ...expected) => expect(problems(text)).toEqual(expected));
});

describe("readYaml, many mistakes", () => {
  it("tells them all in one run, in the order of the file", () => {
    const text = "name: ${NONE}\ncont: 3\nserve:\n  port: x\nmode: fasst\nserve: {}\n";
    expect(problems(text).map((line) => line.split(" ")[0])).toEqual([
      "1:7",
      "2:1",
      "4:9",
      "5:7",
      "6:1",
    ]);
  });

  it("tells what stands before broken syntax, and nothing that only follows from it", () => {
    const text = "count: 0\nserve:\n\tport: 1\nmode: [\n";
    const found = problems(text);
    expect(found[0]).toBe("1:8 count needs at least 1: got 0 | ");
    expect(found[1]).toBe("3:1  a tab is used to indent | Use spaces");
    expect(found.some((line) => line.includes("missing"))).toBe(false);
  });

  it("stops at 100", () => {
    const text = Array.from({ length: 500 }, (_, index) => `key${index}: 1\n`).join("");
    expect(problems(text)).toHaveLength(100);
  });
});

describe("readYaml, files made to hurt", () => {
  const bomb = ["a: &a [x,x,x,x,x,x,x,x,x]"];
  for (let level = 1; level < 9; level++) {
    const [name, below] = ["abcdefghi"[level], "abcdefghi"[level - 1]];
    bomb.push(`${name}: &${name} [${Array.from({ length: 9 }, () => `*${below}`).join(",")}]`);
  }
  it.each<[name: string, text: string, message: RegExp]>([
    ["a YAML bomb", bomb.join("\n"), /more than 20000 values once its aliases/u],
    ["a million brackets", "[".repeat(1_000_000), /more than 100000 pieces/u],
    ["deep lists", "[".repeat(5_000), /nests deeper/u],
    ["deep maps", "{a: ".repeat(3_000), /nests deeper/u],
    ["deep dashes", "- ".repeat(20_000), /nests deeper/u],
    ["deep questions", "? ".repeat(20_000), /nests deeper/u],
    [
      "many keys",
      Array.from({ length: 10_000 }, (_, n) => `k${n}: 1`).join("\n"),
      /not a key|values/u,
    ],
    ["many anchors", "&a ".repeat(30_000), /not valid YAML/u],
    ["many brackets", "[]".repeat(30_000), /not valid YAML/u],
    ["a megabyte and one", `# ${"x".repeat(1_048_575)}`, /larger than 1 MiB/u],
  ])("answers to %s", (_, text, message) => {
    const before = process.cpuUsage();
    expect(problems(text).join("\n")).toMatch(message);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1000).toBeLessThan(8_000);
  });

  it("shows no control characters of the file", () => {
    const result = read('name: "a" \u001B[31mred\n');
    if (result.ok) throw new Error("expected a diagnostic");
    expect(formatDiagnostics(result.diagnostics, "text")).not.toContain("\u001B");
  });
});

describe("readYaml, variables", () => {
  const value = (text: string, environment: Record<string, string> = {}) => {
    const result = read(text, environment);
    if (!result.ok) throw new Error(formatDiagnostics(result.diagnostics, "text"));
    return result.value;
  };

  it("puts them into values", () => {
    expect(value("name: a ${B} c", { B: "b" })).toEqual({ name: "a b c" });
    expect(value('tags: ["${B}", x]', { B: "b, c" })).toEqual({ tags: ["b, c", "x"] });
    expect(value("name: |\n  a ${B}\n", { B: "b" })).toEqual({ name: "a b\n" });
  });

  it("takes the default when a variable is unset or empty", () => {
    expect(value("name: ${B:-x}")).toEqual({ name: "x" });
    expect(value("name: ${B:-x}", { B: "" })).toEqual({ name: "x" });
    expect(value("name: a${B:-}")).toEqual({ name: "a" });
    expect(value("name: ${B}", { B: "" })).toEqual({ name: "" });
  });

  it("reads a value of one plain reference as a scalar", () => {
    expect(value("count: ${N}", { N: "7" })).toEqual({ count: 7 });
    expect(value("count: ${N:-7}")).toEqual({ count: 7 });
    expect(value("isOn: ${B}", { B: "true" })).toEqual({ isOn: true });
    expect(value('name: "${N}"', { N: "7" })).toEqual({ name: "7" });
    expect(value("name: v${N}", { N: "7" })).toEqual({ name: "v7" });
  });

  it("knows the escape", () => {
    expect(value("name: a $${B} $$ $C", { B: "b" })).toEqual({ name: "a ${B} $$ $C" });
  });

  it.each([{}, { TOKEN: "abc" }, { TOKEN: "abc", FALLBACK: "def" }])(
    "takes no reference within a default, whatever is set: %j",
    (environment) => {
      expect(problems('name: "Bearer ${TOKEN:-${FALLBACK}}"', environment)).toEqual([
        "1:15 name has a `${` within the default of TOKEN, where none is read | " +
          "Write a default without it, such as `${TOKEN:-default}`, or none and set TOKEN",
      ]);
    },
  );

  it("does not look into keys and comments, nor into what was put in", () => {
    expect(value('# ${NONE}\nheaders: {"${NONE}": a} # ${NONE}\n')).toEqual({
      headers: { "${NONE}": "a" },
    });
    expect(value("name: ${A}", { A: "${B}" })).toEqual({ name: "${B}" });
  });

  it("does not take names of Object.prototype for variables", () => {
    expect(problems("name: ${constructor}")).toHaveLength(1);
  });

  it("never changes the structure, whatever a variable holds", () => {
    const nasty = fc.oneof(
      fc.string(),
      fc.constantFrom(
        "a: b",
        "- a",
        "{a: 1}",
        "[a]",
        "*x",
        "&x",
        "!!map",
        "a\nname: b",
        "# a",
        "? x",
      ),
    );
    const Open = z.record(z.string(), z.unknown());
    const text = 'a: ${V}\nb: "${V}"\nc: x ${V} y\nd: ["${V}"]\ne: |\n  ${V}\n';
    fc.assert(
      fc.property(nasty, (content) => {
        const result = readYaml({ file: "a.yaml", text }, Open, { V: content });
        if (!result.ok) throw new Error("expected a value");
        const { a, ...rest } = result.value;
        expect(typeof a === "object" && a !== null).toBe(false);
        expect(rest).toEqual({
          b: content,
          c: `x ${content} y`,
          d: [content],
          e: `${content}\n`,
        });
      }),
      { numRuns: 500 },
    );
  });

  it("shows a variable as written, never its content", () => {
    const secret = "sk-very-secret-fast";
    const text =
      "count: ${S}\nmode: ${S}\nserve: {port: '${S}'}\ntools:\n  - type: ${S}\ntags: ${S}\neven: x${S}\n";
    const result = read(text, { S: secret });
    if (result.ok) throw new Error("expected diagnostics");
    expect(result.diagnostics).toHaveLength(6);
    for (const format of ["text", "json", "github"] as const) {
      expect(formatDiagnostics(result.diagnostics, format)).not.toContain("secret");
    }
    expect(result.diagnostics[0]?.message).toBe("needs a whole number: got `${S}`");
  });
});

describe("formatDiagnostics", () => {
  const result = read("serve:\n  concurency: 3\n");
  const diagnostics = result.ok ? [] : result.diagnostics;

  it("shows the place, the line with a caret and the cure", () => {
    expect(formatDiagnostics(diagnostics, "text")).toBe(
      [
        "a.yaml:2:3 error: serve.port is missing: needs a whole number",
        "   2 |   concurency: 3",
        "     |   ^",
        "",
        "a.yaml:2:3 error: serve.concurency is not a key that is known here",
        "   2 |   concurency: 3",
        "     |   ^",
        "  Did you mean `concurrency`?",
        "",
      ].join("\n"),
    );
  });

  it("is coloured only when told so", () => {
    expect(formatDiagnostics(diagnostics, "text", true)).toContain("\u001B[31merror:");
    expect(formatDiagnostics(diagnostics, "json", true)).not.toContain("\u001B");
  });

  it("writes JSON and GitHub commands", () => {
    expect(JSON.parse(formatDiagnostics(diagnostics, "json"))).toEqual(diagnostics);
    expect(formatDiagnostics(diagnostics, "github").split("\n")[1]).toBe(
      "::error file=a.yaml,line=2,col=3::serve.concurency is not a key that is known here. Did you mean `concurrency`?",
    );
    const odd = { file: "a:b,c.yaml", line: 1, column: 2, path: "", message: "100%\nx" };
    expect(formatDiagnostics([{ ...odd, remedy: "", frame: "" }], "github")).toBe(
      "::error file=a%3Ab%2Cc.yaml,line=1,col=2::100%25%0Ax\n",
    );
  });

  it("cuts a long line around the place", () => {
    const long = read(`tags: [${"aaaa, ".repeat(100)}3]`);
    const frame = long.ok ? "" : (long.diagnostics[0]?.frame ?? "");
    const [line = "", caret = ""] = frame.split("\n");
    expect(line.length).toBeLessThan(120);
    expect(line[caret.indexOf("^")]).toBe("3");
  });
});

describe("nearest", () => {
  it.each([
    ["a slip", "concurency", "concurrency"],
    ["a swap", "prot", "port"],
    ["capitals", "PORT", "port"],
    ["nothing like it", "zebra", undefined],
    ["a giant", "x".repeat(10_000), undefined],
  ])("sees through %s", (_, word, expected) =>
    expect(nearest(word, ["concurrency", "port", "name"])).toBe(expected),
  );
});
