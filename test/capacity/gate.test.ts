import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TurnGate } from "../../src/capacity/gate.ts";
import type { TurnGateOptions } from "../../src/capacity/gate-options.ts";
import type { Demand, Permit } from "../../src/capacity/permit.ts";
import { StartLane } from "../../src/capacity/start-lane.ts";
import { staticWeights, type Weights } from "../../src/capacity/weights.ts";

const MiB = 2 ** 20;

/** The static formula, but that a turn is predicted what it carries, where it carries anything. */
function weightsOf(limitMiB: number, safetyReserveMiB = 0): Weights {
  const weights = staticWeights({
    limit: () => ({ bytes: limitMiB * MiB, source: "a test" }),
    parentReserveBytes: 400 * MiB,
    turnReserveBytes: 500 * MiB,
    safetyReserveBytes: safetyReserveMiB * MiB,
  });
  return { ...weights, predictBytes: (_agentName, carried) => carried || 500 * MiB };
}

/** The same, where the system tells of the server alone and processes are measured. */
function measured(weights: Weights): Weights {
  return {
    ...weights,
    usedBytes: ({ turnsBytes, cacheBytes }) => 400 * MiB + turnsBytes + cacheBytes,
    heldBytes: ({ holder }) => holder?.currentBytes ?? 0,
  };
}

const DEFAULTS: TurnGateOptions = {
  weights: weightsOf(2048),
  maxTurns: null,
  now: () => 0,
  random: () => 0,
};

function turn(predictedMiB = 500): Demand {
  return { ...ANN, agentName: "desk", carriedBytes: predictedMiB * MiB };
}

const ANN = { callerId: "ann", tenant: "acme", isPriority: false, agentName: "desk" };

/** A permit where the test expects one, of a turn that has its process. */
function admit(gate: TurnGate, nowMs = 0, reserveMiB = 500): Permit {
  const admission = gate.tryAdmit(turn(reserveMiB), nowMs);
  if (!admission.admitted) throw new Error(`Expected a permit: ${admission.shed.text}`);
  admission.permit.holder = NOT_MEASURED;
  return admission.permit;
}

const NOT_MEASURED = { currentBytes: null };

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
    expect(gate.snapshot(0).shed).toMatchObject({ memory: 0, max_turns: 4, draining: 0 });
  });

  it.each([
    [1024, 1],
    [2048, 3],
    [4096, 7],
    [8192, 15],
  ])("admits on %d MiB exactly %d turns of 500 MiB", (limitMiB, turns) => {
    const gate = new TurnGate({ ...DEFAULTS, weights: weightsOf(limitMiB) });
    for (let count = 0; count < turns; count += 1) admit(gate);
    expect(refuse(gate)).toMatchObject({ reason: "memory", inflight: turns, capacity: turns });
  });

  it("says a refusal for memory in bytes that add up", () => {
    const gate = new TurnGate(DEFAULTS);
    admit(gate);
    admit(gate);
    admit(gate);
    const shed = refuse(gate);
    expect(shed.text).toBe(
      "1,900 of 2,048 MiB committed; this turn is predicted 500 MiB with a transcript of 500.0 MiB",
    );
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
    const gate = new TurnGate({ ...DEFAULTS, weights: weightsOf(100) });
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
    const gate = new TurnGate({ ...DEFAULTS, weights: measured(weightsOf(2048)) });
    const held = (permit: Permit, mebibytes: number) => {
      permit.holder = { currentBytes: mebibytes * MiB };
    };
    const first = admit(gate, 0, 120);
    expect(gate.snapshot(0)).toMatchObject({ usedBytes: 400 * MiB, promisedBytes: 120 * MiB });
    held(first, 100);
    const sum = { usedBytes: 500 * MiB, promisedBytes: 20 * MiB, committedBytes: 520 * MiB };
    expect(gate.snapshot(0)).toMatchObject(sum);
    held(first, 900); // It outgrew its prediction.
    expect(gate.snapshot(0)).toMatchObject({ usedBytes: 1300 * MiB, promisedBytes: 0 });
    expect(refuse(gate, 0, 800).text).toContain("1,300 of 2,048 MiB committed");
  });

  it("keeps the safety reserve free", () => {
    const gate = new TurnGate({ ...DEFAULTS, weights: weightsOf(2048, 200) });
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
      usedBytes: 400 * MiB,
      promisedBytes: 1000 * MiB,
      poolBytes: 0,
      committedBytes: 1400 * MiB,
      headroomBytes: 648 * MiB,
      safetyReserveBytes: 0,
      parentBytes: 400 * MiB,
      parentGrowthBytes: 0,
      admission: "static",
      inflight: 2,
      resting: 0,
      maxTurns: 9,
      maxTurnsForNow: null,
      nextTurnBytes: 500 * MiB,
      turnsThatFit: 3,
      draining: false,
      pressure: null,
      admitted: 2,
      shed: { memory: 0, max_turns: 0, share: 0, start: 0, pressure: 0, draining: 0 },
      lastDecision: {
        atMs: 2000,
        text: "admitted: 1,400 of 2,048 MiB committed; this turn is predicted 500 MiB with a transcript of 500.0 MiB",
      },
      oldestTurnMs: 4000,
    });
  });
});

