import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TurnGate } from "../../src/capacity/gate.ts";
import type { Permit } from "../../src/capacity/permit.ts";
import { staticWeights } from "../../src/capacity/weights.ts";

const MiB = 2 ** 20;
const ROUNDS = 300;

/** What sets how many turns there can be. */
type Bound = "memory" | "maxTurns";

/** A replica of so many turns, and callers who ask it. */
function replica(turns: number, options: { fairShare?: boolean; bound?: Bound } = {}) {
  const { fairShare = true, bound = "memory" } = options;
  let nowMs = 0;
  const isMemory = bound === "memory";
  const gate = new TurnGate({
    weights: staticWeights({
      limit: () => ({ bytes: (400 + 500 * (isMemory ? turns : 1000)) * MiB, source: "a test" }),
      parentReserveBytes: 400 * MiB,
      turnReserveBytes: 500 * MiB,
      safetyReserveBytes: null,
    }),
    maxTurns: isMemory ? null : turns,
    fairShare,
    now: () => nowMs,
    random: () => 0,
  });
  const held: Permit[] = [];
  const ask = (tenant: string, callerId = "key") => {
    const party = { tenant, callerId, isPriority: false };
    const admission = gate.tryAdmit({ ...party, agentName: "desk", carriedBytes: 0 }, nowMs);
    if (!admission.admitted) return admission.shed.reason;
    held.push(admission.permit);
    return "admitted";
  };
  /** Why it would be refused now; null if it would not. */
  const look = (tenant: string) => {
    const party = { tenant, callerId: "key", isPriority: false };
    return gate.peek(nowMs, { ...party, agentName: "desk", carriedBytes: 0 })?.reason ?? null;
  };
  const end = (tenant: string) => {
    const at = held.findIndex(({ demand }) => demand.tenant === tenant);
    held.splice(at, 1)[0]?.[Symbol.dispose]();
  };
  const count = (tenant: string) => held.filter(({ demand }) => demand.tenant === tenant).length;
  return { gate, ask, look, end, count, held, wait: (ms: number) => (nowMs += ms) };
}

