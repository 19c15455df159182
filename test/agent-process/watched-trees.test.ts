import { spawn, type ChildProcess, type StdioOptions } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";
import { type ProcessStat, processTable, readProcessStat } from "../../src/agent-process/proc.ts";
import { type Swarm, WatchedTrees } from "../../src/agent-process/watched-trees.ts";
import { GroupMeter } from "../../src/capacity/group-use.ts";
import { usedBytesOf } from "../../src/capacity/memory-reading.ts";
import { PROCESS_ID_MARKER } from "../../src/lib/process-markers.ts";
import { environmentOf, until } from "../helpers/leaks.ts";

const MiB = 2 ** 20;
/** Of a tool, in place of a thousand. */
const MOST_PROCESSES = 30;
const FACTS = {
  kind: "turn",
  turnId: null,
  predictedBytes: 1,
  ceilingBytes: null,
  hasOutput: false,
} as const;
/** Holds this much until it is told to shrink. */
const SWOLLEN_BYTES = 2 ** 28;
const SWELLS = `
  let held = Buffer.alloc(${SWOLLEN_BYTES}, 1);
  console.log("large");
  process.stdin.once("data", () => {
    held = null;
    gc();
    setInterval(() => {}, 1000);
  });
`;
const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

async function startProcess(processId: string): Promise<number> {
  const env = { PATH: process.env["PATH"] ?? "", [PROCESS_ID_MARKER]: processId };
  const child = spawn("sleep", ["60"], { env, stdio: "ignore" });
  children.push(child);
  const pid = child.pid ?? 0;
  await until(() => environmentOf(pid).includes(`${PROCESS_ID_MARKER}=${processId}`), "its marker");
  return pid;
}

/** Of a pid that no kernel gives. */
function madeUp(pid: number, more: Partial<ProcessStat> = {}): ProcessStat {
  const ids = { pid, parentPid: 1, groupId: pid, sessionId: pid, startTicks: 10, cpuMs: 0 };
  const told = { childCpuMs: 0, hasOwnProgram: true, nameHash: 1, waitsInKernel: false };
  return { ...ids, ...told, ...more };
}

function watch(trees: WatchedTrees, id: string, pid: number): void {
  const root = readProcessStat(pid);
  if (root === null) throw new Error("the process is gone");
  trees.watch({ type: "watch", id, root, facts: FACTS, startedAtMs: 0 });
}

function membersOf(trees: WatchedTrees, id: string): readonly number[] | undefined {
  const sample = trees.samples().find((each) => each.id === id);
  return sample?.members?.map(({ pid }) => pid);
}

