/**
 * Goal: a turn whose process has to be another one is promised the memory of that one, whole.
 * Method: the real gate and books, with processes that are none and end when the test says.
 */

import { describe, expect, it } from "vitest";
import { TurnGate } from "../../src/capacity/gate.ts";
import { staticWeights, type Weights } from "../../src/capacity/weights.ts";
import { monotonicMs } from "../../src/lib/monotonic-clock.ts";
import type { SessionRef } from "../../src/session/session-id.ts";
import { KeptProcesses, type TakenProcess } from "../../src/turn/kept-processes.ts";
import { OwnedProcess } from "../../src/turn/owned-process.ts";
import type { TurnProcess } from "../../src/turn/turn-process.ts";
import type { TurnSession } from "../../src/turn/turn-session.ts";

const MiB = 2 ** 20;
const SESSION: SessionRef = { tenant: "acme", sessionId: "one" };
const TURN = {
  callerId: "ann",
  tenant: "acme",
  isPriority: false,
  agentName: "desk",
  carriedBytes: 0,
};
const NEVER = new AbortController().signal;

/** Turns are predicted 130 MiB; the server and all its processes are what is used. */
function openReplica(usedBytes: () => number) {
  const weights: Weights = {
    ...staticWeights({
      limit: () => ({ bytes: 2048 * MiB, source: "a test" }),
      parentReserveBytes: 0,
      turnReserveBytes: 130 * MiB,
      safetyReserveBytes: 0,
    }),
    usedBytes,
    heldBytes: ({ holder }) => holder?.currentBytes ?? 0,
  };
  const gate = new TurnGate({ weights, maxTurns: null, now: () => 0 });
  const kept = new KeptProcesses({
    dataDirectory: "/nowhere",
    maxResidents: 8,
    startTimeoutMs: 1_000,
    wanted: new Map(),
    start: () => Promise.reject(new Error("none is wanted")),
    tryEnter: () => null,
    onEnded: () => {},
    onFailed: () => {},
  });
  gate.useCache(kept);
  return { gate, kept };
}

/** A process of 120 MiB that goes when the test says. */
function processOf120() {
  let currentBytes = 120 * MiB;
  let tellGone = (): void => {};
  const ended = new Promise<void>((resolve) => (tellGone = resolve));
  const connection = { process: undefined, isAlive: true };
  const process = {
    agentName: "desk",
    spareDirectories: null,
    connection,
    get currentBytes() {
      return currentBytes;
    },
    end: () => ended,
  } as unknown as TurnProcess;
  const go = (): void => {
    currentBytes = 0;
    tellGone();
  };
  return { process, go };
}

function residentOf(process: TurnProcess): TakenProcess {
  const leavesAtMs = monotonicMs() + 60_000;
  return {
    process,
    resident: { ref: SESSION, process, permit: null, leavesAtMs, warming: null },
  };
}

describe("OwnedProcess, of a process that cannot have the turn", () => {
  it.each([
    [
      "a resident that missed a turn",
      residentOf,
      (owned: OwnedProcess) => owned.settle(SESSION, NEVER, true),
    ],
    [
      "a spare that could not be claimed",
      (process: TurnProcess): TakenProcess => ({ process, resident: null }),
      (owned: OwnedProcess) => {
        const make = async () => processOf120().process;
        return owned.open({} as TurnSession, NEVER, make, () => {});
      },
    ],
  ])("promises the turn its new one: %s", async (_what, take, giveUp) => {
    const { process, go } = processOf120();
    let isThere = true;
    const { gate, kept } = openReplica(() => (isThere ? 120 * MiB : 0));
    const taken = take(process);
    const admission = gate.tryAdmit({ ...TURN, process }, 0);
    if (!admission.admitted) throw new Error("Expected a permit");
    const { permit } = admission;
    const sums = () => {
      const { usedBytes, promisedBytes } = gate.snapshot(0);
      return { usedMiB: usedBytes / MiB, promisedMiB: promisedBytes / MiB };
    };
    expect(sums()).toEqual({ usedMiB: 120, promisedMiB: 10 });
    const owned = new OwnedProcess(taken, kept, permit);
    const givenUp = giveUp(owned);
    await new Promise(setImmediate);
    // On its way out, and counted as if it were gone: its turn will have another.
    expect(sums()).toEqual({ usedMiB: 0, promisedMiB: 130 });
    isThere = false;
    go();
    await givenUp;
    expect(sums()).toEqual({ usedMiB: 0, promisedMiB: 130 });
  });
});