describe("TurnGate, on how many turns there can be", () => {
  it("tells as many as it then admits, with the pool of each and the room that is reserved", () => {
    const mebibytes = (max: number) => fc.integer({ min: 0, max });
    const figures = {
      limit: mebibytes(20_000),
      error: mebibytes(40),
      deviation: mebibytes(100),
      excess: mebibytes(600),
      priorityReserve: mebibytes(1000),
      kept: mebibytes(500),
    };
    fc.assert(
      fc.property(fc.record(figures), (played) => {
        const poolBytes = ({ length }: readonly string[]) =>
          length === 0
            ? 0
            : (played.error * length + played.deviation * Math.sqrt(length) + played.excess) * MiB;
        const leastAgentName = () => "desk";
        const weights = { ...weightsOf(played.limit), poolBytes, leastAgentName };
        const priorityReserveBytes = played.priorityReserve * MiB;
        const gate = new TurnGate({ ...DEFAULTS, weights, priorityReserveBytes });
        gate.useCache(keptProcesses(played.kept));
        const { turnsThatFit } = gate.snapshot(0);
        for (let inflight = 0; inflight < turnsThatFit; inflight += 1) {
          expect(gate.snapshot(0).turnsThatFit).toBe(turnsThatFit);
          admit(gate);
        }
        expect(refuse(gate)).toMatchObject({ inflight: turnsThatFit, capacity: turnsThatFit });
      }),
      { numRuns: 200 },
    );
  });
});

/** Processes that are kept, and go when they are told to: at once, or when the test says. */
function keptProcesses(...sizesMiB: number[]) {
  const kept = sizesMiB.map((mebibytes) => mebibytes * MiB);
  /** One that has been started and holds nothing yet; it goes first. */
  const starting = { bytes: 0 };
  const leaving: number[] = [];
  const gone: (() => void)[] = [];
  const sum = (sizes: readonly number[]) => sizes.reduce((total, size) => total + size, 0);
  return {
    kept,
    starting,
    /** All that were told to go are gone. */
    go: () => {
      leaving.length = 0;
      for (const tell of gone.splice(0)) tell();
    },
    heldBytes: () => sum(kept) + sum(leaving),
    freeableBytes: () => sum(kept) + starting.bytes,
    promisedBytes: () => starting.bytes,
    leavingBytes: () => sum(leaving),
    evict(bytes: number) {
      let freed = starting.bytes;
      if (bytes > 0) starting.bytes = 0;
      while (freed < bytes && kept.length > 0) {
        const [first = 0] = kept.splice(0, 1);
        leaving.push(first);
        freed += first;
      }
      return new Promise<void>((resolve) => gone.push(resolve));
    },
  };
}

