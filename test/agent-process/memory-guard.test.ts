import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { readPrivateBytes } from "../../src/agent-process/proc.ts";
import type { AgentProcess } from "../../src/agent-process/agent-process.ts";
import type { GuardVerdict } from "../../src/agent-process/guard-wire.ts";
import type { GuardStatus } from "../../src/agent-process/memory-guard.ts";
import { AgentProcesses } from "../../src/agent-process/registry.ts";
import type { MemoryLimit } from "../../src/capacity/memory-limit.ts";
import { writeTree } from "../capacity/system-tree.ts";
import {
  isRunning,
  oomScoreOf,
  optionsFor,
  printed,
  until,
  useServerId,
} from "./agent-programs.ts";

const serverId = useServerId();
const MIB = 2 ** 20;
const BRAKE = 128 * MIB;
const LINES = { brakeBytes: BRAKE, floorBytes: BRAKE };
const USED_BYTES = 2000 * MIB;
/** Far longer than this process can be held up while it answers. */
const LONG_EVICTION_MS = 60_000;
/** So large that nothing is ever short. */
const PLENTY = { bytes: 2 ** 45, kind: "physical", group: null } as const;

interface Guarded {
  readonly agents: AgentProcesses;
  readonly verdicts: GuardVerdict[];
  readonly evicted: string[];
  readonly restarts: unknown[];
}

/** @param more `onEvict` is told as soon as this thread hears of it. */
function guarded({
  onEvict,
  ...more
}: {
  readonly mayEnd?: boolean;
  readonly thread?: URL;
  readonly evictionMs?: number;
  readonly onEvict?: (id: string) => void;
} = {}): Guarded {
  const verdicts: GuardVerdict[] = [];
  const evicted: string[] = [];
  const restarts: unknown[] = [];
  const agents = new AgentProcesses({
    serverId,
    stderrTailBytes: 0,
    endGraceMs: 1000,
    sampleIntervalMs: 20,
    guard: {
      mayEnd: true,
      ...more,
      onVerdict: (verdict) => verdicts.push(verdict),
      onEvict: ({ id }) => {
        evicted.push(id);
        onEvict?.(id);
      },
      onRestart: (thrown) => restarts.push(thrown),
    },
    onExit: () => {},
    onAbandoned: () => {},
    onNotice: () => {},
  });
  return { agents, verdicts, evicted, restarts };
}

interface FakeMemory extends Disposable {
  readonly directory: string;
  readonly limit: Pick<MemoryLimit, "bytes" | "kind" | "group">;
  setFree(bytes: number): void;
}

/** Files that stand for those of a group, so that the test says how short memory is. */
function fakeMemory({ freeBytes }: { readonly freeBytes: number }): FakeMemory {
  const { root: directory, ...rest } = writeTree({
    "memory.stat": "active_file 0\ninactive_file 0\nslab_reclaimable 0\n",
    "memory.current": String(USED_BYTES),
  });
  return {
    directory,
    limit: {
      bytes: USED_BYTES + freeBytes,
      kind: "cgroup2",
      group: { version: "cgroup2", directory },
    },
    setFree(bytes) {
      writeFileSync(join(directory, "memory.current"), String(USED_BYTES + freeBytes - bytes));
    },
    [Symbol.dispose]: () => rest[Symbol.dispose](),
  };
}

