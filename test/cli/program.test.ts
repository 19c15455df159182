/**
 * Goal: every way of starting wrongly ends with its exit code and says what to do.
 * Method: the built program as a child process.
 */
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HELLO_AGENT, run, start, writeHoldingAgent } from "./plimsoll.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll-cli-"));
});
afterAll(() => rm(directory, { recursive: true }));

describe("plimsoll", () => {
  it("takes for `deploy` every flag of the workload that `plan` takes, and heeds it", async () => {
    const flagsOf = async (command: string) => {
      const { stdout } = await run([command, "--help"], { directory });
      return [...stdout.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gmu)].map(([, flag]) => flag);
    };
    const [plan, deploy] = await Promise.all([flagsOf("plan"), flagsOf("deploy")]);
    expect(plan).toContain("--model-tokens");
    expect(plan.filter((flag) => flag !== "--format" && !deploy.includes(flag))).toEqual([]);
    const place = await mkdtemp(join(directory, "deploy-"));
    const agent = join(place, "agent.yaml");
    await writeFile(agent, "name: a\ninstructions: Help.\n");
    const args = ["deploy", "--image", "a:1", "--users", "many", "--target", "systemd"];
    const { code, stderr } = await run(args, { directory: place });
    expect(code, stderr).toBe(78);
    expect(stderr).toContain("--users error: needs a number: got `many`");
  });

  it("lists its commands", async () => {
    const { code, stdout, stderr } = await run(["--help"], { directory });
    expect(code).toBe(0);
    expect(stderr).toBe("");
    const commands = stdout.slice(stdout.indexOf("Commands:")).matchAll(/^ {2}(\w+)/gmu);
    expect([...commands].map(([, name]) => name)).toEqual([
      "init",
      "serve",
      "chat",
      "check",
      "measure",
      "plan",
      "simulate",
      "deploy",
      "sessions",
      "keys",
      "rehearse",
      "help",
    ]);
  });

  it("tells its version", async () => {
    const { code, stdout } = await run(["--version"], { directory });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/u);
  });

  it.each([
    ["a flag that is not known", ["serve", "--prot", "1"], "Did you mean --port?"],
    ["a command that is not known", ["sevre"], "Did you mean serve?"],
    ["no command", [], "Usage: plimsoll"],
    ["a setting without a value", ["serve", "--set", "listen.port"], "must be name=value"],
    ["a role that there is not", ["keys", "new", "--role", "king"], "Allowed choices are"],
    ["two models at once", ["serve", "--rehearse", "--provider", "vertex"], "cannot be used with"],
    ["a size without a unit", ["measure", "--memory", "512"], "a size with a unit"],
    ["a tenant that cannot be", ["keys", "new", "--tenant", "a b"], "--tenant needs a name"],
    ["no folder to make an agent in", ["init"], "missing required argument 'folder'"],
  ])("exits with 64 for %s", async (_what, args, said) => {
    const { code, stdout, stderr } = await run(args, { directory });
    expect(stderr).toContain(said);
    expect(stdout).toBe("");
    expect(code).toBe(64);
  });

  it.each(["check", "chat"])("ends %s though a function tool holds a timer", async (command) => {
    const agent = await writeHoldingAgent(directory);
    await using running = start([command, agent, "--rehearse"], { directory });
    const killing = setTimeout(() => running.signal("SIGKILL"), 60_000);
    const { code, signal, stdout } = await running.exited;
    clearTimeout(killing);
    expect({ code, signal }).toEqual({ code: 0, signal: null });
    expect(stdout).toContain("holding");
  });

  it.each([
    ["check", "an agent file that is not there", ["check", "none.yaml"], "none.yaml"],
    ["serve", "an agent file that is not there", ["serve", "none.yaml"], "none.yaml"],
    [
      "serve",
      "agents without credentials",
      ["serve", HELLO_AGENT, "--port", "0", "--data", "no-key"],
      "Set ANTHROPIC_API_KEY, or start with --rehearse",
    ],
    [
      "chat",
      "an agent without credentials",
      ["chat", HELLO_AGENT, "--data", "no-key"],
      "Set ANTHROPIC_API_KEY, or start with --rehearse",
    ],
    [
      "serve",
      "an address that others reach, without keys",
      ["serve", HELLO_AGENT, "--rehearse", "--host", "0.0.0.0", "--port", "0"],
      "Make a key by `plimsoll keys new`, or say `auth.allowAnyone: true` (--allow-anyone)",
    ],
    [
      "serve",
      "a port that is none",
      ["serve", HELLO_AGENT, "--rehearse", "--port", "web"],
      "listen.port",
    ],
  ])("exits with 78: %s of %s", async (_command, _what, args, said) => {
    const { code, stdout, stderr } = await run(args, { directory });
    expect(stderr).toContain(said);
    expect(stdout.replaceAll(/^\{.*\n/gmu, "")).toBe("");
    expect(code).toBe(78);
  });

  it("tells the problems of agents and settings in one run", async () => {
    await writeFile(join(directory, "bad.yaml"), "nam: a\ninstructions: x\n");
    const args = ["serve", "bad.yaml", "--set", "listen.prot=1"];
    const { code, stderr } = await run(args, { directory });
    expect(code).toBe(78);
    expect(stderr).toContain("bad.yaml:1:1");
    expect(stderr).toContain("--set listen.prot");
    expect(stderr).toContain("Did you mean `--set listen.port`?");
  });

  it("names the flag that was typed", async () => {
    const { code, stderr } = await run(["serve", "--port", "eighty"], { directory });
    expect(code).toBe(78);
    expect(stderr).toContain("--port");
    expect(stderr).not.toContain("--listen.port");
  });

  it("exits with 69 when another process has the port", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    const args = ["serve", HELLO_AGENT, "--rehearse", "--port", String(port), "--data", "busy"];
    const { code, stdout, stderr } = await run(args, { directory });
    other.close();
    // The process that was to tell whether turns can start was ended with the server.
    expect(stdout).not.toContain("Cannot start an agent process");
    expect(stderr).toContain(`Cannot listen on 127.0.0.1:${port}: EADDRINUSE`);
    expect(stderr).toContain(`\n  listen EADDRINUSE: address already in use 127.0.0.1:${port}\n`);
    expect(stderr).toContain("Choose another `listen.port`");
    expect(code).toBe(69);
  });

  it("exits with 69 when another server has the data directory", async () => {
    const args = ["serve", HELLO_AGENT, "--rehearse", "--port", "0", "--data", "shared"];
    await using first = start(args, { directory });
    await first.prints('"msg":"Listening"');
    const { code, stderr } = await run(args, { directory });
    expect(stderr).toContain("data directory");
    expect(code).toBe(69);
  });
});
