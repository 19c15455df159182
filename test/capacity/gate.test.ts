import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Demand, Permit, TurnGateOptions } from "../../src/capacity/gate.ts";
import { TurnGate } from "../../src/capacity/gate.ts";

const MiB = 2 ** 20;

const DEFAULTS: TurnGateOptions = {
  limit: { bytes: 2048 * MiB, source: "a test" },
  parentReserveBytes: 400 * MiB,
  turnReserveBytes: 500 * MiB,
  maxTurns: null,
  now: () => 0,
  random: () => 0,
};

function turn(reserveMiB = 500): Demand {
  return { callerId: "ann", tenant: "acme", agentName: "desk", reserveBytes: reserveMiB * MiB };
}

/** A permit where the test expects one. */
function admit(gate: TurnGate, nowMs = 0, reserveMiB = 500): Permit {
  const admission = gate.tryAdmit(turn(reserveMiB), nowMs);
  if (!admission.admitted) throw new Error(`Expected a permit: ${admission.shed.text}`);
  return admission.permit;
}

/** A refusal where the test expects one. */
function refuse(gate: TurnGate, nowMs = 0, reserveMiB = 500) {
  const admission = gate.tryAdmit(turn(reserveMiB), nowMs);
  if (admission.admitted) throw new Error("Expected a refusal");
  return admission.shed;
}