describe("TurnGate, with processes that are kept between turns", () => {
  function open(...sizesMiB: number[]) {
    const gate = new TurnGate({ ...DEFAULTS, weights: measured(weightsOf(2048)) });
    const cache = keptProcesses(...sizesMiB);
    gate.useCache(cache);
    return { gate, cache };
  }

  it("evicts no more of them than the turn needs, and has the turn wait until they are gone", async () => {
    const { gate, cache } = open(100, 100, 100, 100);
    const first = admit(gate, 0, 1200); // 400 + 400 + 1200 = 2000 of 2048.
    await first.roomFreed;
    expect(cache.kept).toHaveLength(4);
    const second = admit(gate, 0, 150); // 102 too many.
    expect(cache.kept).toHaveLength(2);
    let isReady = false;
    void second.roomFreed.then(() => (isReady = true));
    await Promise.resolve();
    expect(isReady).toBe(false);
    cache.go();
    await second.roomFreed;
    expect(gate.snapshot(0).committedBytes).toBe((400 + 200 + 1350) * MiB);
  });

  it("sheds what would not fit with all of them gone, and evicts nothing for it", () => {
    const { gate, cache } = open(100, 100);
    admit(gate, 0, 1400);
    expect(refuse(gate, 0, 300).reason).toBe("memory");
    expect(cache.kept).toHaveLength(2);
  });

  it("does not shed a turn for what is on its way out", () => {
    const { gate } = open(100, 100);
    admit(gate, 0, 1400);
    admit(gate, 0, 150); // Both go, and are not gone yet.
    admit(gate, 0, 98);
    expect(refuse(gate, 0, 1).reason).toBe("memory");
  });

  it("tells nobody to wait for what can be evicted", () => {
    const { gate } = open(300);
    admit(gate, 0, 600).holder = { currentBytes: 600 * MiB };
    admit(gate, 10_000, 400).holder = { currentBytes: 400 * MiB };
    // 552 MiB are lacking, of which 300 can be evicted: the first turn has the rest, and ends in 5 s
    // if it is as long as is presumed of turns. The second one ends in 15 s.
    expect(refuse(gate, 10_000, 900)).toMatchObject({ reason: "memory", retryAfterSeconds: 5 });
  });

  it("counts what one that starts will hold, and has it go for a turn", () => {
    const { gate, cache } = open(100);
    admit(gate, 0, 1300); // 400, 100 and 1300 of 2048.
    expect(gate.spareRoomBytes(0)).toBe(248 * MiB);
    cache.starting.bytes = 112 * MiB;
    expect(gate.spareRoomBytes(0)).toBe(136 * MiB);
    expect(gate.snapshot(0)).toMatchObject({ promisedBytes: 1412 * MiB, turnsThatFit: 1 });
    admit(gate, 0, 136);
    expect(gate.snapshot(0)).toMatchObject({ headroomBytes: 0 });
    expect(cache).toMatchObject({ starting: { bytes: 112 * MiB }, kept: [100 * MiB] });
    admit(gate, 0, 112);
    expect(gate.snapshot(0)).toMatchObject({ headroomBytes: 0 });
    expect(cache).toMatchObject({ starting: { bytes: 0 }, kept: [100 * MiB] });
    // Nobody is shed for it: all is as if neither were there.
    cache.starting.bytes = 112 * MiB;
    expect(refuse(gate, 0, 101).reason).toBe("memory");
    admit(gate, 0, 100);
  });

  it("asks of a turn in a process that is there only what that has still to grow", () => {
    const { gate } = open();
    admit(gate, 0, 1500); // 400 and 1500 of 2048.
    expect(refuse(gate, 0, 200).reason).toBe("memory");
    const process = { currentBytes: 100 * MiB };
    const weighed = gate.tryAdmit({ ...turn(140), process }, 0);
    expect(weighed.admitted).toBe(true);
    expect(gate.snapshot(0).committedBytes).toBe((400 + 1500 + 140) * MiB);
  });

  it("keeps the room of a session that rests, which is not in flight", () => {
    const { gate } = open();
    const permit = admit(gate, 0, 600);
    permit.holder = { currentBytes: 120 * MiB };
    permit.rest();
    expect(gate.snapshot(0)).toMatchObject({ inflight: 0, resting: 1 });
    expect(gate.snapshot(0).committedBytes).toBe(1000 * MiB);
    admit(gate, 0, 1048);
    expect(refuse(gate, 0, 1).reason).toBe("memory");
    // Its own room is there; and it is the same process, weighed once.
    const again = gate.tryAdmit({ ...turn(600), resting: permit }, 0);
    expect(again.admitted).toBe(true);
    expect(gate.snapshot(0)).toMatchObject({ inflight: 2, resting: 0, headroomBytes: 0 });
    permit[Symbol.dispose]();
    expect(gate.snapshot(0).inflight).toBe(2);
    if (again.admitted) again.permit[Symbol.dispose]();
    expect(gate.snapshot(0)).toMatchObject({ inflight: 1, resting: 0 });
  });

  it("has room for nobody else where sessions rest, and says so", () => {
    const { gate } = open();
    expect(gate.snapshot(0).turnsThatFit).toBe(3);
    for (const permit of [admit(gate, 0, 800), admit(gate, 0, 800)]) permit.rest();
    // No turn is in flight, and one is still none too few.
    expect(refuse(gate)).toMatchObject({ reason: "memory", inflight: 0, capacity: 0 });
    expect(gate.snapshot(0).turnsThatFit).toBe(0);
  });

  it("leaves a session at rest that is shed", () => {
    const { gate } = open();
    const permit = admit(gate, 0, 600);
    permit.rest();
    admit(gate, 0, 1000);
    expect(gate.tryAdmit({ ...turn(700), resting: permit }, 0).admitted).toBe(false);
    expect(gate.snapshot(0)).toMatchObject({ inflight: 1, resting: 1 });
    permit[Symbol.dispose]();
    expect(gate.snapshot(0).resting).toBe(0);
  });

  it("has the only session there is go on, however large its turn", () => {
    const { gate } = open();
    const permit = admit(gate, 0, 1000);
    permit.holder = { currentBytes: 200 * MiB };
    permit.rest();
    const next = (predictedMiB: number) =>
      gate.tryAdmit({ ...turn(predictedMiB), resting: permit }, 0);
    const again = next(3000);
    if (!again.admitted) throw new Error(again.shed.text);
    expect(gate.snapshot(0)).toMatchObject({ inflight: 1, resting: 0 });
    again.permit.rest();
    // Whoever is a stranger to it is not alone, nor who brings a permit that was consumed.
    expect(refuse(gate, 0, 3000).reason).toBe("memory");
    expect(next(3000).admitted).toBe(false);
  });

  it("does not refuse early who might have a process", () => {
    const { gate, cache } = open(100);
    gate.drain();
    expect(gate.shedEarly(ANN, 0)?.reason).toBe("draining");
    const full = new TurnGate({ ...DEFAULTS, maxTurns: 1 });
    admit(full);
    expect(full.shedEarly(ANN, 0)?.reason).toBe("max_turns");
    full.useCache(cache);
    expect(full.shedEarly(ANN, 0)).toBeNull();
    const starting = keptProcesses();
    starting.starting.bytes = 112 * MiB;
    full.useCache(starting);
    expect(full.shedEarly(ANN, 0)).toBeNull();
  });
});

