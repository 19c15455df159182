/**
 * What a server reads of the group it is in, on files that stand for the kernel's: what follows a
 * replica that is resized while it runs, what swap does, and what people are told.
 */

import { rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { loadConfig } from "../../src/config/load.ts";
import { monotonicMs } from "../../src/lib/monotonic-clock.ts";
import { CapacityReport } from "../../src/server/capacity-report.ts";
import { openGate } from "../../src/server/open-gate.ts";
import { mount2, type SystemTree, writeTree } from "../capacity/system-tree.ts";

const GiB = 2 ** 30;
const CPU = "sys/fs/cgroup/app/cpu.max";
const MEMORY = "sys/fs/cgroup/app/memory.max";
const USED = "sys/fs/cgroup/app/memory.current";
const STAT = "sys/fs/cgroup/app/memory.stat";
const SWAP = "sys/fs/cgroup/app/memory.swap.current";
const READ_EVERY_MS = 10_000;
const NEVER = new AbortController().signal;

let tree: SystemTree;
beforeEach(() => {
  vi.useFakeTimers();
  tree = writeTree({
    "proc/self/cgroup": "0::/app\n",
    "proc/self/mountinfo": mount2("/sys/fs/cgroup"),
    [MEMORY]: `${8 * GiB}\n`,
    [USED]: `${GiB}\n`,
    [STAT]: "active_file 0\ninactive_file 0\nslab_reclaimable 0\nfile_mapped 80\n",
    [CPU]: "50000 100000\n",
  });
});
afterEach(() => {
  vi.useRealTimers();
  tree[Symbol.dispose]();
});

async function opened(flags: Readonly<Record<string, string>> = {}) {
  const environment = { PATH: "" };
  const workingDirectory = tree.root;
  const { config } = await loadConfig({ flags, environment, workingDirectory });
  const told: string[] = [];
  const capacity = openGate({
    config,
    agents: [],
    sdkVersion: "1",
    root: tree.root,
    pressure: () => null,
  });
  capacity.listen({
    onLimitRead: (now, before) =>
      void (
        now.bytes !== before.bytes && told.push(`${before.bytes / GiB} to ${now.bytes / GiB} GiB`)
      ),
    onCpuChange: (now, before) => void told.push(`${before.cpus} to ${now.cpus} CPUs`),
    onDecision: () => {},
  });
  const report = new CapacityReport(capacity, { level: 0, status: null });
  const next = () => void vi.advanceTimersByTime(READ_EVERY_MS);
  return { ...capacity, told, report, next };
}

// More CPUs than the machine has are no quota, so the quotas here are below one and at one.
describe("openGate, of a replica that is resized", () => {
  it("follows the CPU quota with the memory limit, and tells of both", async () => {
    const { memoryLimit, cpu, told, report, next } = await opened({
      "capacity.admission": "static",
    });
    using _watch = memoryLimit;
    cpu.turnEnded(2_000, 10_000);
    expect(report.view()).toMatchObject({ binds: "cpu", cpu: { cpus: 0.5, turnsThatFit: 2 } });
    tree.write({ [CPU]: "90000 100000\n", [MEMORY]: `${2 * GiB}\n` });
    next();
    expect(told).toEqual(["0.5 to 0.9 CPUs", "8 to 2 GiB"]);
    expect(report.view()).toMatchObject({
      binds: "memory",
      limitBytes: 2 * GiB,
      cpu: { cpus: 0.9, turnsThatFit: 4, source: "cgroup v2 cpu.max of /app" },
    });
    next();
    expect(told).toHaveLength(2);
  });

  it("says that the number of turns binds, where memory and CPU have room for more", async () => {
    const settings = { "capacity.admission": "static", "capacity.maxTurns": "2" };
    const { memoryLimit, cpu, report, next } = await opened(settings);
    using _watch = memoryLimit;
    expect(report.view()).toMatchObject({ binds: "maxTurns", turnsThatFit: 2 });
    // Half a core is less than three turns of 0.2 need, and more than two.
    cpu.turnEnded(2_000, 10_000);
    expect(report.view()).toMatchObject({ binds: "maxTurns", cpu: { turnsThatFit: 2 } });
    tree.write({ [MEMORY]: `${1 * GiB}\n` });
    next();
    expect(report.view()).toMatchObject({ binds: "memory", turnsThatFit: 1 });
  });

  it("tells of memory in use as the gate counts it, whatever the kernel says", async () => {
    const { memoryLimit, gate, report } = await opened({ "capacity.admission": "static" });
    using _watch = memoryLimit;
    const party = { tenant: "acme", callerId: "ada", isPriority: false };
    gate.tryAdmit({ ...party, agentName: "a", carriedBytes: 0 }, monotonicMs());
    const { memoryUsedBytes, committedBytes } = report.numbers();
    // What the static formula has for the server, and for one turn beside it.
    expect([memoryUsedBytes, committedBytes]).toEqual([400 * 2 ** 20, 900 * 2 ** 20]);
  });

  it("follows the limits also before anybody listens", async () => {
    const { config } = await loadConfig({
      flags: {},
      environment: { PATH: "" },
      workingDirectory: tree.root,
    });
    const options = { config, agents: [], sdkVersion: "1", root: tree.root, pressure: () => null };
    const { memoryLimit, cpu } = openGate(options);
    using _watch = memoryLimit;
    tree.write({ [CPU]: "90000 100000\n", [MEMORY]: `${2 * GiB}\n` });
    vi.advanceTimersByTime(READ_EVERY_MS);
    expect([memoryLimit.current.bytes, cpu.limit.cpus]).toEqual([2 * GiB, 0.9]);
  });

  it("keeps the quota while its file is gone", async () => {
    const { memoryLimit, cpu, told, next } = await opened();
    using _watch = memoryLimit;
    rmSync(join(tree.root, CPU));
    next();
    next();
    expect(cpu.limit.cpus).toBe(0.5);
    expect(told).toEqual([]);
  });
});

describe.skipIf(availableParallelism() < 2)("openGate, with CPUs more or less", () => {
  it("lets in who waits to start when there are more, and takes no slot away", async () => {
    const { memoryLimit, lane, next } = await opened();
    using _watch = memoryLimit;
    const first = await lane.enter(NEVER);
    const second = lane.enter(NEVER);
    const third = lane.enter(NEVER);
    expect(lane).toMatchObject({ slots: 1, starting: 1, waiting: 2 });
    tree.write({ [CPU]: "200000 100000\n" });
    next();
    expect(lane).toMatchObject({ slots: 2, starting: 2, waiting: 1 });
    tree.write({ [CPU]: "50000 100000\n" });
    next();
    first[Symbol.dispose]();
    expect(lane).toMatchObject({ slots: 1, starting: 1, waiting: 1 });
    (await second)[Symbol.dispose]();
    (await third)[Symbol.dispose]();
    expect(lane).toMatchObject({ starting: 0, waiting: 0 });
  });

  it("leaves the starts at once that were set", async () => {
    const { memoryLimit, lane, next } = await opened({ "capacity.startsAtOnce": "3" });
    using _watch = memoryLimit;
    tree.write({ [CPU]: "200000 100000\n" });
    next();
    expect(lane.slots).toBe(3);
  });

  it("has the guard act earlier where more cores can fill the memory", async () => {
    const { memoryLimit, reserve, next } = await opened();
    using _watch = memoryLimit;
    reserve.kernelKillsAll();
    const before = reserve.brakeBytes;
    tree.write({ [CPU]: "200000 100000\n" });
    next();
    expect(reserve.brakeBytes).toBeGreaterThan(1.5 * before);
  });
});

describe("openGate, in a group that may swap", () => {
  it("takes what is in swap for used: no turn is admitted on it", async () => {
    const { memoryLimit, gate, report, next } = await opened();
    using _watch = memoryLimit;
    const asks = () => {
      const party = { callerId: "c", tenant: "t", isPriority: false };
      return gate.tryAdmit({ ...party, agentName: "a", carriedBytes: 0 }, monotonicMs());
    };
    // An idle replica takes one turn whatever the figures say.
    expect(asks().admitted).toBe(true);
    expect(asks().admitted).toBe(true);
    // The kernel has made room: less is charged than before, and as much is held.
    tree.write({ [USED]: `${GiB / 2}`, [SWAP]: `${7 * GiB}` });
    next();
    expect(asks()).toMatchObject({ admitted: false, shed: { reason: "memory" } });
    expect(report.view().memory.bytes).toBe(7.5 * GiB);
    expect(report.view().account.swapBytes.value).toBe(7 * GiB);
    tree.write({ [SWAP]: "0" });
    next();
    expect(asks().admitted).toBe(true);
  });
});

describe("what people are told of the group", () => {
  it("says of each figure where it is from, and of those that are not there what is missing", async () => {
    const { memoryLimit, report } = await opened();
    using _watch = memoryLimit;
    tree.write({
      "sys/fs/cgroup/app/memory.peak": `${3 * GiB}\n`,
      "sys/fs/cgroup/app/memory.events": "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\n",
    });
    expect(report.view().account).toEqual({
      peakBytes: { value: 3 * GiB, source: "cgroup v2: memory.peak" },
      mappedFileBytes: { value: 80, source: "cgroup v2: file_mapped of memory.stat" },
      events: {
        value: { high: 1, max: 2, oom: 3, oomKill: 4 },
        source: "cgroup v2: memory.events",
      },
      swapBytes: { value: null, source: "cgroup v2: memory.swap.current is missing" },
      stallMs: { value: null, source: "cgroup v2: memory.pressure is missing" },
      refaultedPages: { value: null, source: expect.stringContaining("memory.stat has no") },
      majorFaults: { value: null, source: "cgroup v2: memory.stat has no pgmajfault" },
    });
  });
});