describe("TurnGate", () => {
  it("counts turns in flight 0, 1, 2, 1, 0", () => {
    const gate = new TurnGate(DEFAULTS);
    const inflight = () => gate.snapshot(0).inflight;
    const seen = [inflight()];
    const first = admit(gate);
    seen.push(inflight());
    const second = admit(gate);
    seen.push(inflight());
    first[Symbol.dispose]();
    seen.push(inflight());
    second[Symbol.dispose]();
    seen.push(inflight());
    expect(seen).toEqual([0, 1, 2, 1, 0]);
  });

  it("admits two of five at once under maxTurns 2, and one more for each one given back", () => {
    const gate = new TurnGate({ ...DEFAULTS, maxTurns: 2 });
    const admissions = Array.from({ length: 5 }, () => gate.tryAdmit(turn(), 0));
    expect(admissions.map((one) => one.admitted)).toEqual([true, true, false, false, false]);
    const [first] = admissions;
    if (first?.admitted) first.permit[Symbol.dispose]();
    expect([gate.tryAdmit(turn(), 0), gate.tryAdmit(turn(), 0)].map((one) => one.admitted)).toEqual(
      [true, false],
    );
    expect(gate.snapshot(0).shed).toEqual({ memory: 0, max_turns: 4, draining: 0 });
  });

  it.each([
    [1024, 1],
    [2048, 3],
    [4096, 7],
    [8192, 15],
  ])("admits on %d MiB exactly %d turns of 500 MiB", (limitMiB, turns) => {
    const gate = new TurnGate({ ...DEFAULTS, limit: { bytes: limitMiB * MiB, source: "a test" } });
    for (let count = 0; count < turns; count += 1) admit(gate);
    expect(refuse(gate)).toMatchObject({ reason: "memory", inflight: turns, capacity: turns });
  });

  it("says a refusal for memory in bytes that add up", () => {
    const gate = new TurnGate(DEFAULTS);
    admit(gate);
    admit(gate);
    admit(gate);
    const shed = refuse(gate);
    expect(shed.text).toBe("1,900 of 2,048 MiB committed; a turn is predicted 500 MiB");
    expect(gate.snapshot(0).lastDecision?.text).toBe(`shed (memory): ${shed.text}`);
  });

  it("weighs turns, so that small ones fit where a large one does not", () => {
    const gate = new TurnGate(DEFAULTS);
    admit(gate, 0, 1500);
    expect(refuse(gate, 0, 149).reason).toBe("memory");
    admit(gate, 0, 148);
    expect(gate.snapshot(0).headroomBytes).toBe(0);
  });

  it("never lets maxTurns pass the load line", () => {
    const gate = new TurnGate({ ...DEFAULTS, maxTurns: 50 });
    admit(gate);
    admit(gate);
    admit(gate);
    expect(refuse(gate).reason).toBe("memory");
  });

  it("always admits one turn on an idle replica, and only one", () => {
    const gate = new TurnGate({ ...DEFAULTS, limit: { bytes: 100 * MiB, source: "a test" } });
    expect(gate.snapshot(0).turnsThatFit).toBe(1);
    const permit = admit(gate);
    expect(refuse(gate)).toMatchObject({ reason: "memory", inflight: 1, capacity: 1 });
    permit[Symbol.dispose]();
    admit(gate);
  });

  it("gives back once when disposed twice, and leaves the permits of others alone", () => {
    const gate = new TurnGate(DEFAULTS);
    const first = admit(gate);
    admit(gate);
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    expect(gate.snapshot(0)).toMatchObject({ inflight: 1, committedBytes: 900 * MiB });
  });

  it("learns the length of a turn once, from the first time it is given back", () => {
    let nowMs = 0;
    const gate = new TurnGate({ ...DEFAULTS, maxTurns: 1, now: () => nowMs });
    const first = admit(gate, nowMs);
    nowMs = 10_000;
    first[Symbol.dispose]();
    nowMs = 100_000;
    first[Symbol.dispose]();
    admit(gate, nowMs);
    expect(refuse(gate, nowMs).retryAfterSeconds).toBe(10);
  });

  it("gives back when the scope of a `using` ends by a throw", () => {
    const gate = new TurnGate(DEFAULTS);
    expect(() => {
      using _permit = admit(gate);
      throw new Error("the turn failed");
    }).toThrow("the turn failed");
    expect(gate.snapshot(0).inflight).toBe(0);
  });

  it("admits nothing while draining, not even when idle, and lets running turns go on", () => {
    const gate = new TurnGate(DEFAULTS);
    const permit = admit(gate);
    gate.drain();
    expect(refuse(gate)).toMatchObject({ reason: "draining", retryAfterSeconds: 1, inflight: 1 });
    expect(gate.snapshot(0)).toMatchObject({ inflight: 1, draining: true });
    permit[Symbol.dispose]();
    expect(refuse(gate).reason).toBe("draining");
  });

  it("decides on what live turns hold now where that is known", () => {
    const held = new Map<number, number>();
    const gate = new TurnGate({
      ...DEFAULTS,
      commitmentOf: (permit) => held.get(permit.id) ?? permit.bytes,
    });
    for (let count = 0; count < 3; count += 1) held.set(admit(gate).id, 120 * MiB);
    expect(gate.snapshot(0)).toMatchObject({ committedBytes: 760 * MiB, turnsThatFit: 5 });
    held.set(admit(gate).id, 900 * MiB); // One that outgrew its prediction.
    expect(refuse(gate).text).toContain("1,660 of 2,048 MiB committed");
  });

  it("keeps the safety reserve free", () => {
    const gate = new TurnGate({ ...DEFAULTS, safetyReserveBytes: 200 * MiB });
    admit(gate);
    admit(gate);
    expect(refuse(gate).text).toContain("1,400 of 1,848 MiB");
  });

  it("shows everything in one snapshot", () => {
    const gate = new TurnGate({ ...DEFAULTS, maxTurns: 9 });
    admit(gate, 1000);
    admit(gate, 2000);
    expect(gate.snapshot(5000)).toEqual({
      limitBytes: 2048 * MiB,
      limitSource: "a test",
      loadLineBytes: 2048 * MiB,
      parentBytes: 400 * MiB,
      committedBytes: 1400 * MiB,
      headroomBytes: 648 * MiB,
      inflight: 2,
      maxTurns: 9,
      turnsThatFit: 3,
      draining: false,
      admitted: 2,
      shed: { memory: 0, max_turns: 0, draining: 0 },
      lastDecision: { atMs: 2000, text: "admitted: 1,400 of 2,048 MiB committed" },
      oldestTurnMs: 4000,
    });
  });
});