describe("TurnGate, when memory is short", () => {
  it("admits nothing but a first turn while the guard says so", () => {
    let pressure: string | null = null;
    const gate = new TurnGate({ ...DEFAULTS, pressure: () => pressure });
    pressure = "100 MiB free, 192 wanted";
    const first = admit(gate);
    expect(refuse(gate)).toMatchObject({ reason: "pressure", text: pressure });
    pressure = null;
    admit(gate);
    first[Symbol.dispose]();
  });

  it("holds back after memory ran short, and then lets in fewer", () => {
    let nowMs = 1000;
    const gate = new TurnGate({ ...DEFAULTS, weights: weightsOf(8192), now: () => nowMs });
    for (let count = 0; count < 10; count += 1) admit(gate, nowMs);
    gate.ranShort(nowMs);
    const shed = refuse(gate, nowMs);
    expect(shed).toMatchObject({ reason: "pressure" });
    expect(shed.retryAfterSeconds).toBeGreaterThanOrEqual(5);
    nowMs = 7000;
    expect(refuse(gate, nowMs).text).toContain("at most 7 turns at once");
  });

  it("tells as many turns at once as it admits, in a hold and after it", () => {
    let nowMs = 1000;
    const gate = new TurnGate({ ...DEFAULTS, weights: weightsOf(8192), now: () => nowMs });
    const permits = Array.from({ length: 10 }, () => admit(gate, nowMs));
    const told = () => {
      const { turnsThatFit, maxTurnsForNow } = gate.snapshot(nowMs);
      return { turnsThatFit, maxTurnsForNow };
    };
    expect(told()).toEqual({ turnsThatFit: 15, maxTurnsForNow: null });
    gate.ranShort(nowMs);
    for (const permit of permits.splice(0, 5)) permit[Symbol.dispose]();
    expect(told()).toEqual({ turnsThatFit: 5, maxTurnsForNow: 7 });
    expect(refuse(gate, nowMs)).toMatchObject({ inflight: 5, capacity: 5 });
    nowMs = 7000;
    expect(told()).toEqual({ turnsThatFit: 7, maxTurnsForNow: 7 });
    admit(gate, nowMs);
    admit(gate, nowMs);
    expect(refuse(gate, nowMs)).toMatchObject({ reason: "pressure", inflight: 7, capacity: 7 });
    expect(told()).toEqual({ turnsThatFit: 7, maxTurnsForNow: 7 });
  });

  it("tells as many as are in flight while the guard lets nobody in", () => {
    const gate = new TurnGate({ ...DEFAULTS, pressure: () => "100 MiB free, 192 wanted" });
    expect(gate.snapshot(0).turnsThatFit).toBe(1);
    admit(gate);
    expect(refuse(gate)).toMatchObject({ inflight: 1, capacity: 1 });
    expect(gate.snapshot(0).turnsThatFit).toBe(1);
  });
});

