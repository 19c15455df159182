import { existsSync, readdirSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type CheckOptions, runCheck } from "../../src/cli/check.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "plimsoll-check-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function check(
  files: Readonly<Record<string, string>>,
  options: Partial<CheckOptions> = {},
  environment: Readonly<Record<string, string>> = {},
) {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(folder, name, ".."), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  let [stdout, stderr] = ["", ""];
  const io = {
    stdout: (text: string) => void (stdout += text),
    stderr: (text: string) => void (stderr += text),
    environment,
    workingDirectory: folder,
    color: false,
  };
  const path = join(folder, "agent.yaml");
  const code = await runCheck({ path, flags: {}, format: "text", ...options }, io);
  return { code, stdout, stderr: stderr.replaceAll(`${folder}/`, "") };
}

const AGENT = `name: hello
instructions: Be kind.
tools:
  builtin: [Read]
  functions: [clock.js]
  mcp: { docs: { type: http, url: https://mcp.example.com } }
`;
const CLOCK = `export const clock = { description: "Time", input: { type: "object" }, run: () => "noon" };\n`;

describe("runCheck", () => {
  it("sums up what fits, with the source of every setting that was given", async () => {
    const { code, stdout, stderr } = await check(
      {
        "agent.yaml": AGENT,
        "clock.js": CLOCK,
        "plimsoll.yaml": "drain: { grace: 10s }\ntelemetry: { otlpHeaders: { k: hush } }\n",
      },
      { flags: { "listen.port": "0" } },
      { PLIMSOLL_HTTP_BODY_SIZE: "2MiB" },
    );
    expect(stderr).toBe("");
    expect(code).toBe(0);
    expect(stdout).toBe(
      [
        "hello  agent.yaml",
        "  model    claude-sonnet-5 (anthropic)",
        "  tools    Read, clock.js, docs (MCP, http)",
        "  pattern  hybrid",
        "",
        "settings  plimsoll.yaml",
        "  listen.port            0  (flag)",
        "  http.bodySize          2MiB  (environment)",
        "  drain.grace            10s  (file)",
        "  telemetry.otlpHeaders  ***  (file)",
        "  the others at their defaults",
        "",
        "1 agent, no problems",
        "",
      ].join("\n"),
    );
  });

  it.each([
    ["plimsoll.yaml", "auth: { keys: [{ id: a, sha256: plk_hush }] }"],
    ["plimsoll.yaml", "auth: { keys: [{ id: a, key: plk_hush }] }"],
    ["plimsoll.yaml", "auth: { keys: [{ id: a, role: kaller, sha256: plk_hush }] }"],
    ["plimsoll.yaml", "auth: { keys: [plk_hush] }"],
    ["plimsoll.yaml", "auth: plk_hush"],
    ["plimsoll.yaml", 'sessions: { store: "postgress://u:hush@h/db" }'],
    ["plimsoll.yaml", 'sessions: "postgres://u:hush@h/db"'],
    ["plimsoll.yaml", 'sesions: { store: "postgres://u:hush@h/db" }'],
    ["plimsoll.yaml", 'sessions: { store: "postgres://u:hush@${NONE}/db" }'],
    ["plimsoll.yaml", "sessions: { stor: &a hush, store: *a }"],
    ["plimsoll.yaml", "sessions:\n  store: >-\n    postgress://u:hush@h/db\n"],
    ["plimsoll.yaml", "sessions:\n  store: postgres://u:hush@h/db: x\n"],
    ["plimsoll.yaml", "sessions:\n\tstore: postgres://u:hush@h/db\n"],
    ["plimsoll.yaml", "sessions:\n  store: 'postgres://u:hush@h/db\n"],
    ["plimsoll.yaml", "sessions:\n  store: @hush\n"],
    ["plimsoll.yaml", "telemetry: { otlpHeaders: [hush] }"],
    ["agent.yaml", "tools: { mcp: { docs: { type: http, url: x, headers: { a: hush } } } }"],
    ["agent.yaml", "tools: { mcp: { docs: { type: http, headers: Bearer hush } } }"],
    ["agent.yaml", "tools: { mcp: { docs: { type: http, header: { a: hush } } } }"],
    ["agent.yaml", "tools: { mcp: { docs: { type: stdio, env: { TOKEN: [hush] } } } }"],
    ["agent.yaml", "tools: { mcp: { docs: { type: stido, env: { TOKEN: hush } } } }"],
    ["agent.yaml", "tools: { mcp: { docs: { env: hush } } }"],
  ])("repeats no secret of %s: %s", async (name, lines) => {
    const text = name === "agent.yaml" ? `name: hello\ninstructions: Be kind.\n${lines}\n` : lines;
    for (const format of ["text", "json", "github"] as const) {
      const files = { "agent.yaml": "name: hello\ninstructions: Be kind.\n", [name]: text };
      const { code, stdout, stderr } = await check(files, { format });
      expect(code).toBe(78);
      expect(stdout + stderr).toContain(name);
      expect(stdout + stderr).not.toContain("hush");
    }
  });

  it("tells of the agent file and the server file together, on stderr, and exits with 78", async () => {
    const files = {
      "agent.yaml": "nam: a\ninstructions: x\n",
      "plimsoll.yaml": "listen: { prot: 1 }\n",
    };
    const { code, stdout, stderr } = await check(files);
    expect(code).toBe(78);
    expect(stdout).toBe("");
    expect(stderr).toContain("agent.yaml:1:1 error: nam is not a key that is known here");
    expect(stderr).toContain(
      "plimsoll.yaml:1:11 error: listen.prot is not a key that is known here",
    );
    expect(stderr).toMatch(/\n3 problems\n$/u);
  });

  it("tells of a module that cannot be loaded", async () => {
    const { code, stderr } = await check({
      "agent.yaml": AGENT,
      "clock.js": "export const clock = 3;\n",
    });
    expect(code).toBe(78);
    expect(stderr).toMatch(/^clock\.js error: .*"clock"/u);
    expect(stderr).toContain("A tool is a named export");
  });

  it("tells of a rehearsal script that does not fit", async () => {
    const agent =
      "name: a\ninstructions: x\nmodel:\n  provider: rehearsal\n  rehearsalScript: s.yaml\n";
    const { code, stderr } = await check({ "agent.yaml": agent, "s.yaml": "no: script\n" });
    expect(code).toBe(78);
    expect(stderr).toContain("s.yaml:1:1 error: no is not a key that is known here");
  });

  it("writes one JSON document, whether it fits or not", async () => {
    const good = await check({ "agent.yaml": AGENT, "clock.js": CLOCK }, { format: "json" });
    expect(JSON.parse(good.stdout)).toMatchObject({
      ok: true,
      diagnostics: [],
      agents: [{ name: "hello", tools: { builtin: ["Read"], mcp: ["docs"] } }],
    });
    const bad = await check({ "agent.yaml": "nam: a\n" }, { format: "json" });
    expect(bad.code).toBe(78);
    expect(JSON.parse(bad.stdout)).toMatchObject({ ok: false, diagnostics: [{ line: 1 }, {}, {}] });
  });

  it("writes GitHub commands", async () => {
    const { stdout } = await check(
      { "agent.yaml": "name: A\ninstructions: x\n" },
      { format: "github" },
    );
    expect(stdout).toMatch(/^::error file=.*agent\.yaml,line=1,col=7::name needs /u);
  });

  it("finds nothing wrong with the examples", async () => {
    const examples = fileURLToPath(new URL("../../examples", import.meta.url));
    // One by one: an agent that is a session is served alone.
    const files = readdirSync(examples)
      .map((name) => join(examples, name, "agent.yaml"))
      .filter((file) => existsSync(file));
    expect(files.length).toBeGreaterThanOrEqual(5);
    for (const path of [...files, join(examples, "two-agents", "agents")]) {
      const { code, stderr } = await check({}, { path });
      expect(stderr, path).toBe("");
      expect(code, path).toBe(0);
    }
  });
});
