/**
 * What of the gate depends on the time, through the doors that turns come by, while somebody sets
 * the clock of the machine: `Date` jumps, and the time that passes does not.
 */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { AgentDefinition } from "../../src/agent/definition.ts";
import { TurnGate } from "../../src/capacity/gate.ts";
import type { Permit } from "../../src/capacity/permit.ts";
import { staticWeights } from "../../src/capacity/weights.ts";
import { loadRefusal } from "../../src/http/load-refusal.ts";
import { AppError } from "../../src/lib/errors.ts";
import { GuardLink } from "../../src/server/guard-link.ts";
import { admitTurn } from "../../src/turn/admit-turn.ts";
import type { Caller } from "../../src/turn/turn.ts";

const MiB = 2 ** 20;
const HOUR_MS = 3_600_000;
const STEPS = [
  ["back", -HOUR_MS],
  ["forward", HOUR_MS],
] as const;

beforeEach(() => void vi.useFakeTimers({ toFake: ["Date", "hrtime"] }));
afterEach(() => void vi.useRealTimers());

/** A replica of so many turns, asked as HTTP asks it. */
function replica(turns: number) {
  const gate = new TurnGate({
    weights: staticWeights({
      limit: () => ({ bytes: (400 + 500 * turns) * MiB, source: "a test" }),
      parentReserveBytes: 400 * MiB,
      turnReserveBytes: 500 * MiB,
      safetyReserveBytes: null,
    }),
    maxTurns: null,
    fairShare: true,
    random: () => 0,
  });
  const guard = new GuardLink({ capacity: { guard: true } } as never);
  const log = { warn: () => {}, error: () => {} };
  const metrics = { guardActed: () => {} };
  guard.listen({ telemetry: { log, metrics } as never, gate, book: { guardActed: () => {} } });
  const deps = {
    gate,
    sessions: { transcriptBytes: async () => 0 },
    kept: { take: () => null, putBack: () => {} },
    lane: { announce: () => ({ [Symbol.dispose]: () => {} }) },
  };
  const admitted = async (name: string): Promise<Permit> => {
    const session = { by: "thread", threadId: name, expectsHistory: false };
    const request = { agentName: "desk", caller: caller(name), input: [], session };
    const agent = { limits: { transcript: { maxBytes: MiB } } } as unknown as AgentDefinition;
    const { permit } = await admitTurn(request as never, agent, null, deps);
    permit.holder = { currentBytes: null };
    return permit;
  };
  const ready = { state: "ready", reason: "" } as const;
  return {
    gate,
    admitted,
    /** The reason of the refusal; null for a turn that was let in. */
    asked: async (name: string) => {
      try {
        await admitted(name);
        return null;
      } catch (err) {
        if (!(err instanceof AppError)) throw err;
        return err.details.extensions?.["reason"];
      }
    },
    /** Seconds, of a refusal before the body. */
    retryAfter: (name: string) =>
      loadRefusal({ agents: new Map(), gate, readiness: ready }, caller(name), "desk")?.details
        ?.retryAfterSeconds ?? null,
    runShort: () =>
      guard.guardOptions.onVerdict({
        id: "t",
        what: "turn",
        bytes: 1,
        predictedBytes: 1,
        ceilingBytes: null,
        reason: "bytes",
      } as never),
  };
}

function caller(name: string): Caller {
  return { id: "key", tenant: name, priority: "normal" } as Caller;
}

function setClock(byMs: number): void {
  vi.setSystemTime(Date.now() + byMs);
}

describe("the gate, where the clock is set", () => {
  it.each(STEPS)("tells the same time to come back, %s", async (_way, stepMs) => {
    const { admitted, retryAfter } = replica(1);
    const permit = await admitted("a");
    for (let count = 0; count < 6; count += 1) retryAfter("b");
    setClock(stepMs);
    vi.advanceTimersByTime(4_000);
    permit[Symbol.dispose]();
    // All who were told to come are due by now.
    vi.advanceTimersByTime(121_000);
    using _next = await admitted("a");
    expect(retryAfter("b")).toBe(4);
  });

  it.each(STEPS)("takes a turn in flight for as old as it is, %s", async (_way, stepMs) => {
    const { admitted, retryAfter } = replica(1);
    using _permit = await admitted("a");
    vi.advanceTimersByTime(5_000);
    setClock(stepMs);
    // A turn is presumed to take 15 s.
    expect(retryAfter("b")).toBe(10);
  });

  it.each(STEPS)("expects who was shed for no longer than they take, %s", async (_way, stepMs) => {
    const { admitted, asked, retryAfter } = replica(2);
    using _staying = await admitted("a");
    const ending = await admitted("a");
    const seconds = retryAfter("b") ?? 0;
    setClock(stepMs);
    ending[Symbol.dispose]();
    expect(await asked("a")).toBe("share");
    vi.advanceTimersByTime(1000 * seconds + 4_000);
    // The other did not come. "a" was told to come itself, and does.
    expect(await asked("a")).toBeNull();
  });

  it.each(STEPS)(
    "backs off for as long as it should after memory ran short, %s",
    async (_w, stepMs) => {
      const { gate, admitted, asked, runShort } = replica(8);
      const permits = [await admitted("a"), await admitted("a"), await admitted("a")];
      runShort();
      for (const permit of permits.slice(1)) permit[Symbol.dispose]();
      setClock(stepMs);
      expect(await asked("a")).toBe("pressure");
      vi.advanceTimersByTime(5_001);
      // Two may run for now.
      expect([await asked("a"), await asked("a")]).toEqual([null, "pressure"]);
      vi.advanceTimersByTime(5_000);
      permits[0]?.[Symbol.dispose]();
      // One of two has ended well since: three may run.
      expect([await asked("a"), await asked("a"), await asked("a")]).toEqual([
        null,
        null,
        "pressure",
      ]);
      expect(gate.inflight).toBe(3);
    },
  );
});