describe("TurnGate, when to come back", () => {
  /** Ten turns that were begun a second apart, the last one now, and one that took 20 s before. */
  function tenTurns() {
    let nowMs = 0;
    const gate = new TurnGate({ ...DEFAULTS, weights: weightsOf(8192), now: () => nowMs });
    const before = admit(gate, nowMs);
    nowMs = 20_000;
    before[Symbol.dispose]();
    const permits: Permit[] = [];
    for (; permits.length < 10; nowMs += 1_000) permits.push(admit(gate, nowMs));
    return { gate, permits, nowMs: nowMs - 1_000 };
  }

  it("waits until as few turns are left as there may be after memory ran short", () => {
    const { gate, nowMs } = tenTurns();
    gate.ranShort(nowMs);
    // At most 7 for now: four have to end, and the fourth one was begun 11 s ago.
    expect(refuse(gate, nowMs + 5_000)).toMatchObject({ reason: "pressure", retryAfterSeconds: 9 });
  });

  it("waits for whichever takes longer, that or memory", () => {
    const { gate, nowMs } = tenTurns();
    gate.ranShort(nowMs);
    // Seven of them would have to end for the bytes of this one.
    const shed = refuse(gate, nowMs + 5_000, 500 * 12);
    expect(shed).toMatchObject({ reason: "pressure", retryAfterSeconds: 12 });
  });

  it("makes no long wait of there being no turn to wait for, but for sessions that rest", () => {
    let nowMs = 0;
    const gate = new TurnGate({ ...DEFAULTS, now: () => nowMs });
    const permits = [admit(gate), admit(gate), admit(gate)];
    nowMs = 6_000;
    for (const permit of permits) permit.rest();
    const waits = [1, 2, 3].map(() => refuse(gate, nowMs));
    expect(waits.map(({ reason }) => reason)).toEqual(["memory", "memory", "memory"]);
    // As long as turns take here, and those who are told later come later.
    expect(waits.map(({ retryAfterSeconds }) => retryAfterSeconds)).toEqual([6, 13, 20]);
  });
});