describe("TurnGate.peek and shedEarly", () => {
  it("peek counts nothing and promises nothing", () => {
    const gate = new TurnGate({ ...DEFAULTS, maxTurns: 1 });
    admit(gate);
    const before = gate.snapshot(0);
    const waits = Array.from({ length: 20 }, () => gate.peek(0)?.retryAfterSeconds);
    expect(new Set(waits).size).toBe(1);
    expect(gate.snapshot(0)).toEqual(before);
  });

  it("shedEarly counts its refusal once, and takes nothing where it does not refuse", () => {
    const gate = new TurnGate({ ...DEFAULTS, maxTurns: 1 });
    expect(gate.shedEarly(0)).toBeNull();
    expect(gate.snapshot(0)).toMatchObject({ inflight: 0, lastDecision: null });
    admit(gate);
    expect(gate.shedEarly(0)?.reason).toBe("max_turns");
    expect(gate.snapshot(0).shed.max_turns).toBe(1);
  });

  it("promises later times to those who are refused later", () => {
    const gate = new TurnGate(DEFAULTS);
    for (let count = 0; count < 3; count += 1) admit(gate);
    const waits = Array.from({ length: 300 }, () => gate.shedEarly(0)?.retryAfterSeconds ?? 0);
    expect(waits).toEqual(waits.toSorted((a, b) => a - b));
    expect(waits[0]).toBeLessThan(waits[9] ?? 0);
    expect(waits.at(-1)).toBeLessThanOrEqual(120);
  });
});

/**
 * Goal: no order of calls breaks what the class promises.
 * Method: random programs of calls on a random gate; after each call the books are compared with a
 * model that only keeps a list, and at the end everything is given back.
 */
describe("TurnGate, for any sequence of calls", () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant("admit" as const), mib: fc.nat(900) }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant("dispose" as const), which: fc.nat(40) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("shed_early" as const) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.nat(60_000) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("drain" as const) }) },
  );
  const program = fc.record({
    limitMiB: fc.integer({ min: 1, max: 8192 }),
    maxTurns: fc.option(fc.integer({ min: 1, max: 6 })),
    steps: fc.array(step, { maxLength: 60 }),
  });

  it("keeps its books", () => {
    fc.assert(
      fc.property(program, ({ limitMiB, maxTurns, steps }) => {
        let nowMs = 0;
        const limit = { bytes: limitMiB * MiB, source: "a test" };
        const gate = new TurnGate({ ...DEFAULTS, limit, maxTurns, now: () => nowMs });
        const given: Permit[] = [];
        const live = new Set<Permit>();
        let asked = 0;
        let drained = false;

        for (const next of steps) {
          if (next.do === "wait") nowMs += next.ms;
          else if (next.do === "drain") {
            gate.drain();
            drained = true;
          } else if (next.do === "dispose") {
            const permit = given[next.which % Math.max(1, given.length)]; // Often a second time.
            permit?.[Symbol.dispose]();
            if (permit) live.delete(permit);
          } else if (next.do === "shed_early") {
            const told = gate.peek(nowMs);
            const early = gate.shedEarly(nowMs);
            expect(early).toEqual(told);
            if (early !== null) asked += 1;
          } else {
            asked += 1;
            const told = gate.peek(nowMs, (next.mib + 1) * MiB);
            const wasIdle = live.size === 0;
            const admission = gate.tryAdmit(turn(next.mib + 1), nowMs);
            expect(admission.admitted).toBe(told === null);
            if (admission.admitted) {
              given.push(admission.permit);
              live.add(admission.permit);
              const { committedBytes, loadLineBytes } = gate.snapshot(nowMs);
              expect(wasIdle || committedBytes <= loadLineBytes).toBe(true);
              expect(wasIdle || maxTurns === null || live.size <= maxTurns).toBe(true);
              expect(drained).toBe(false);
            } else {
              expect(admission.shed).toEqual(told);
              expect(wasIdle && !drained).toBe(false);
              expect(admission.shed.retryAfterSeconds).toBeGreaterThanOrEqual(1);
              expect(admission.shed.retryAfterSeconds).toBeLessThanOrEqual(120);
            }
          }
          const seen = gate.snapshot(nowMs);
          const held = [...live].reduce((total, permit) => total + permit.bytes, 400 * MiB);
          expect(seen.inflight).toBe(live.size);
          expect(seen.committedBytes).toBe(held);
          expect(seen.headroomBytes).toBe(Math.max(0, limit.bytes - held));
          const shedCount = seen.shed.memory + seen.shed.max_turns + seen.shed.draining;
          expect(seen.admitted + shedCount).toBe(asked);
        }

        for (const permit of given) permit[Symbol.dispose]();
        expect(gate.snapshot(nowMs)).toMatchObject({ inflight: 0, committedBytes: 400 * MiB });
      }),
      { numRuns: 2000 },
    );
  });
});