describe("fair share", () => {
  it("lets one tenant use everything while no one else asks", () => {
    const { ask } = replica(4);
    expect([ask("a"), ask("a"), ask("a"), ask("a"), ask("a")]).toEqual([
      ...Array<string>(4).fill("admitted"),
      "memory",
    ]);
  });

  it("keeps what comes free for one who was shed and holds less", () => {
    const { ask, end } = replica(4);
    for (let turn = 0; turn < 4; turn += 1) ask("a");
    expect(ask("b")).toBe("memory");
    end("a");
    expect(ask("a")).toBe("share");
    expect(ask("b")).toBe("admitted");
    // Nobody is expected any more; what comes free is anyone's.
    end("a");
    expect(ask("a")).toBe("admitted");
  });

  it("gives way only as far as others are expected", () => {
    const { ask, end } = replica(4);
    for (let turn = 0; turn < 4; turn += 1) ask("a");
    ask("b");
    end("a");
    end("a");
    // One is kept for b, the other is a's own again.
    expect(ask("a")).toBe("admitted");
    expect(ask("a")).toBe("share");
    expect(ask("b")).toBe("admitted");
  });

  it("forgets those who do not come", () => {
    const { ask, end, wait } = replica(2);
    ask("a");
    ask("a");
    ask("b");
    end("a");
    expect(ask("a")).toBe("share");
    wait(130_000);
    expect(ask("a")).toBe("admitted");
  });

  it("shares the part of a tenant among its callers", () => {
    const { ask, held } = replica(3);
    for (let turn = 0; turn < 3; turn += 1) ask("a", "greedy");
    expect(ask("a", "modest")).toBe("memory");
    held.shift()?.[Symbol.dispose]();
    expect(ask("a", "greedy")).toBe("share");
    expect(ask("a", "modest")).toBe("admitted");
  });

  it("holds where the number of turns is what binds", () => {
    const { ask, end } = replica(2, { bound: "maxTurns" });
    expect([ask("a"), ask("a"), ask("b")]).toEqual(["admitted", "admitted", "max_turns"]);
    end("a");
    expect([ask("a"), ask("b")]).toEqual(["share", "admitted"]);
    // Each has its half. Of what comes free a has none to give, and b nobody to wait for.
    end("a");
    expect([ask("a"), ask("b")]).toEqual(["admitted", "max_turns"]);
  });

  it("holds among the callers of one tenant where the number of turns is what binds", () => {
    const { ask, held } = replica(2, { bound: "maxTurns" });
    expect([ask("a", "greedy"), ask("a", "greedy")]).toEqual(["admitted", "admitted"]);
    expect(ask("a", "modest")).toBe("max_turns");
    held.shift()?.[Symbol.dispose]();
    expect([ask("a", "greedy"), ask("a", "modest")]).toEqual(["share", "admitted"]);
  });

  it("holds below the ceiling that is left after memory ran short", () => {
    const { gate, ask, end, wait } = replica(20);
    for (let turn = 0; turn < 3; turn += 1) ask("a");
    gate.ranShort(0);
    wait(6_000);
    expect(ask("b")).toBe("pressure");
    end("a");
    end("a");
    // Two may run at once for now.
    expect([ask("a"), ask("b")]).toEqual(["share", "admitted"]);
  });

  it("does nothing where it is off", () => {
    const { ask, end } = replica(2, { fairShare: false });
    ask("a");
    ask("a");
    ask("b");
    end("a");
    expect(ask("a")).toBe("admitted");
  });

  /**
   * Goal: whoever keeps asking gets about an equal part, however greedy another is.
   * Method: a greedy tenant asks ten times as often as the others; turns end at random; over a long
   * run each has at least 0.7 of an equal part of the turns, and the replica stays full.
   */
  it.each<Bound>(["memory", "maxTurns"])(
    "gives everyone who keeps asking a part of %s, and leaves nothing unused",
    (bound) => {
      fc.assert(
        fc.property(fc.integer({ min: 2, max: 4 }), fc.integer(), (tenants, seed) => {
          const { ask, end, count, held, wait } = replica(8, { bound });
          const random = generator(seed);
          const names = Array.from({ length: tenants }, (_, at) => `t${at}`);
          const sums = names.map(() => 0);
          let used = 0;
          for (let round = 0; round < ROUNDS; round += 1) {
            wait(250);
            for (const name of names) {
              const times = name === "t0" ? 10 : 1;
              for (let time = 0; time < times; time += 1) ask(name);
            }
            names.forEach((name, at) => (sums[at] = (sums[at] ?? 0) + count(name)));
            used += held.length;
            const ending = held[Math.floor(random() * held.length)];
            if (ending !== undefined) end(ending.demand.tenant);
          }
          expect(used / ROUNDS).toBeGreaterThan(7);
          for (const sum of sums) expect(sum / ROUNDS).toBeGreaterThan((0.7 * 8) / tenants);
        }),
        { numRuns: 15 },
      );
    },
  );

  /**
   * Goal: what is kept for others never keeps all of them out: where there is room for a turn, one
   * of those who want it gets it, also where there are more of them than places.
   * Method: tenants ask and end turns at random; after each step that leaves a place free and a turn
   * in flight, everyone is looked at.
   */
  it.each<Bound>(["memory", "maxTurns"])("never keeps everyone from a free part of %s", (bound) => {
    const step = fc.record({ asks: fc.boolean(), at: fc.nat(9), waitMs: fc.nat(3_000) });
    const world = fc.record({
      places: fc.integer({ min: 2, max: 4 }),
      tenants: fc.integer({ min: 2, max: 6 }),
      steps: fc.array(step, { maxLength: 60 }),
    });
    fc.assert(
      fc.property(world, ({ places, tenants, steps }) => {
        const { ask, end, held, look, wait } = replica(places, { bound });
        const names = Array.from({ length: tenants }, (_, at) => `t${at}`);
        for (const { asks, at, waitMs } of steps) {
          wait(waitMs);
          const ending = held[at % Math.max(1, held.length)];
          if (asks) ask(`t${at % tenants}`);
          else if (ending !== undefined) end(ending.demand.tenant);
          if (held.length === places) continue;
          expect(names.map((name) => look(name))).toContain(null);
        }
      }),
      { numRuns: 300 },
    );
  });
});

/** A small generator of numbers in [0, 1), the same for the same seed. */
function generator(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    return (state >>> 0) / 2 ** 32;
  };
}

/**
 * Goal: memory that is reserved for priority is nobody's share. Counted as one, it makes shares of
 *   which a part is never there, and whoever holds too much goes on to.
 * Method: twelve clients of one tenant and one of another, each of whom sends its next turn as its
 *   last one ends, or when told. Fifteen minutes of virtual time.
 */