/** Nothing else of this thread runs meanwhile. */
function blockFor(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/**
 * The first that is so. Fields are written one by one, and a guard that was held up as this process
 * was is silent for a moment: what belongs together has to be of one look.
 */
async function statusWhen(
  { guard }: AgentProcesses,
  isSo: (status: GuardStatus) => boolean,
): Promise<GuardStatus> {
  let seen = guard.status;
  await until(() => isSo((seen = guard.status)));
  return seen;
}

async function start(agents: AgentProcesses, name: string): Promise<AgentProcess> {
  const agent = agents.spawn(optionsFor(name, serverId));
  await printed(agent, "ready");
  return agent;
}

describe("MemoryGuard, measuring", () => {
  it("counts a child outside the group, and keeps the peak when it has gone", async () => {
    await using agents = guarded().agents;
    const agent = await start(agents, "holds-100-mib.sh");
    await until(() => (agent.currentBytes ?? 0) > 100 * MIB);
    expect(agent.currentBytes).toBeLessThan(160 * MIB);
    expect(agent.tree.sample?.toolBytes).toBeGreaterThan(100 * MIB);
    expect(agent.tree.sample?.agentBytes).toBeLessThan(20 * MIB);
    expect(agent.tree.sample?.cpuMs).toBeGreaterThan(0);
    await agent.terminate(1000);
    expect(agent.peakBytes).toBeGreaterThan(100 * MIB);
  });

  it("finds an orphan that it never saw with its parent, by its marker", async () => {
    await using agents = guarded().agents;
    const agent = await start(agents, "leaves-orphan.sh");
    // The orphan, the shell, and the shell's cat.
    await until(() => agent.tree.members.length === 3);
  });

  it("puts what the process started on the step of tools, but not the process", async () => {
    await using agents = guarded().agents;
    const agent = await start(agents, "leaves-session.sh");
    const own = oomScoreOf(agent.pid ?? 0);
    await until(() => agent.tree.members.length >= 3);
    for (const { pid } of agent.tree.members) {
      expect(oomScoreOf(pid)).toBe(pid === agent.pid ? own : 1000);
    }
  });

  it("tells what it sees without waiting, and that it is there to see it", async () => {
    await using agents = guarded().agents;
    expect(agents.guard.status).toMatchObject({ isAlive: false, level: 0, usedBytes: null });
    agents.guard.setLimit(PLENTY, LINES);
    expect(agents.guard.seesRoom, "there is nothing to look at").toBe(true);
    const agent = agents.spawn(optionsFor("polite.sh", serverId));
    expect(agents.guard.seesRoom, "it has just been started").toBe(true);
    await printed(agent, "ready");
    const { level, slackBytes, reason } = await statusWhen(
      agents,
      ({ isAlive, usedBytes }) => isAlive && usedBytes !== null,
    );
    expect(level).toBe(0);
    expect(slackBytes).toBeGreaterThan(2 ** 40);
    expect(reason).toMatch(/^room for more: [\d,]+ MiB are free$/);
  });

  it("does not believe a reading below what it has measured itself", async () => {
    using memory = fakeMemory({ freeBytes: 1000 * MIB });
    await using agents = guarded().agents;
    writeFileSync(join(memory.directory, "memory.current"), "0");
    agents.guard.setLimit(memory.limit, LINES);
    await start(agents, "holds-100-mib.sh");
    // This process is the server, and measured too; it grows, and shrinks when garbage goes.
    let ownPeakBytes = 0;
    const ownBytes = () => {
      const bytes = readPrivateBytes(process.pid) ?? 0;
      ownPeakBytes = Math.max(ownPeakBytes, bytes);
      return bytes;
    };
    const { usedBytes } = await statusWhen(
      agents,
      (seen) => (seen.usedBytes ?? 0) > 100 * MIB + 0.8 * ownBytes(),
    );
    ownBytes();
    expect(usedBytes).toBeLessThan(160 * MIB + ownPeakBytes);
  });

  it("sees that a group around its own has less room", async () => {
    using around = fakeMemory({ freeBytes: 300 * MIB });
    using memory = fakeMemory({ freeBytes: 1000 * MIB });
    await using agents = guarded().agents;
    agents.guard.setLimit({ ...memory.limit, outer: [around.limit] }, LINES);
    await start(agents, "polite.sh");
    await until(() => agents.guard.status.slackBytes === 300 * MIB);
    around.setFree(BRAKE + MIB);
    await until(() => agents.guard.status.level > 0);
    expect(agents.guard.status.level, "1, and 2 when that is two seconds old").toBeLessThan(3);
    expect(agents.guard.seesRoom).toBe(false);
  });

  it("is not silent while its thread is being loaded, however late that is", async () => {
    using memory = fakeMemory({ freeBytes: 2 ** 40 });
    const isToStart = join(memory.directory, "starts");
    process.env["STARTS_WITH"] = isToStart;
    const thread = new URL("../fixtures/starts-late.ts", import.meta.url);
    await using agents = guarded({ thread }).agents;
    agents.guard.setLimit(PLENTY, LINES);
    await start(agents, "polite.sh");
    await delay(3_000);
    expect(agents.guard.seesRoom).toBe(true);
    expect(agents.guard.status).toMatchObject({ isAlive: true, usedBytes: null });
    writeFileSync(isToStart, "");
    await until(() => agents.guard.status.usedBytes !== null);
  });

  it("is started again when its thread dies, and knows all it has to", async () => {
    using memory = fakeMemory({ freeBytes: 2 ** 40 });
    process.env["DIES_ONCE"] = join(memory.directory, "died");
    const thread = new URL("../fixtures/dies-once.ts", import.meta.url);
    const { agents, restarts } = guarded({ thread });
    await using _ = agents;
    agents.guard.setLimit(memory.limit, LINES);
    const agent = await start(agents, "holds-100-mib.sh");
    await until(() => restarts.length === 1);
    expect(agents.guard.status).toMatchObject({
      isAlive: false,
      reason: "the memory guard is silent",
    });
    expect(agents.guard.seesRoom).toBe(false);
    await until(() => agents.guard.status.isAlive);
    await until(() => (agent.currentBytes ?? 0) > 100 * MIB);
    await until(() => agents.guard.status.slackBytes === 2 ** 40);
    expect(agents.guard.restarts).toBe(1);
    expect(String(restarts[0])).toContain("dies once");
  });
});

describe("MemoryGuard, whose thread cannot be started", () => {
  it("tells it, tries again, and is there when it can", async () => {
    // Refused as soon as it is asked for, as a thread is by a full `pids` group.
    const thread = new URL("http://127.0.0.1/thread.js");
    const { agents, restarts } = guarded({ thread });
    await using _ = agents;
    agents.guard.setLimit(PLENTY, LINES);
    const agent = agents.spawn(optionsFor("holds-100-mib.sh", serverId));
    expect([...agents.live]).toEqual([agent]);
    expect(restarts, "it tries again after a pause").toHaveLength(1);
    expect(agents.guard.seesRoom, "nobody looks").toBe(false);
    await printed(agent, "ready");
    await until(() => agents.guard.restarts >= 2);
    thread.href = new URL("../../src/agent-process/memory-guard-thread.ts", import.meta.url).href;
    await until(() => (agent.currentBytes ?? 0) > 100 * MIB);
    await until(() => agents.guard.seesRoom);
  });

  it("tries no more once it is disposed", async () => {
    const { agents, restarts } = guarded({ thread: new URL("http://127.0.0.1/thread.js") });
    {
      await using _ = agents;
      await start(agents, "polite.sh");
    }
    const triedBefore = restarts.length;
    expect(triedBefore).toBeGreaterThanOrEqual(1);
    await delay(1500);
    expect(restarts).toHaveLength(triedBefore);
  });
});

describe("MemoryGuard, ending", () => {
  it("ends the tool of a turn above its ceiling, and the turn goes on", async () => {
    const { agents, verdicts } = guarded();
    await using _ = agents;
    const agent = await start(agents, "holds-100-mib.sh");
    agents.guard.update(agent.processId, { ceilingBytes: 60 * MIB, predictedBytes: 20 * MIB });
    await until(() => verdicts.length === 1);
    expect(verdicts[0]).toMatchObject({
      id: agent.processId,
      what: "tool",
      reason: "ceiling",
      predictedBytes: 20 * MIB,
      ceilingBytes: 60 * MIB,
    });
    await until(() => (agent.currentBytes ?? Infinity) < 50 * MIB);
    expect(isRunning(agent.pid ?? 0)).toBe(true);
    expect(agent.toolsEndedForMemory).toBe(1);
    expect(await agent.terminate(20_000)).toMatchObject({ step: "stdin_closed", code: 0 });
    expect(verdicts).toHaveLength(1);
    expect(agent.toolsEndedForMemory, "also when it is not watched any more").toBe(1);
  });

  it("ends a turn that is above its ceiling without its tools, and says why", async () => {
    const { agents, verdicts } = guarded();
    await using _ = agents;
    const agent = await start(agents, "is-100-mib.sh");
    agents.guard.update(agent.processId, { ceilingBytes: 60 * MIB });
    const exit = await agent.settled;
    expect(exit).toMatchObject({ signal: "SIGKILL", step: "exited", outOfMemory: true });
    expect(exit.guardVerdict).toMatchObject({ what: "turn", reason: "ceiling" });
    await until(() => verdicts.length === 1);
    expect(verdicts[0]).toEqual(exit.guardVerdict);
  });

  it("does so while the main thread is busy", async () => {
    const { agents } = guarded();
    await using _ = agents;
    const agent = await start(agents, "is-100-mib.sh");
    await until(() => (agent.currentBytes ?? 0) > 100 * MIB);
    agents.guard.update(agent.processId, { ceilingBytes: 60 * MIB });
    for (let ms = 0; isRunning(agent.pid ?? 0) && ms < 20_000; ms += 20) blockFor(20);
    // Nothing of this thread has run since.
    expect(isRunning(agent.pid ?? 0)).toBe(false);
    expect((await agent.settled).guardVerdict).toMatchObject({ what: "turn" });
  });

  it("lets a tree be that is closing, and ends its tools all the same", async () => {
    const { agents, verdicts } = guarded();
    await using _ = agents;
    using memory = fakeMemory({ freeBytes: 100 * MIB });
    const [closing, tool] = [
      await start(agents, "is-100-mib.sh"),
      await start(agents, "holds-100-mib.sh"),
    ];
    for (const { processId: id } of [closing, tool]) {
      agents.guard.update(id, { kind: "closing", predictedBytes: 0 });
    }
    agents.guard.setLimit(memory.limit, LINES);
    await until(() => verdicts.length === 1);
    expect(verdicts[0]).toMatchObject({ id: tool.processId, what: "tool", reason: "short" });
    memory.setFree(2 ** 40);
    expect(isRunning(closing.pid ?? 0)).toBe(true);
    expect(isRunning(tool.pid ?? 0)).toBe(true);
  });

  it("takes what its group has in swap for used", async () => {
    const { agents, verdicts } = guarded();
    await using _ = agents;
    using memory = fakeMemory({ freeBytes: 1000 * MIB });
    const agent = await start(agents, "holds-100-mib.sh");
    agents.guard.update(agent.processId, { predictedBytes: 20 * MIB });
    agents.guard.setLimit(memory.limit, LINES);
    await until(() => agents.guard.status.slackBytes === 1000 * MIB);
    // Swapped out, not given back: in memory there would be 100 MiB left.
    memory.setFree(1400 * MIB);
    writeFileSync(join(memory.directory, "memory.swap.current"), String(1300 * MIB));
    await until(() => verdicts.length > 0);
    expect(verdicts[0]).toMatchObject({ id: agent.processId, what: "tool", reason: "short" });
  });

  it("only measures when it may do no more", async () => {
    const { agents, verdicts, evicted } = guarded({ mayEnd: false });
    await using _ = agents;
    using memory = fakeMemory({ freeBytes: 0 });
    const agent = await start(agents, "is-100-mib.sh");
    agents.guard.update(agent.processId, { ceilingBytes: MIB, predictedBytes: 0, kind: "spare" });
    agents.guard.setLimit(memory.limit, LINES);
    await until(() => agents.guard.status.level === 3 && (agent.currentBytes ?? 0) > 100 * MIB);
    await statusWhen(agents, ({ reason }) => reason.includes(": 0 MiB are free"));
    await agent.terminate(1000);
    expect([verdicts, evicted]).toEqual([[], []]);
  });
});

describe("MemoryGuard, evicting", () => {
  it("asks for a resident, and kills it when nobody ends it", async () => {
    const { agents, evicted } = guarded();
    await using _ = agents;
    using memory = fakeMemory({ freeBytes: BRAKE + 10 * MIB });
    const agent = await start(agents, "polite.sh");
    agents.guard.update(agent.processId, { kind: "resident" });
    agents.guard.setLimit(memory.limit, LINES);
    await until(() => agents.guard.status.level > 0);
    if (agents.guard.status.level === 1) expect(evicted).toEqual([]);
    // After two seconds at level 1.
    const exit = await agent.settled;
    expect(exit).toMatchObject({ signal: "SIGKILL", outOfMemory: false });
    expect(exit.guardVerdict).toMatchObject({ what: "evicted" });
    expect(evicted).toEqual([agent.processId]);
  });

  it("leaves it to whoever ends it politely, and one that became a turn to its turn", async () => {
    using memory = fakeMemory({ freeBytes: BRAKE + 10 * MIB });
    const isToLeap = join(memory.directory, "leaps");
    process.env["LEAPS_WITH"] = isToLeap;
    const { agents, evicted } = guarded({
      thread: new URL("../fixtures/leaping-clock.ts", import.meta.url),
      evictionMs: LONG_EVICTION_MS,
      onEvict: (id) => {
        if (id === polite.processId) void polite.terminate(20_000);
        else if (id === claimed.processId) agents.guard.update(id, { kind: "turn" });
      },
    });
    await using _ = agents;
    const [polite, claimed, left] = [
      await start(agents, "polite.sh"),
      await start(agents, "polite.sh"),
      await start(agents, "polite.sh"),
    ];
    for (const { processId } of [polite, claimed]) {
      agents.guard.update(processId, { kind: "spare" });
    }
    agents.guard.update(left.processId, { kind: "resident" });
    agents.guard.setLimit(memory.limit, LINES);
    await until(() => evicted.length === 3);
    expect(await polite.settled).toMatchObject({ step: "stdin_closed", code: 0 });
    // Orders are taken in turn: who goes by the new limit knows of the claim.
    agents.guard.setLimit({ ...memory.limit, bytes: memory.limit.bytes + MIB }, LINES);
    await until(() => agents.guard.status.slackBytes === BRAKE + 11 * MIB);
    expect([claimed, left].map(({ pid }) => isRunning(pid ?? 0))).toEqual([true, true]);
    // The time is over for both, and one of them has no turn.
    writeFileSync(isToLeap, "");
    expect((await left.settled).guardVerdict).toMatchObject({ what: "evicted" });
    blockFor(400);
    expect(isRunning(claimed.pid ?? 0)).toBe(true);
  });

  it.each(["before", "after"])(
    "has no part in the end of a turn that claimed it %s that was heard of",
    async (when) => {
      const claim = (id: string) => agents.guard.update(id, { kind: "turn" });
      const { agents, evicted } = guarded({
        // The guard must not be the one who kills it.
        evictionMs: LONG_EVICTION_MS,
        ...(when === "after" && { onEvict: claim }),
      });
      await using _ = agents;
      using memory = fakeMemory({ freeBytes: BRAKE + 10 * MIB });
      const agent = await start(agents, "polite.sh");
      agents.guard.update(agent.processId, { kind: "spare" });
      agents.guard.setLimit(memory.limit, LINES);
      await until(() => agents.guard.status.level >= 1);
      // Verdicts are heard of between two steps of this thread.
      for (let ms = 0; agents.guard.status.level < 2 && ms < 30_000; ms += 5) blockFor(5);
      if (when === "before") claim(agent.processId);
      await until(() => evicted.length === 1);
      process.kill(agent.pid ?? 0, "SIGKILL");
      const exit = await agent.settled;
      expect(exit).toMatchObject({ signal: "SIGKILL", step: "exited", outOfMemory: true });
      expect(exit.guardVerdict).toBeUndefined();
    },
  );

  it("does not wait when memory is short", async () => {
    const { agents, evicted } = guarded();
    await using _ = agents;
    using memory = fakeMemory({ freeBytes: BRAKE - 10 * MIB });
    const agent = await start(agents, "polite.sh");
    agents.guard.update(agent.processId, { kind: "spare" });
    agents.guard.setLimit(memory.limit, LINES);
    expect(await agent.settled).toMatchObject({ signal: "SIGKILL", outOfMemory: false });
    expect(evicted).toEqual([agent.processId]);
  });
});

describe("MemoryGuard, where others hold the memory", () => {
  it("ends what balloons, and nobody who keeps to his prediction", async () => {
    const { agents, verdicts } = guarded();
    await using _ = agents;
    using memory = fakeMemory({ freeBytes: -900 * MIB });
    const balloon = await start(agents, "holds-100-mib.sh");
    agents.guard.update(balloon.processId, { predictedBytes: 20 * MIB });
    const innocent = await start(agents, "is-100-mib.sh");
    agents.guard.setLimit(memory.limit, LINES);
    await until(() => verdicts.length === 1);
    expect(verdicts[0]).toMatchObject({ id: balloon.processId, what: "tool" });
    blockFor(1500);
    expect([balloon, innocent].map(({ pid }) => isRunning(pid ?? 0))).toEqual([true, true]);
    const { guard } = agents;
    await until(() => guard.status.reason.includes("it is not the turns that hold it"));
  });

  it("ends nothing when the reading is gone, and says that it cannot tell", async () => {
    const { agents, verdicts } = guarded();
    await using _ = agents;
    const memory = fakeMemory({ freeBytes: 2 ** 40 });
    const agent = await start(agents, "is-100-mib.sh");
    agents.guard.setLimit(memory.limit, LINES);
    await until(() => agents.guard.status.slackBytes === 2 ** 40);
    memory[Symbol.dispose]();
    // What is left to read is this process and what it has started.
    await until(() => (agents.guard.status.slackBytes ?? 0) > 2 ** 40);
    expect(agents.guard.status.usedBytes).toBeGreaterThan(100 * MIB);
    expect(isRunning(agent.pid ?? 0)).toBe(true);
    expect(verdicts).toEqual([]);
  });

  it("takes a limit that is lowered while it runs", async () => {
    const { agents } = guarded();
    await using _ = agents;
    using memory = fakeMemory({ freeBytes: 2 ** 40 });
    agents.guard.setLimit(memory.limit, LINES);
    await start(agents, "polite.sh");
    await until(() => agents.guard.status.slackBytes === 2 ** 40);
    agents.guard.setLimit({ ...memory.limit, bytes: USED_BYTES + BRAKE + MIB }, LINES);
    // It says more of what it does when that is two seconds old.
    const saysSo = /^no admissions\b.*: 129 MiB are free$/;
    const { level } = await statusWhen(agents, ({ reason }) => saysSo.test(reason));
    expect([1, 2]).toContain(level);
  });
});
