/**
 * Goal: a simulated replica decides as the server does.
 * Method: the same turns are played to both, in any order: the server's gate and lane themselves
 * against the lean books of the simulation. Every verdict and every `Retry-After` is to be the same.
 */
import * as fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import {
  type FootprintModel,
  poolBytes,
  predictBytes,
} from "../../../src/capacity/footprint-model.ts";
import { TurnGate } from "../../../src/capacity/gate.ts";
import type { Permit } from "../../../src/capacity/permit.ts";
import { StartLane, type StartSlot } from "../../../src/capacity/start-lane.ts";
import type { Weights } from "../../../src/capacity/weights.ts";
import { monotonicMs } from "../../../src/lib/monotonic-clock.ts";
import { Client } from "../../../src/sizing/simulate/client.ts";
import { Replica, type ReplicaTerms } from "../../../src/sizing/simulate/replica.ts";
import { StartQueue } from "../../../src/sizing/simulate/start-queue.ts";

const MIB = 2 ** 20;
const JITTER = 0.4;

const MODEL: FootprintModel = {
  samples: 100,
  baseBytes: 120 * MIB + 17,
  bytesPerCarriedByte: 12,
  carriedToBytes: 8 * MIB,
  deviationBytes: 9 * MIB,
  errorBytes: 2 * MIB,
  excessBytes: 31 * MIB,
  leastBytes: 100 * MIB,
  largestBytes: 170 * MIB,
};

const TERMS: ReplicaTerms = {
  limitBytes: 1400 * MIB,
  safetyReserveBytes: 144 * MIB,
  cpus: 2,
  serverBytes: 100 * MIB,
  inflightTurnBytes: 1 * MIB,
  model: MODEL,
  maxTurns: 7,
  maxStartWaitMs: 2_000,
  maxRetryAfterMs: 600_000,
};

const WEIGHTS: Weights = {
  admission: "measured",
  limit: () => ({ bytes: TERMS.limitBytes, source: "a test" }),
  safetyReserveBytes: () => TERMS.safetyReserveBytes,
  usedBytes: ({ turnsBytes, cacheBytes }) => TERMS.serverBytes + turnsBytes + cacheBytes,
  parentBytes: () => TERMS.serverBytes,
  parentGrowthBytes: () => 0,
  heldBytes: ({ holder }) => holder?.currentBytes ?? 0,
  expectedBytes: ({ demand }) => WEIGHTS.predictBytes("a", demand.carriedBytes),
  predictBytes: (_agent, carriedBytes) =>
    predictBytes(MODEL, carriedBytes) + TERMS.inflightTurnBytes,
  leastTurnBytes: () => WEIGHTS.predictBytes("a", 0),
  leastAgentName: () => "a",
  poolBytes: (names) => poolBytes(names.map(() => MODEL)),
};

type Step =
  | { readonly do: "ask"; readonly carriedBytes: number }
  | { readonly do: "hold"; readonly which: number; readonly bytes: number }
  | { readonly do: "end"; readonly which: number };

const anySteps = fc.array(
  fc.record({
    passMs: fc.integer({ min: 0, max: 4_000 }),
    step: fc.oneof(
      {
        weight: 3,
        arbitrary: fc.record({ do: fc.constant("ask"), carriedBytes: fc.nat(9 * MIB) }),
      },
      fc.record({
        do: fc.constant("hold"),
        which: fc.nat(20),
        bytes: fc.integer({ min: 50 * MIB, max: 260 * MIB }),
      }),
      fc.record({ do: fc.constant("end"), which: fc.nat(20) }),
    ) as fc.Arbitrary<Step>,
  }),
  { minLength: 5, maxLength: 60 },
);

