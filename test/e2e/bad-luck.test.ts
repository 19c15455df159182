/**
 * Goal: what happens to the memory of a replica from outside, or from one of its turns, costs that
 * turn and not the others, and the gate follows.
 * Method: the built program in a real control group of its own, so that no experiment reaches the
 * machine, with the real Claude Code; where such groups can be made.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

import { readGroup, reasonForNoGroups1, testGroups1 } from "../helpers/control-group.ts";
import { until } from "../helpers/leaks.ts";
import { startServerProcess, type TestServer } from "../helpers/server.ts";
import { ask, post, refusal, stream, type TurnStream } from "./client.ts";

const MIB = 2 ** 20;
const LIMIT = "memory.limit_in_bytes";

/** 200 processes that hold 8 MiB each, and 8 more that all have from their parent. */
const STORM = [
  'x=$(head -c 8000000 /dev/zero | tr "\\\\0" x)',
  'for i in $(seq 200); do (x="y$x"; sleep 1000) & done',
  "wait",
].join("; ");

const script = (more = "") => `
defaults: { firstTokenMs: 10, tokensPerSecond: 500 }
rules:
  - when: { afterTool: true }
    reply:
      - text: Done.
  - when: { userText: hang }
    hangAfterTokens: 3
    reply:
      - tokens: 10
  - when: { userText: talk }
    tokensPerSecond: 20
    reply:
      - tokens: 100
  - when: { userText: storm }
    reply:
      - tool: { name: Bash, input: { command: ${JSON.stringify(STORM)}, description: Forks } }
${more}  - reply:
      - text: "You said: {{userText}}"
`;

const SHELL = `
name: helper
instructions: You are a test.
tools: { builtin: [Bash], functions: [$FIXTURES/blocking-tools.js] }
`;

/** Turns that hang are no reason to wait at the end. */
const SETTINGS = { "drain.grace": "1s", "agentProcess.endGrace": "500ms" };

const skipped = reasonForNoGroups1();
const title = `a replica in its control group${skipped ? `: ${skipped}` : ""}`;

