import { once } from "node:events";
import { text } from "node:stream/consumers";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { describe, expect, it } from "vitest";

import { agentOomScore } from "../../src/agent-process/oom-ladder.ts";
import { spawnAgentProcess } from "../../src/agent-process/spawn.ts";
import { oomScoreOf, optionsFor, PATH, printed, until, useServerId } from "./agent-programs.ts";

const serverId = useServerId();

function garbageCollector(): () => void {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect !== "function") throw new Error("The garbage collector is not exposed");
  return () => void collect();
}

describe("spawnAgentProcess", () => {
  it("gives the process the environment it was told, two markers, and nothing of the server", async () => {
    process.env["A_SECRET_OF_THE_SERVER"] = "x";
    const options = optionsFor("shows-environment.sh", serverId, { env: { PATH, A: "b c" } });
    await using agent = spawnAgentProcess(options);
    const lines = (await text(agent.forSdk.stdout)).trim().split("\n");
    const set = lines.filter((line) => !/^(PWD|OLDPWD|SHLVL|_)=/.test(line)).toSorted();
    expect(set).toEqual(
      [
        "A=b c",
        `PATH=${PATH}`,
        `PLIMSOLL_SERVER_ID=${serverId}`,
        `PLIMSOLL_TURN_ID=${options.processId}`,
      ].toSorted(),
    );
    expect(agent).toMatchObject({ processId: options.processId, isOnLadder: true });
  });

  it("puts the process between the server and its tools, for the kernel to choose", async () => {
    await using agent = spawnAgentProcess(optionsFor("polite.sh", serverId));
    await printed(agent, "ready");
    expect(oomScoreOf(agent.pid ?? 0)).toBe(agentOomScore(oomScoreOf("self")));
  });

  it("reports an exit by itself, with its code", async () => {
    await using agent = spawnAgentProcess(
      optionsFor("", serverId, { command: "sh", args: ["-c", "echo why >&2; exit 3"] }),
    );
    expect(await agent.settled).toEqual({
      code: 3,
      signal: null,
      step: "exited",
      outOfMemory: false,
      oomKillCounterRose: expect.toBeOneOf([false, null]) as unknown,
      wasShortForAll: false,
      survivors: 0,
    });
    // What is read last of it is not waited for for long.
    await until(() => agent.stderrTail() === "why\n");
  });

  it.each([
    ["ENOENT", "no such file", { command: "/nowhere/claude" }],
    ["ENOENT", "nothing of that name on the path", { command: "no-such-command" }],
    ["ENOENT", "no such directory", { cwd: "/nowhere" }],
    ["EACCES", "a file that is no program", { command: "/etc/passwd" }],
    ["EACCES", "a directory", { command: "/" }],
    ["E2BIG", "too many arguments", { args: ["x".repeat(4_000_000)] }],
  ])("fails with %s as a fact, and tells the SDK: %s", async (code, _what, more) => {
    await using agent = spawnAgentProcess(optionsFor("polite.sh", serverId, more));
    const [told, exit] = await Promise.all([
      new Promise<Error>((resolve) => agent.forSdk.once("error", resolve)),
      agent.settled,
    ]);
    expect(told).toMatchObject({ code });
    expect(exit).toMatchObject({ code: null, signal: null, spawnError: code, survivors: 0 });
    expect(agent.pid).toBeNull();
    agent.forSdk.stdin.write("into the void");
  });

  it("reads all of stderr and keeps its end", async () => {
    await using agent = spawnAgentProcess(
      optionsFor("floods-stderr.sh", serverId, { stderrTailBytes: 100 }),
    );
    const collectGarbage = garbageCollector();
    collectGarbage();
    const before = process.memoryUsage().arrayBuffers;
    expect(await agent.settled).toMatchObject({ code: 0, step: "exited" });
    await until(() => agent.stderrTail().endsWith("last words\n"));
    expect(agent.stderrTail()).toBe(`${"x".repeat(100 - "last words\n".length)}last words\n`);
    await until(() => {
      collectGarbage();
      return process.memoryUsage().arrayBuffers - before < 1e6;
    });
  });

  it("survives writing to a process that does not read any more", async () => {
    await using agent = spawnAgentProcess(optionsFor("closes-input.sh", serverId));
    await printed(agent, "ready");
    const failed = once(agent.forSdk.stdin, "error");
    agent.forSdk.stdin.write("into the void");
    expect(await failed).toMatchObject([{ code: "EPIPE" }]);
    await agent.terminate(0);
    agent.forSdk.stdin.write("into the void");
  });

  it("survives EPIPE where nobody listens for it", async () => {
    await using agent = spawnAgentProcess(optionsFor("closes-input.sh", serverId));
    await printed(agent, "ready");
    agent.forSdk.stdin.write("into the void");
    await until(() => agent.forSdk.stdin.destroyed);
  });
});

describe("AgentProcess.forSdk", () => {
  it("tells exits and takes signals, and we know who sent them", async () => {
    await using agent = spawnAgentProcess(optionsFor("ignores-input-end.sh", serverId));
    await printed(agent, "ready");
    const told: unknown[] = [];
    agent.forSdk.on("exit", (...args) => told.push(args));
    expect(agent.forSdk).toMatchObject({ exitCode: null, signalCode: null, killed: false });

    expect(agent.forSdk.kill("SIGTERM")).toBe(true);
    expect(await agent.settled).toMatchObject({ code: null, signal: "SIGTERM", step: "sigterm" });
    expect(told).toEqual([[null, "SIGTERM"]]);
    expect(agent.forSdk).toMatchObject({ exitCode: null, signalCode: "SIGTERM", killed: true });
    expect(agent.forSdk.kill("SIGTERM")).toBe(false);
  });
});