describe.skipIf(process.platform !== "linux")("WatchedTrees", () => {
  it("finds by its marker whoever was there before its turn was watched", async () => {
    const trees = new WatchedTrees();
    watch(trees, "first", await startProcess("first"));
    const root = await startProcess("second");
    const leftBehind = await startProcess("second");
    trees.look(0);
    watch(trees, "second", root);
    trees.look(1);
    // Pids begin again from the lowest.
    const byPid = (a: number, b: number): number => a - b;
    expect(membersOf(trees, "second")?.toSorted(byPid)).toEqual([root, leftBehind].sort(byPid));
  });

  it("counts the age of a turn from its own beginning, however old its process is", async () => {
    const trees = new WatchedTrees();
    watch(trees, "first", await startProcess("first"));
    trees.look(0);
    const since = () => trees.guarded().map(({ startedAtMs }) => startedAtMs);
    trees.update("first", { turnId: "second" }, 50_000);
    expect(since()).toEqual([50_000]);
    trees.update("first", { turnId: "second", hasOutput: true }, 60_000);
    trees.update("first", { kind: "resident", turnId: null }, 70_000);
    expect(since()).toEqual([50_000]);
  });

  it("tells the peak since it told the last one", async () => {
    const trees = new WatchedTrees();
    const child = spawn(process.execPath, ["--expose-gc", "-e", SWELLS], { stdio: "pipe" });
    children.push(child);
    await once(child.stdout, "data");
    watch(trees, "swells", child.pid ?? 0);
    const sample = () => trees.samples()[0]?.sample;
    trees.look(0);
    child.stdin.write("shrink");
    await until(() => {
      trees.look(1);
      return trees.bytesOf("swells") < SWOLLEN_BYTES;
    }, "it to shrink");
    expect(sample()?.peakBytes).toBeGreaterThan(SWOLLEN_BYTES);
    trees.look(2);
    expect(sample()?.peakBytes).toBeLessThan(SWOLLEN_BYTES);
  });

  it("reads each environment once, and that of none that waits in the kernel", () => {
    const asked: number[] = [];
    const trees = new WatchedTrees({
      readEnvironment: (pid) => {
        asked.push(pid);
        return `${PROCESS_ID_MARKER}=made-up`;
      },
    });
    const root = madeUp(5_000_000);
    trees.watch({ type: "watch", id: "made-up", root, facts: FACTS, startedAtMs: 0 });
    const [free, stuck] = [madeUp(5_000_001), madeUp(5_000_002, { waitsInKernel: true })];
    trees.look(0, processTable([root, free, stuck]));
    trees.look(1, processTable([root, free, stuck]));
    expect(asked).toEqual([5_000_000, 5_000_001]);
    trees.look(2, processTable([root, free, { ...stuck, waitsInKernel: false }]));
    expect(asked).toEqual([5_000_000, 5_000_001, 5_000_002]);
  });

  it("measures the server too, whose group is asked for nothing when groups are added up", async () => {
    const directory = mkdtempSync(join(tmpdir(), "plimsoll-lag-"));
    try {
      const trees = new WatchedTrees();
      watch(trees, "turn", await startProcess("turn"));
      expect(trees.measured).toEqual({ serverBytes: 0, agentsBytes: 0 });
      trees.look(0);
      const { serverBytes, agentsBytes } = trees.measured;
      expect(serverBytes).toBeGreaterThan(10 * MiB);
      expect(agentsBytes).toBeGreaterThan(0);
      // A full group whose sum lags; what the server held before it moved to its leaf is charged here.
      const turnsBytes = 700 * MiB;
      const write = (name: string, usedBytes: number, cacheBytes: number) => {
        const inside = join(directory, name);
        mkdirSync(inside, { recursive: true });
        writeFileSync(join(inside, "memory.current"), `${usedBytes + cacheBytes}`);
        const stat = `anon ${usedBytes}\nfile ${cacheBytes}\nkernel 0\nsock 0\nactive_file 0\n`;
        const rest = `inactive_file ${cacheBytes}\nslab_reclaimable 0\n`;
        writeFileSync(join(inside, "memory.stat"), stat + rest);
      };
      write("", 590 * MiB, 434 * MiB);
      write("plimsoll-server", 4 * MiB, 0);
      write("plimsoll-turns", 530 * MiB, 434 * MiB);
      write("plimsoll-turns/a", turnsBytes, 134 * MiB);
      const bytes = new GroupMeter({ version: "cgroup2", directory }).usedBytes(1024 * MiB) ?? 0;
      const measured = { ...trees.measured, agentsBytes: turnsBytes };
      expect(usedBytesOf({ bytes, covers: "group" }, measured)).toBe(turnsBytes + serverBytes);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  /** A tool of so many processes, none of which is there. */
  function swarmOf(processes: number) {
    const root = madeUp(5_000_000);
    const first = madeUp(5_000_001, { parentPid: root.pid });
    const others = Array.from({ length: processes - 1 }, (_, index) =>
      madeUp(5_000_002 + index, { parentPid: first.pid, sessionId: first.pid }),
    );
    return { root, table: processTable([root, first, ...others]) };
  }

  function swarmsSeen(processes: number, looks: number): readonly Swarm[] {
    const swarms: Swarm[] = [];
    const trees = new WatchedTrees({
      onSwarm: (swarm) => swarms.push(swarm),
      mostProcesses: MOST_PROCESSES,
    });
    const { root, table } = swarmOf(processes);
    trees.watch({ type: "watch", id: "storm", root, facts: FACTS, startedAtMs: 0 });
    for (let nowMs = 0; nowMs < looks; nowMs += 1) trees.look(nowMs, table);
    return swarms;
  }

  it("ends a tool that is too many processes, and tells of it once", () => {
    expect(swarmsSeen(MOST_PROCESSES, 3)).toEqual([]);
    const processes = MOST_PROCESSES + 1;
    const swarm = { id: "storm", toolId: 5_000_001, processes, bytes: 0 };
    expect(swarmsSeen(processes, 3)).toEqual([swarm]);
  });

  it("ends a real one, with its session", async () => {
    const swarms: Swarm[] = [];
    const trees = new WatchedTrees({
      onSwarm: (swarm) => swarms.push(swarm),
      mostProcesses: MOST_PROCESSES,
    });
    watch(trees, "storm", await startProcess("storm"));
    const script = `for i in $(seq ${MOST_PROCESSES + 20}); do sleep 60 & done; echo; wait`;
    const env = { PATH: process.env["PATH"] ?? "", [PROCESS_ID_MARKER]: "storm" };
    const stdio: StdioOptions = ["ignore", "pipe", "ignore"];
    const storm = spawn("bash", ["-c", script], { env, detached: true, stdio });
    children.push(storm);
    await once(storm.stdout as Readable, "data");
    trees.look(0);
    expect(swarms).toMatchObject([{ id: "storm", toolId: storm.pid }]);
    await until(() => {
      trees.look(1);
      return membersOf(trees, "storm")?.length === 1;
    }, "all of it to be gone");
    expect(swarms).toHaveLength(1);
  });
});