describe.skipIf(skipped !== null)(title, () => {
  it("follows its limit when that is lowered, with its figures and its ceilings", async () => {
    await using groups = testGroups1(2048 * MIB);
    await using server = await startServerProcess({
      script: script(),
      enter: groups.enter,
      settings: { ...SETTINGS, "capacity.admission": "static" },
    });
    await stream(server, "Hang");
    // A turn is taken before it has a process.
    await until(async () => (await server.capacity()).turns.length === 1, "its process");
    const before = await server.capacity();
    expect(before).toMatchObject({ limitBytes: 2048 * MIB, turnsThatFit: 3 });
    expect(before.turns).toMatchObject([{ ceilingBytes: 1024 * MIB }]);

    writeFileSync(join(groups.parent.directory, LIMIT), String(1200 * MIB));
    const follows = async () => (await server.capacity()).limitBytes === 1200 * MIB;
    await until(follows, "/capacity to have the new limit", 20_000);
    const told = () => server.logs.find(({ msg }) => msg === "The memory limit has changed");
    await until(() => told() !== undefined, "the log to tell of it");
    expect(told()).toMatchObject({ limitBytes: 1200 * MIB, beforeBytes: 2048 * MIB });
    const { turns, turnsThatFit, limitSource } = await server.capacity();
    expect(limitSource).toContain(LIMIT);
    expect(turnsThatFit).toBe(1);
    expect(turns).toMatchObject([{ ceilingBytes: 600 * MIB }]);
    const [turn] = turns;
    const ownGroup = join(
      groups.parent.directory,
      `plimsoll-${server.serverId}`,
      turn?.turnId ?? "",
    );
    expect(readGroup(ownGroup, LIMIT)).toBe(String((600 + 128) * MIB));
    expect(await refusal(post(server, "Hi"))).toMatchObject({ status: 429, capacity: 1 });
    await until(
      () => server.logs.some(({ decision }) => String(decision).includes("of 1,200 MiB committed")),
      "the new figures in the log",
    );
  });

  it("sheds while a neighbour holds the memory of its group, and admits when that is gone", async () => {
    await using groups = testGroups1(1536 * MIB);
    await using server = await startServerProcess({
      script: script(),
      enter: groups.enter,
      settings: SETTINGS,
    });
    // An idle replica takes one turn whatever the figures say.
    const turn = await stream(server, "Hang");
    await turn.until("text_delta");
    await ask(server, "Hi");
    const { headroomBytes, nextTurnBytes } = await server.capacity();
    // Above the load line with one more turn, and far from what the guard must act on.
    const heldBytes = Math.floor(headroomBytes - nextTurnBytes / 2);
    await using other = await neighbour(groups.enter, heldBytes);
    const sheds = async () => {
      const answer = await post(server, "Hi");
      if (answer.ok) await answer.text();
      else expect(await refusal(answer)).toMatchObject({ status: 429, reason: "memory" });
      return !answer.ok;
    };
    await until(sheds, "the gate to see the neighbour");
    await other[Symbol.asyncDispose]();
    await until(async () => !(await sheds()), "the gate to see that it is gone");
    expect(server.logs.filter(({ msg }) => msg.includes("memory guard has ended"))).toEqual([]);
    expect(await server.capacity()).toMatchObject({ inflight: 1 });
  });

  it("has a balloon ended by the guard while the main loop is blocked, and answers afterwards", async () => {
    await using groups = testGroups1(1024 * MIB);
    await using place = await newPlace();
    const [startedFile, pidFile] = [join(place.path, "started"), join(place.path, "pid")];
    const balloon = `node -e '${[
      'const fs = require("node:fs"), held = []',
      `fs.writeFileSync("${pidFile}.new", String(process.pid))`,
      `fs.renameSync("${pidFile}.new", "${pidFile}")`,
      `const more = () => fs.existsSync("${startedFile}") && held.push(Buffer.alloc(2 ** 24, 1))`,
      "setInterval(more, 2)",
    ].join("; ")}'`;
    await using server = await startServerProcess({
      script: script(
        bashRule("balloon", balloon) +
          `  - when: { userText: block }
    reply:
      - tool: { name: block, input: ${JSON.stringify({ startedFile, pidFile })} }
`,
      ),
      agents: [SHELL],
      enter: groups.enter,
      settings: { ...SETTINGS, "agentProcess.ownGroup": "false" },
    });
    await teach(server);
    const ballooning = await stream(server, "Balloon");
    await until(() => existsSync(pidFile), "the balloon to be there", 20_000);
    const blocking = await stream(server, "Block");
    expect(await blocking.outcome()).toMatchObject({ status: "completed", text: "Done." });
    expect(toolResultOf(blocking)).toContain("before: true, after: false");
    expect(await ballooning.outcome()).toMatchObject({ status: "completed", text: "Done." });
    expect(toolResultOf(ballooning)).toContain("137");
    await expectGuardEndedTool(server, ballooning);
    expect(readGroup(groups.parent.directory, "memory.oom_control")).toMatch(/^oom_kill 0$/m);
    expect((await ask(server, "Hi")).text).toBe("You said: Hi");
  });

  it("outlives a fork storm with the guard alone, as does the turn beside it", async () => {
    await using groups = testGroups1(1024 * MIB);
    await using server = await startServerProcess({
      script: script(),
      agents: [SHELL],
      enter: groups.enter,
      settings: { ...SETTINGS, "agentProcess.ownGroup": "false" },
    });
    await teach(server);
    const sibling = await stream(server, "Talk");
    await sibling.until("text_delta");
    const storming = await stream(server, "Storm");
    expect(await storming.outcome()).toMatchObject({ status: "completed", text: "Done." });
    await expectGuardEndedTool(server, storming);
    expect(await sibling.outcome()).toMatchObject({ status: "completed" });
    expect(readGroup(groups.parent.directory, "memory.oom_control")).toMatch(/^oom_kill 0$/m);
    expect(await server.capacity()).toMatchObject({ inflight: 0 });
  });
});

/** An agent with a shell is taken for the whole reserve until one of its turns was seen. */
async function teach(server: TestServer): Promise<void> {
  await ask(server, "Hi");
}

function bashRule(userText: string, command: string): string {
  return `  - when: { userText: ${userText} }
    reply:
      - tool: { name: Bash, input: { command: ${JSON.stringify(command)}, description: Runs } }
`;
}

/** Somebody else's process in the same group, that holds so much until it is disposed. */
async function neighbour(enter: readonly string[], bytes: number): Promise<AsyncDisposable> {
  const program = `globalThis.held = Buffer.alloc(${bytes}, 1); console.log("held"); process.stdin.resume()`;
  const [command, ...args] = [...enter, process.execPath, "-e", program];
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  const exit = once(child, "exit");
  await Promise.race([
    once(child.stdout, "data"),
    exit.then(() => expect.fail("The neighbour has no room")),
  ]);
  return {
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exit;
    },
  };
}

async function newPlace(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "plimsoll-bad-luck-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

function toolResultOf({ events }: TurnStream): string {
  return JSON.stringify(events.find(({ type }) => type === "tool_result"));
}

/** The turn of the tool goes on: the guard has ended nothing else. */
async function expectGuardEndedTool(server: TestServer, { turnId }: TurnStream): Promise<void> {
  const told = () => server.logs.filter(({ msg }) => msg.startsWith("The memory guard has ended"));
  await until(() => told().length > 0, "the log to tell of the guard");
  for (const line of told()) {
    expect(line).toMatchObject({ turnId });
    expect(line.msg).toContain("has ended a tool");
  }
}
