/**
 * Goal: the memory guard ends what balloons before the kernel does, and nobody else is touched.
 * Method: a server in small runs in a control group with a limit; the kernel's own counter tells
 * whether it had to do anything. The control group is asked, not the code under test.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { afterEach, describe, expect, it } from "vitest";

import { programPath, until, useServerId } from "./agent-programs.ts";

const MIB = 2 ** 20;
const serverId = useServerId();

interface Group {
  readonly directory: string;
  /** Processes that the kernel has killed for memory. */
  oomKills(): number;
  /** How many processes in it have this on their command line. */
  holders(text: string): number;
}

/** A control group that may hold so much, v1 or v2; null where that is not allowed. */
function makeGroup(limitBytes: number): Group | null {
  for (const [root, limit, counter] of [
    ["/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control"],
    ["/sys/fs/cgroup", "memory.max", "memory.events"],
  ]) {
    const directory = `${root}/plimsoll-test-${randomUUID()}`;
    try {
      mkdirSync(directory);
      writeFileSync(`${directory}/${limit}`, String(limitBytes));
      const oomKills = () =>
        Number(/^oom_kill (\d+)/m.exec(readFileSync(`${directory}/${counter}`, "utf8"))?.[1]);
      const holders = (text: string) =>
        readFileSync(`${directory}/cgroup.procs`, "utf8")
          .split("\n")
          .filter((pid) => pid !== "" && commandLineOf(pid).includes(text)).length;
      return { directory, oomKills, holders };
    } catch {
      isRemoved(directory);
    }
  }
  return null;
}

function commandLineOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

function isRemoved(directory: string): boolean {
  try {
    rmdirSync(directory);
    return true;
  } catch {
    return false;
  }
}

interface Line {
  readonly index?: number;
  readonly text?: string;
  readonly verdict?: { readonly id: string; readonly what: string; readonly bytes: number };
  readonly exit?: { readonly processId: string };
  readonly limitBytes?: number;
  readonly blocked?: number;
}

interface RunningServer {
  readonly process: ChildProcess;
  readonly lines: readonly Line[];
  says(what: (line: Line) => boolean, limitMs?: number): Promise<void>;
  /** Lets the tools begin. */
  go(): void;
}

const disposals: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const dispose of disposals.splice(0).toReversed()) await dispose();
});

/** One turn that keeps to its prediction, and one with this tool. */
async function startServer(group: Group, tool: readonly string[]): Promise<RunningServer> {
  const place = mkdtempSync(join(tmpdir(), "plimsoll-guard-"));
  const start = join(place, "go");
  const program = ["--import", "jiti/register", programPath("guarded-server.ts"), serverId];
  const agents = [
    programPath("polite.sh"),
    "--",
    process.execPath,
    programPath("runs-tools.mjs"),
    start,
    ...tool,
  ];
  const server = spawn(
    "/bin/sh",
    [
      "-c",
      `echo $$ >${group.directory}/cgroup.procs && exec "$@"`,
      "sh",
      process.execPath,
      ...program,
      ...agents,
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const lines: Line[] = [];
  createInterface({ input: server.stdout }).on("line", (line) => {
    lines.push(JSON.parse(line) as Line);
  });
  disposals.push(async () => {
    server.kill("SIGKILL");
    rmSync(place, { recursive: true });
    await until(() => isRemoved(group.directory), 20_000);
  });
  const says: RunningServer["says"] = (what, limitMs = 25_000) =>
    until(() => lines.some(what), limitMs).catch((thrown: unknown) => {
      throw new Error(`Nothing such in ${JSON.stringify(lines)}`, { cause: thrown });
    });
  await says(({ limitBytes }) => limitBytes !== undefined);
  for (const wanted of [0, 1])
    await says(({ index, text }) => index === wanted && text === "ready");
  return { process: server, lines, says, go: () => writeFileSync(start, "") };
}

const canMakeGroups = (() => {
  const group = makeGroup(2 ** 30);
  return group !== null && isRemoved(group.directory);
})();

describe.skipIf(!canMakeGroups)("the race with the kernel", () => {
  it.each([
    ["a Bash tool that takes 1.5 GiB", ["session", "1536"]],
    ["an MCP server that does", ["child", "1536"]],
    ["a swarm of 20 that take 100 MiB each", ["swarm", "100"]],
  ])("is won against %s, and its turn goes on", async (_, tool) => {
    const group = makeGroup(1000 * MIB) as Group;
    const server = await startServer(group, tool);
    server.go();
    await server.says(({ text }) => text?.startsWith("tool ended") === true);
    await server.says(({ verdict }) => verdict !== undefined);
    const verdicts = server.lines.flatMap(({ verdict }) => verdict ?? []);
    expect(verdicts.map(({ id, what }) => [id.slice(0, 6), what])).toEqual([["turn-1", "tool"]]);
    expect(server.lines.some(({ text }) => text === "tool ended: SIGKILL")).toBe(true);
    // The guard ends all of it while it lives; nothing is left to whoever ends the turn.
    await until(() => group.holders("held.push") === 0);
    expect(server.lines.filter(({ exit }) => exit !== undefined)).toEqual([]);
    expect(group.oomKills()).toBe(0);
    expect(server.process.exitCode).toBeNull();
  });

  it("is won against what a tool left behind, and its turn goes on", async () => {
    const group = makeGroup(1000 * MIB) as Group;
    const server = await startServer(group, ["orphan", "1536"]);
    server.go();
    await server.says(({ verdict }) => verdict !== undefined);
    const verdicts = server.lines.flatMap(({ verdict }) => verdict ?? []);
    expect(verdicts.map(({ what }) => what)).toEqual(["tool"]);
    await until(() => group.holders("held.push") === 0);
    expect(server.lines.filter(({ exit }) => exit !== undefined)).toEqual([]);
    expect(group.oomKills()).toBe(0);
  });

  it("is won against an agent process that grows itself, and only its turn ends", async () => {
    const group = makeGroup(1000 * MIB) as Group;
    const server = await startServer(group, ["itself", "1536"]);
    server.go();
    await server.says(({ exit }) => exit !== undefined);
    const exits = server.lines.flatMap(({ exit }) => exit ?? []);
    expect(exits).toEqual([
      expect.objectContaining({
        outOfMemory: true,
        guardVerdict: server.lines.find(({ verdict }) => verdict)?.verdict,
      }),
    ]);
    expect(exits[0]?.processId).toContain("turn-1");
    expect(group.oomKills()).toBe(0);
  });

  it("is won while the main thread is busy for two seconds", async () => {
    const group = makeGroup(1000 * MIB) as Group;
    const server = await startServer(group, ["session", "1536"]);
    const sinceMs = performance.now();
    server.process.stdin?.write("block 2000\n");
    await server.says(({ blocked }) => blocked !== undefined);
    server.go();
    await server.says(({ verdict }) => verdict !== undefined);
    expect(performance.now() - sinceMs).toBeGreaterThan(1900);
    await server.says(({ text }) => text === "tool ended: SIGKILL");
    expect(group.oomKills()).toBe(0);
    expect(server.lines.filter(({ exit }) => exit !== undefined)).toEqual([]);
  });
});
