/**
 * Goal: what the first screen promises holds, keys let in whom they should, and signals end a
 * server as they should.
 * Method: the built program as a child process, with the built-in scripted model.
 */
import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HELLO_AGENT, ROOT, run, start, writeHoldingAgent } from "./plimsoll.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll-cli-"));
});
afterAll(() => rm(directory, { recursive: true }));

const SERVE = ["serve", HELLO_AGENT, "--rehearse", "--port", "0"];
const READY = '"msg":"Ready for turns"';
const hasCurl = spawnSync("curl", ["--version"]).status === 0;

describe("plimsoll serve", () => {
  it.skipIf(!hasCurl)("prints a line that, pasted, streams an answer", async () => {
    await using server = start([...SERVE, "--banner", "--data", "curl"], { directory });
    await server.prints(READY);
    const line = /^curl .*$/mu.exec(server.stdout())?.[0] ?? "";
    const { stdout } = await promisify(execFile)("sh", ["-c", `${line} --silent`]);
    expect(stdout).toMatch(/^id: [0-9a-f]{8}-1\nevent: turn_started\n/u);
    expect(stdout.match(/^event: text_delta$/gmu)?.length).toBeGreaterThan(3);
    expect(stdout).toContain("You said");
    expect(stdout).toMatch(/event: turn_ended\ndata: \{.*"status":"completed".*\}\n\n$/u);
  });

  it("prints addresses that are there", async () => {
    await using server = start([...SERVE, "--banner", "--data", "banner"], { directory });
    await server.prints(READY);
    const screen = server.stdout();
    expect(screen).toContain("REHEARSAL");
    expect(screen).toMatch(
      /memory +[\d,]+ MiB, .+\n +load line +[\d,]+ MiB.+\n +carries +\d+ turn/u,
    );
    const [, console_ = ""] = /^ +console +(http:\S+) /mu.exec(screen) ?? [];
    const page = await fetch(console_, { headers: { accept: "text/html" } });
    expect(page.headers.get("content-type")).toContain("text/html");
    const addresses = [...screen.matchAll(/(GET|POST) +(http:\S+)$/gmu)];
    expect(addresses.length).toBeGreaterThanOrEqual(11);
    for (const [, method = "", url = ""] of addresses) {
      const response = await fetch(url, { method });
      // A stream without an end, which is there if its head is.
      if (url.endsWith("/v1/feed")) await response.body?.cancel();
      const text = response.bodyUsed ? "" : await response.text();
      // Of something that is not there; the address itself is known.
      if (url.includes("{")) {
        expect(text, `${method} ${url}`).toMatch(/"code":"(turn|session)_not_found"/u);
        continue;
      }
      // Whoever may sweep needs to say nothing more.
      const needsNoBody = method === "GET" || url.endsWith("/sweep");
      const isAsExpected = needsNoBody ? response.ok : [400, 404, 415].includes(response.status);
      expect(isAsExpected, `${method} ${url}: ${response.status}`).toBe(true);
    }
    const openApi = addresses.find(([, , url]) => url?.endsWith("/openapi.json"))?.[2] ?? "";
    const { paths } = (await (await fetch(openApi)).json()) as { paths: Record<string, unknown> };
    const shown = addresses.map(([, , url = ""]) => url.replace(/^http:\/\/[^/]+/u, ""));
    const unnamed = Object.keys(paths).filter((path) => {
      const isOfOne = path.endsWith("}") || path === "/";
      // Its page knows them; and there are no other replicas.
      const isOfConsole = /^\/(console|v1\/replicas)(\/|$)/u.test(path);
      return !isOfOne && !isOfConsole && !shown.includes(path.replace("{agent}", "hello"));
    });
    expect(unnamed).toEqual([]);
  });

  it("lets in whom a new key names, and nobody else", async () => {
    const made = await run(["keys", "new", "--tenant", "acme"], { directory });
    expect(made.code).toBe(0);
    const key = /^ {2}(plk_[\w-]{43})$/mu.exec(made.stdout)?.[1] ?? "";
    const yaml = made.stdout.slice(made.stdout.indexOf("auth:"));
    await writeFile(join(directory, "keys.yaml"), yaml);
    expect(yaml).not.toContain(key);

    const flags = ["--config", "keys.yaml", "--banner", "--data", "keys"];
    await using server = start([...SERVE, ...flags], { directory });
    await server.prints(READY);
    expect(server.stdout()).toContain("-H 'authorization: Bearer YOUR_KEY'");
    const url = /http:\/\/\S+\/v1\/sessions/u.exec(server.stdout())?.[0] ?? "";
    const as = (token: string) => fetch(url, { headers: { authorization: `Bearer ${token}` } });
    expect((await as(key)).status).toBe(200);
    expect((await as(key.replace("plk_", ""))).status).toBe(401);
    expect((await fetch(url)).status).toBe(401);
  });

  it.each(["SIGTERM", "SIGINT"] as const)("ends with 0 at %s", async (signal) => {
    await using server = start([...SERVE, "--data", signal], { directory });
    await server.prints(READY);
    server.signal(signal);
    const { code, stderr, stdout } = await server.exited;
    expect(stdout).toContain('"msg":"Stopped"');
    expect(stderr).toBe("");
    expect(code).toBe(0);
  });

  it("ends with 0 though a function tool holds a timer and a connection", async () => {
    const agent = await writeHoldingAgent(directory);
    const args = ["serve", agent, "--rehearse", "--port", "0", "--data", "holding"];
    await using server = start(args, { directory });
    await server.prints(READY);
    server.signal("SIGTERM");
    await server.prints('"msg":"Stopped"');
    const stoppedAtMs = performance.now();
    // By itself it would never end.
    const killing = setTimeout(() => server.signal("SIGKILL"), 30_000);
    const { code, stderr } = await server.exited;
    clearTimeout(killing);
    expect(performance.now() - stoppedAtMs).toBeLessThan(30_000);
    expect(stderr).toBe("");
    expect(code).toBe(0);
  });

  it("ends with 130 at once at the second signal, and leaves no turn running", async () => {
    const script = "rules: [{ hangAfterTokens: 2, reply: [{ tokens: 10 }] }]\n";
    const agent =
      "name: slow\ninstructions: x\nmodel: { provider: rehearsal, rehearsalScript: s.yaml }\n";
    await writeFile(join(directory, "s.yaml"), script);
    await writeFile(join(directory, "slow.yaml"), agent);
    const args = ["serve", "slow.yaml", "--port", "0", "--data", "second"];
    await using server = start(args, { directory });
    await server.prints(READY);
    const url = /"url":"([^"]+)"/u.exec(server.stdout())?.[1] ?? "";
    const turn = fetch(`${url}/v1/agents/slow/turns`, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "text/event-stream" },
      body: JSON.stringify({ input: "Hello" }),
    }).then((response) => response.text());
    turn.catch(() => undefined);
    await server.prints('"msg":"Turn started"');

    server.signal("SIGINT");
    await server.prints('"msg":"Draining"');
    // The same signal within 200 ms is the one that npm passes on a second time.
    server.signal("SIGINT");
    await new Promise((resolve) => setTimeout(resolve, 250));
    const beganAtMs = performance.now();
    server.signal("SIGINT");
    const { code } = await server.exited;
    expect(code).toBe(130);
    // The drain would wait for the turn.
    expect(performance.now() - beganAtMs).toBeLessThan(10_000);
    await expect(turn).rejects.toThrow();
  });
});

describe("scripts/start.mjs", () => {
  const program = [process.execPath, join(ROOT, "scripts", "start.mjs")] as const;

  it("rehearses where there are no credentials, and passes arguments on", async () => {
    const args = ["--port", "0", "--data", join(directory, "start")];
    await using server = start(args, { directory, program: [...program] });
    await server.prints(READY, 60_000);
    expect(server.stdout()).toContain("REHEARSAL");
    server.signal("SIGTERM");
    expect((await server.exited).code).toBe(0);
  });

  it.each([
    [
      "a key",
      { ANTHROPIC_API_KEY: "sk-ant-of-a-test", ANTHROPIC_BASE_URL: "http://127.0.0.1:9" },
      [],
    ],
    ["--model", { ANTHROPIC_BASE_URL: "http://127.0.0.1:9" }, ["--model", "claude-opus-4-5"]],
  ] as const)("talks to Claude with %s", async (_what, environment, flags) => {
    const args = ["--port", "0", "--data", join(directory, `start${flags.length}`), ...flags];
    await using server = start(args, { directory, program: [...program], environment });
    await server.prints("anthropic, hybrid sessions", 60_000);
    expect(server.stdout()).not.toContain("REHEARSAL");
  });
});