describe("TurnGate, when to come back for a start", () => {
  const STARTS_AT_ONCE = 2;
  const PRESUMED_START_MS = 500;

  /** A replica with room, that turns of two minutes were seen on, and a lane that is full. */
  function busyLane() {
    let nowMs = 0;
    const lane = new StartLane({ cpus: STARTS_AT_ONCE, maxWaitMs: 10_000 });
    const weights = weightsOf(256 * 1024);
    const gate = new TurnGate({ ...DEFAULTS, weights, lane, now: () => nowMs });
    for (let count = 0; count < 30; count += 1) {
      const before = admit(gate, nowMs);
      nowMs += 120_000;
      before[Symbol.dispose]();
    }
    const coming: Disposable[] = [];
    const ask = () => {
      const admission = gate.tryAdmit(turn(), nowMs);
      if (admission.admitted) coming.push(lane.announce());
      return admission.admitted ? null : admission.shed;
    };
    while (gate.peek(nowMs, turn()) === null) ask();
    /** Time passes, and so many have started in it. */
    const wait = (ms: number) => {
      for (let passed = 0; passed < ms; passed += PRESUMED_START_MS) {
        nowMs += PRESUMED_START_MS;
        for (const each of coming.splice(0, STARTS_AT_ONCE)) each[Symbol.dispose]();
      }
    };
    return { ask, wait, now: () => nowMs };
  }

  it("waits for starts and not for the ends of turns", () => {
    const { ask, wait } = busyLane();
    // It would start half a second later than is worth being admitted for.
    expect(ask()).toMatchObject({ reason: "start", retryAfterSeconds: 1 });
    wait(1_000);
    expect(ask()).toBeNull();
  });

  it("admits four of five at the time they were told, and tells nobody twice as much as needed", () => {
    const { ask, wait, now } = busyLane();
    const beganAtMs = now();
    const told = Array.from({ length: 200 }, () => ask()?.retryAfterSeconds ?? 0);
    // Four a second: the last of them starts in 50 s, were it not for those before.
    expect(told).toEqual(told.toSorted((a, b) => a - b));
    told.forEach((seconds, place) => expect(seconds).toBeLessThanOrEqual(2 * ((place + 4) / 4)));
    let admitted = 0;
    for (const seconds of told) {
      wait(beganAtMs + 1000 * seconds - now());
      if (ask() === null) admitted += 1;
    }
    expect(admitted / told.length).toBeGreaterThanOrEqual(0.8);
  });

  it("waits for memory as well where that is lacking", () => {
    const lane = new StartLane({ cpus: 1, maxWaitMs: 0 });
    const gate = new TurnGate({ ...DEFAULTS, lane });
    for (let count = 0; count < 3; count += 1) admit(gate);
    using _coming = lane.announce();
    expect(refuse(gate)).toMatchObject({ reason: "start", retryAfterSeconds: 15 });
  });
});

describe("TurnGate, when to come back to sessions that rest", () => {
  /** Two sessions, of which one leaves in 20 s and one in 40 s; turns took a second. */
  function resting() {
    let nowMs = 0;
    const gate = new TurnGate({ ...DEFAULTS, now: () => nowMs });
    const permits = [admit(gate, 0, 700), admit(gate, 0, 700)];
    nowMs = 1_000;
    permits.forEach((permit, at) => permit.rest(20_000 * (at + 1)));
    return { gate, permits, nowMs };
  }

  it("waits until as many leave as have what the turn lacks, and says so", () => {
    const { gate, nowMs } = resting();
    const [first, second] = [refuse(gate, nowMs, 900), refuse(gate, nowMs, 1600)];
    expect(first).toMatchObject({ reason: "memory", retryAfterSeconds: 21 });
    expect(first.text).toContain("sessions at rest, which keep their memory: 2");
    expect(first.text).toContain("enough of them leave in 20 s, if they have no turn before");
    expect(second).toMatchObject({ retryAfterSeconds: 41 });
  });

  it("waits for those in a turn first, and says nothing of others while these are enough", () => {
    const { gate, permits, nowMs } = resting();
    permits[1]?.[Symbol.dispose]();
    admit(gate, nowMs, 700);
    const [first, second] = [refuse(gate, nowMs, 800), refuse(gate, nowMs, 1200)];
    expect(first).toMatchObject({ reason: "memory", retryAfterSeconds: 1 });
    expect(first.text).not.toContain("rest");
    expect(second).toMatchObject({ reason: "memory", retryAfterSeconds: 21 });
    expect(second.text).toContain("leave in 20 s");
  });
});

describe("TurnGate, how long turns take", () => {
  it("is not learned from one that was admitted and never had a process", () => {
    let nowMs = 0;
    const gate = new TurnGate({ ...DEFAULTS, maxTurns: 1, now: () => nowMs });
    const last = (ms: number) => {
      const admission = gate.tryAdmit(turn(), nowMs);
      if (!admission.admitted) throw new Error(admission.shed.text);
      nowMs += ms;
      return admission.permit;
    };
    for (let count = 0; count < 8; count += 1) {
      const permit = last(60_000);
      permit.holder = NOT_MEASURED;
      permit[Symbol.dispose]();
    }
    // A store that is away refuses them as they begin.
    for (let count = 0; count < 256; count += 1) last(5)[Symbol.dispose]();
    admit(gate, nowMs);
    expect(refuse(gate, nowMs).retryAfterSeconds).toBe(60);
  });
});