describe("the gate", () => {
  it("admits, sheds and tells the time as the server's", () => {
    let [asked, shed] = [0, 0];
    fc.assert(
      fc.property(anySteps, fc.boolean(), (steps, hasCeiling) => {
        const terms = { ...TERMS, maxTurns: hasCeiling ? TERMS.maxTurns : null };
        let nowMs = 0;
        const replica = new Replica(0, terms, () => JITTER);
        replica.state = "up";
        const gate = new TurnGate({
          weights: WEIGHTS,
          maxTurns: terms.maxTurns,
          lane: new StartQueue(terms.cpus, terms.maxStartWaitMs),
          now: () => nowMs,
          random: () => JITTER,
        });
        const turns: { client: Client; permit: Permit; held: { currentBytes: number } }[] = [];
        for (const { passMs, step } of steps) {
          nowMs += passMs;
          if (step.do === "ask") {
            const client = new Client(0);
            client.carriedBytes = step.carriedBytes;
            const party = { tenant: "t", callerId: "c", isPriority: false };
            const demand = { ...party, agentName: "a", carriedBytes: step.carriedBytes };
            const admission = gate.tryAdmit(demand, nowMs);
            const reason = replica.tryAdmit(client, nowMs);
            asked += 1;
            expect(reason).toBe(admission.admitted ? null : admission.shed.reason);
            if (admission.admitted) {
              const held = { currentBytes: 0 };
              admission.permit.holder = held;
              turns.push({ client, permit: admission.permit, held });
            } else {
              shed += 1;
              const { retryAfterSeconds } = admission.shed;
              expect(replica.retryAfterSeconds(nowMs)).toBe(retryAfterSeconds);
            }
          } else if (turns.length > 0) {
            const turn = turns[step.which % turns.length]!;
            if (step.do === "hold") {
              turn.held.currentBytes = step.bytes;
              replica.hold(turn.client, step.bytes);
            } else {
              turns.splice(turns.indexOf(turn), 1);
              turn.permit[Symbol.dispose]();
              replica.end(turn.client, nowMs, false);
            }
          }
          const { committedBytes, inflight } = gate.snapshot(nowMs);
          expect(replica.inflight).toBe(inflight);
          expect(Math.abs(replica.committedBytes - committedBytes)).toBeLessThanOrEqual(2);
        }
      }),
      { numRuns: 400 },
    );
    expect(shed).toBeGreaterThan(0.1 * asked);
  });
});

describe("the lane of starts", () => {
  it("lets in and expects as the server's", async () => {
    vi.useFakeTimers({ toFake: ["hrtime"] });
    try {
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom(0.5, 1, 2, 3.6),
          fc.array(fc.record({ isEnd: fc.boolean(), passMs: fc.nat(900) }), { maxLength: 40 }),
          async (cpus, steps) => {
            const lane = new StartLane({ cpus, maxWaitMs: 10_000 });
            const queue = new StartQueue(cpus, 10_000);
            const begun: { order: number; slot: StartSlot; atMs: number }[] = [];
            const started: { client: Client; atMs: number }[] = [];
            let order = 0;
            for (const { isEnd, passMs } of steps) {
              vi.advanceTimersByTime(passMs);
              const nowMs = monotonicMs();
              if (!isEnd) {
                const mine = order++;
                void lane
                  .enter(new AbortController().signal)
                  .then((slot) => begun.push({ order: mine, slot, atMs: monotonicMs() }));
                const client = new Client(mine);
                if (queue.enter(client)) started.push({ client, atMs: nowMs });
              } else if (begun.length > 0) {
                begun.shift()?.slot[Symbol.dispose]();
                const first = started.shift();
                const next = queue.leave(nowMs - (first?.atMs ?? 0));
                if (next !== null) started.push({ client: next, atMs: nowMs });
              }
              await Promise.resolve();
              await Promise.resolve();
              expect(started.map(({ client }) => client.number)).toEqual(
                begun.map((each) => each.order),
              );
              expect([queue.starting, queue.waiting]).toEqual([lane.starting, lane.waiting]);
              expect(queue.expectedWaitMs(2)).toBeCloseTo(lane.expectedWaitMs(2), 6);
            }
          },
        ),
        { numRuns: 200 },
      );
    } finally {
      vi.useRealTimers();
    }
  });
});