describe("fair share, beside what is reserved for priority", () => {
  interface Client {
    readonly tenant: string;
    nextAtMs: number;
    permit: Permit | null;
  }
  const TURN_MS = 16_000;

  /** How many turns each tenant had. */
  function play(reserveMiB: number) {
    let nowMs = 0;
    const gate = new TurnGate({
      weights: staticWeights({
        limit: () => ({ bytes: (400 + 8 * 500 + reserveMiB) * MiB, source: "a test" }),
        parentReserveBytes: 400 * MiB,
        turnReserveBytes: 500 * MiB,
        safetyReserveBytes: null,
      }),
      maxTurns: null,
      fairShare: true,
      priorityReserveBytes: reserveMiB * MiB,
      now: () => nowMs,
      random: () => 0,
    });
    const ran: Record<string, number> = { a: 0, b: 0 };
    const step = (client: Client) => {
      if (client.nextAtMs > nowMs) return;
      client.permit?.[Symbol.dispose]();
      client.permit = null;
      const { tenant } = client;
      const party = { tenant, callerId: tenant, isPriority: false };
      const admission = gate.tryAdmit({ ...party, agentName: "desk", carriedBytes: 0 }, nowMs);
      if (admission.admitted) {
        client.permit = admission.permit;
        client.nextAtMs = nowMs + TURN_MS;
        ran[tenant] = (ran[tenant] ?? 0) + 1;
      } else client.nextAtMs = nowMs + 1000 * admission.shed.retryAfterSeconds;
    };
    const clients: Client[] = Array.from({ length: 12 }, (_, at) => {
      return { tenant: "a", nextAtMs: at * 2000, permit: null };
    });
    clients.push({ tenant: "b", nextAtMs: 30_000, permit: null });
    for (; nowMs < 900_000; nowMs += 100) clients.forEach(step);
    return ran;
  }

  it.each([0, 1000, 2000, 4000])("lets nobody starve beside %d MiB of it", (reserveMiB) => {
    const { a = 0, b = 0 } = play(reserveMiB);
    expect(b).toBeGreaterThanOrEqual(40);
    // All eight places are used: 8 turns in 16 s.
    expect(a + b).toBeGreaterThan(0.9 * (900 / 2));
  });
});

describe("fair share and processes that are there", () => {
  const party = (tenant: string) => ({ tenant, callerId: "key", isPriority: false });
  const demand = (tenant: string) => ({ ...party(tenant), agentName: "desk", carriedBytes: 0 });

  function measuredGate(turns: number, predictedMiB = () => 125) {
    const weights = staticWeights({
      limit: () => ({ bytes: (400 + 125 * turns) * MiB, source: "a test" }),
      parentReserveBytes: 400 * MiB,
      turnReserveBytes: 125 * MiB,
      safetyReserveBytes: null,
    });
    return new TurnGate({
      weights: {
        ...weights,
        predictBytes: () => predictedMiB() * MiB,
        expectedBytes: () => predictedMiB() * MiB,
        heldBytes: ({ holder }) => holder?.currentBytes ?? 0,
        usedBytes: ({ turnsBytes, cacheBytes }) => 400 * MiB + turnsBytes + cacheBytes,
      },
      maxTurns: null,
      fairShare: true,
      now: () => 0,
      random: () => 0,
    });
  }

  function take(gate: TurnGate, tenant: string): Permit {
    const admission = gate.tryAdmit(demand(tenant), 0);
    if (!admission.admitted) throw new Error(admission.shed.text);
    return admission.permit;
  }

  it("let a session at rest go on: it has its memory, whether or not it has a turn", () => {
    const gate = measuredGate(4);
    const resting = Array.from({ length: 4 }, () => take(gate, "a"));
    for (const permit of resting) {
      permit.holder = { currentBytes: 122 * MiB };
      permit.rest();
    }
    expect(gate.tryAdmit(demand("b"), 0)).toMatchObject({ shed: { reason: "memory" } });
    const [first] = resting;
    if (first === undefined) throw new Error("Expected a session");
    expect(gate.peek(0, { ...demand("a"), resting: first })).toBeNull();
    // A new session of the same tenant is another matter.
    first[Symbol.dispose]();
    expect(gate.peek(0, demand("a"))?.reason).toBe("share");
    expect(gate.peek(0, demand("b"))).toBeNull();
  });

  it("count the process that lingered for the turn as room that others could have had", () => {
    const gate = measuredGate(5);
    const turns = Array.from({ length: 5 }, () => take(gate, "a"));
    expect(gate.tryAdmit(demand("b"), 0)).toMatchObject({ shed: { reason: "memory" } });
    const process = { currentBytes: 105 * MiB };
    turns.pop()?.[Symbol.dispose]();
    expect(gate.peek(0, { ...demand("a"), process })?.reason).toBe("share");
    // With one turn's room for each of them, the process is a part of a's.
    turns.pop()?.[Symbol.dispose]();
    expect(gate.peek(0, { ...demand("a"), process })).toBeNull();
  });

  it("weigh what is held by what is known now, and not as it was predicted once", () => {
    let predicted = 266;
    const gate = measuredGate(8, () => predicted);
    for (let turn = 0; turn < 3; turn += 1) take(gate, "a");
    predicted = 300;
    expect(gate.tryAdmit(demand("b"), 0)).toMatchObject({ shed: { reason: "memory" } });
    predicted = 125;
    // 1,000 MiB for two: three turns of 125, and one more, are within a's half of it.
    expect(gate.peek(0, demand("a"))).toBeNull();
  });
});