describe("TurnGate, priority", () => {
  it("keeps the priority reserve for those who have priority", () => {
    const gate = new TurnGate({ ...DEFAULTS, priorityReserveBytes: 500 * MiB });
    admit(gate);
    admit(gate);
    expect(refuse(gate).reason).toBe("memory");
    expect(gate.tryAdmit({ ...turn(), isPriority: true }, 0).admitted).toBe(true);
  });

  it("tells the others of the reserve, and to come when that is free as well", () => {
    let nowMs = 0;
    const weights = weightsOf(4400);
    const priorityReserveBytes = 2000 * MiB;
    const gate = new TurnGate({ ...DEFAULTS, weights, priorityReserveBytes, now: () => nowMs });
    const before = admit(gate);
    nowMs = 80_000;
    before[Symbol.dispose]();
    const running: { readonly permit: Permit; readonly endsAtMs: number }[] = [];
    for (; running.length < 8; nowMs += 10_000) {
      const admission = gate.tryAdmit({ ...turn(), isPriority: true }, nowMs);
      if (!admission.admitted) throw new Error("Expected a permit");
      admission.permit.holder = NOT_MEASURED;
      running.push({ permit: admission.permit, endsAtMs: nowMs + 80_000 });
    }
    nowMs -= 10_000;
    // The first one ends in 10 s; five have to, for the turn and for the reserve.
    const shed = refuse(gate, nowMs);
    expect(shed).toMatchObject({ reason: "memory", retryAfterSeconds: 50 });
    expect(shed.text).toContain("4,400 of 4,400 MiB committed, 2,000 MiB more are kept");
    nowMs += 1000 * shed.retryAfterSeconds;
    for (const { permit, endsAtMs } of running) if (endsAtMs <= nowMs) permit[Symbol.dispose]();
    admit(gate, nowMs);
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
    expect(gate.shedEarly(ANN, 0)).toBeNull();
    expect(gate.snapshot(0)).toMatchObject({ inflight: 0, lastDecision: null });
    admit(gate);
    expect(gate.shedEarly(ANN, 0)?.reason).toBe("max_turns");
    expect(gate.snapshot(0).shed.max_turns).toBe(1);
  });

  it("promises later times to those who are refused later", () => {
    const gate = new TurnGate(DEFAULTS);
    for (let count = 0; count < 3; count += 1) admit(gate);
    const waits = Array.from({ length: 300 }, () => gate.shedEarly(ANN, 0)?.retryAfterSeconds ?? 0);
    expect(waits).toEqual(waits.toSorted((a, b) => a - b));
    expect(waits[0]).toBeLessThan(waits[9] ?? 0);
    expect(waits.at(-1)).toBeLessThanOrEqual(600);
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
        const weights = weightsOf(limitMiB);
        const gate = new TurnGate({ ...DEFAULTS, weights, maxTurns, now: () => nowMs });
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
            const early = gate.shedEarly(ANN, nowMs);
            expect(early).toEqual(told);
            if (early !== null) asked += 1;
          } else {
            asked += 1;
            const told = gate.peek(nowMs, turn(next.mib + 1));
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
              expect(admission.shed.retryAfterSeconds).toBeLessThanOrEqual(600);
            }
          }
          const seen = gate.snapshot(nowMs);
          const held = [...live].reduce((total, permit) => total + permit.bytes, 400 * MiB);
          expect(seen.inflight).toBe(live.size);
          expect(seen.committedBytes).toBe(held);
          expect(seen.headroomBytes).toBe(Math.max(0, limitMiB * MiB - held));
          const shedCount = Object.values(seen.shed).reduce((sum, count) => sum + count, 0);
          expect(seen.admitted + shedCount).toBe(asked);
        }

        for (const permit of given) permit[Symbol.dispose]();
        expect(gate.snapshot(nowMs)).toMatchObject({ inflight: 0, committedBytes: 400 * MiB });
      }),
      { numRuns: 2000 },
    );
  });
});
