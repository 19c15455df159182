/**
 * Goal: of the callers who are refused and wait as long as they were told, at least 80 % are
 * admitted then, with turns as they really were: their lengths, what they carried and held.
 * Method: turns that were recorded on a busy machine, in their order, from a place by chance. A full
 * gate refuses a crowd at one moment; nobody else comes; each of the crowd comes back exactly when
 * told, with the same turn. Virtual time.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { TracedTurn } from "../../bench/footprint-replay.ts";
import { FootprintBook } from "../../src/capacity/footprint.ts";
import { TurnGate } from "../../src/capacity/gate.ts";
import type { Permit } from "../../src/capacity/permit.ts";
import { MeasuredWeights, staticWeights, type Weights } from "../../src/capacity/weights.ts";
import { seeded } from "./seeded.ts";

const MIB = 2 ** 20;
const ROUNDS = 50;
const TRACE_FILE = join(import.meta.dirname, "../fixtures/footprint-trace.json");
const { turns: TRACE } = JSON.parse(readFileSync(TRACE_FILE, "utf8")) as {
  readonly turns: readonly TracedTurn[];
};
/** Enough for the lengths and the footprints to be learned. */
const WARM_UP_TURNS = 60;
const SERVER_BYTES = 90 * MIB;
/** As a server takes its process to be at first, measured. */
const START_PEAK_BYTES = 105 * MIB;

interface Running {
  readonly turn: TracedTurn;
  readonly permit: Permit;
  readonly beganAtMs: number;
}

class Replica {
  nowMs = 0;
  readonly running: Running[] = [];
  readonly gate: TurnGate;
  readonly #book = new FootprintBook({ priorBytes: 500 * MIB, versionOf: () => "" });

  constructor(weigh: (replica: Replica) => Weights, random: () => number) {
    this.#book.calibrate(START_PEAK_BYTES);
    this.gate = new TurnGate({
      weights: weigh(this),
      maxTurns: null,
      fairShare: true,
      now: () => this.nowMs,
      random,
    });
  }

  get book(): FootprintBook {
    return this.#book;
  }

  /** Null if it was admitted, or when to come back. */
  arrive(turn: TracedTurn): number | null {
    const { carriedBytes } = turn;
    const party = { callerId: "c", tenant: "t", isPriority: false };
    const demand = { ...party, agentName: "a", carriedBytes };
    const admission = this.gate.tryAdmit(demand, this.nowMs);
    if (!admission.admitted) return this.nowMs + 1000 * admission.shed.retryAfterSeconds;
    const { permit } = admission;
    const running = { turn, permit, beganAtMs: this.nowMs };
    const now = () => heldBytes(running, this.nowMs);
    permit.holder = {
      get currentBytes() {
        return now();
      },
    };
    this.running.push(running);
    return null;
  }

  get nextEndMs(): number {
    return Math.min(...this.running.map(endOf));
  }

  /** Lets time pass, with turns that end on the way. */
  advance(untilMs: number): void {
    for (const ended of this.running.toSorted((a, b) => endOf(a) - endOf(b))) {
      if (endOf(ended) > untilMs) break;
      this.nowMs = Math.max(this.nowMs, endOf(ended));
      this.running.splice(this.running.indexOf(ended), 1);
      ended.permit[Symbol.dispose]();
      this.#book.learn("a", { ...ended.turn, atMs: this.nowMs });
    }
    this.nowMs = untilMs;
  }
}

function endOf({ turn, beganAtMs }: Running): number {
  return beganAtMs + turn.endedAtMs - turn.startedAtMs;
}

/** Most of it after the start of the process, the rest by the end. */
function heldBytes({ turn, beganAtMs }: Running, nowMs: number): number {
  const ageMs = nowMs - beganAtMs;
  const lengthMs = turn.endedAtMs - turn.startedAtMs;
  const startedBytes = Math.min(1, ageMs / 1000) * 0.8 * turn.peakBytes;
  return startedBytes + Math.min(1, ageMs / lengthMs) * 0.2 * turn.peakBytes;
}

const WEIGHTS: Record<string, (limitBytes: number) => (replica: Replica) => Weights> = {
  static: (bytes) => () =>
    staticWeights({
      limit: () => ({ bytes, source: "a replay" }),
      parentReserveBytes: 400 * MIB,
      turnReserveBytes: 500 * MIB,
      safetyReserveBytes: null,
    }),
  measured: (bytes) => (replica) =>
    new MeasuredWeights({
      limit: () => ({ bytes, source: "a replay", kind: "physical", group: null, notes: [] }),
      readUse: () => ({
        bytes: replica.running.reduce(
          (sum, running) => sum + heldBytes(running, replica.nowMs),
          SERVER_BYTES,
        ),
        covers: "group",
        source: "a replay",
      }),
      readParentBytes: () => SERVER_BYTES,
      safetyReserveBytes: () => 144 * MIB,
      footprints: replica.book,
      agentNames: ["a"],
      clock: () => 0,
    }),
};

describe("Retry-After, with recorded turns", () => {
  for (const [name, weights] of Object.entries(WEIGHTS)) {
    for (const limitGib of [1, 2, 4]) {
      for (const crowd of [1, 5, 20]) {
        const { honoured, refused } = replay(weights(limitGib * 1024 * MIB), crowd);
        const percent = ((100 * honoured) / refused).toFixed(1);
        it(`admits ${percent} % of ${refused} refused, ${crowd} at a time, by ${name} weights on ${limitGib} GiB`, () => {
          expect(refused).toBeGreaterThan(ROUNDS * crowd * 0.7);
          expect(honoured / refused).toBeGreaterThanOrEqual(0.8);
        });
      }
    }
  }
});

/** Refuses the crowd again and again, and counts who is admitted at the first return. */
function replay(weigh: (replica: Replica) => Weights, crowd: number) {
  const random = seeded(crowd);
  let [honoured, refused] = [0, 0];
  for (let round = 0; round < ROUNDS; round += 1) {
    let place = Math.floor(random() * TRACE.length);
    const next = (): TracedTurn => {
      place = (place + 1) % TRACE.length;
      const turn = TRACE[place];
      if (turn === undefined) throw new Error("The trace is empty");
      return turn;
    };
    const replica = new Replica(weigh, random);
    fill(replica, next);
    const returns: { readonly turn: TracedTurn; readonly atMs: number }[] = [];
    // Whoever finds a place that was left is no one refused.
    for (let asked = 0; returns.length < crowd && asked < crowd + 5; asked += 1) {
      const turn = next();
      const atMs = replica.arrive(turn);
      if (atMs !== null) returns.push({ turn, atMs });
    }
    refused += returns.length;
    for (const { turn, atMs } of returns.toSorted((a, b) => a.atMs - b.atMs)) {
      replica.advance(atMs);
      if (replica.arrive(turn) === null) honoured += 1;
    }
  }
  return { honoured, refused };
}

/** Under way for a while, so that the gate knows its turns and their ages are real. */
function fill(replica: Replica, next: () => TracedTurn): void {
  for (let begun = 0; begun < WARM_UP_TURNS;) {
    // Asked only when there is room: a caller who is refused and never returns would be expected.
    while (hasRoom(replica) && replica.arrive(next()) === null) begun += 1;
    replica.advance(Math.max(replica.nextEndMs, replica.nowMs + 1));
  }
  while (hasRoom(replica) && replica.arrive(next()) === null);
}

function hasRoom({ gate, nowMs }: Replica): boolean {
  const { inflight, turnsThatFit } = gate.snapshot(nowMs);
  return inflight < turnsThatFit;
}
