import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StartLane, type StartSlot } from "../../src/capacity/start-lane.ts";

const NEVER = new AbortController().signal;

function lane(cpus = 2, maxWaitMs = 10_000): StartLane {
  return new StartLane({ cpus, maxWaitMs });
}

describe("StartLane", () => {
  it.each([
    [0.25, 1],
    [1, 1],
    [2, 2],
    [3.6, 4],
  ])("starts on %d CPUs %d at a time", (cpus, slots) => {
    expect(lane(cpus).slots).toBe(slots);
  });

  it("serves those who wait in the order in which they came", async () => {
    const starts = lane(1);
    const first = await starts.enter(NEVER);
    const served: number[] = [];
    const others = [1, 2, 3].map(async (number) => {
      using _slot = await starts.enter(NEVER);
      served.push(number);
    });
    expect(starts.waiting).toBe(3);
    first[Symbol.dispose]();
    await Promise.all(others);
    expect(served).toEqual([1, 2, 3]);
    expect([starts.starting, starts.waiting]).toEqual([0, 0]);
  });

  it("gives the place of one that gives up to the next", async () => {
    const starts = lane(1);
    const first = await starts.enter(NEVER);
    const leaving = new AbortController();
    const left = starts.enter(leaving.signal);
    const next = starts.enter(NEVER);
    leaving.abort("client_gone");
    await expect(left).rejects.toBe("client_gone");
    first[Symbol.dispose]();
    (await next)[Symbol.dispose]();
    expect([starts.starting, starts.waiting]).toEqual([0, 0]);
  });

  it("has an idle slot only while none is taken by the last and nobody waits", async () => {
    const starts = lane(1);
    const first = starts.tryEnter();
    expect(first).not.toBeNull();
    expect([starts.tryEnter(), starts.hasIdleSlot, starts.starting]).toEqual([null, false, 1]);
    const waiting = starts.enter(NEVER);
    first?.[Symbol.dispose]();
    expect(starts.tryEnter()).toBeNull();
    (await waiting)[Symbol.dispose]();
    expect(starts.hasIdleSlot).toBe(true);
  });

  it("has turns start beside a start that nobody waits for, as if that were not there", async () => {
    const starts = lane(1, 0);
    using ahead = starts.tryEnter();
    expect(ahead).not.toBeNull();
    expect(starts.expectedWaitMs()).toBe(0);
    const turn = await starts.enter(NEVER);
    expect([starts.starting, starts.expectedWaitMs() > 0]).toEqual([2, true]);
    const next = starts.enter(NEVER);
    ahead?.[Symbol.dispose]();
    expect([starts.starting, starts.waiting]).toEqual([1, 1]);
    turn[Symbol.dispose]();
    (await next)[Symbol.dispose]();
    expect([starts.starting, starts.waiting, starts.hasIdleSlot]).toEqual([0, 0, true]);
  });

  it("lets nobody in who has left before", async () => {
    const starts = lane();
    await expect(starts.enter(AbortSignal.abort("gone"))).rejects.toBe("gone");
    expect(starts.starting).toBe(0);
  });

  it("expects no wait while a slot is free, and one start for each round of waiting", async () => {
    const starts = lane(2);
    expect(starts.expectedWaitMs()).toBe(0);
    await starts.enter(NEVER);
    expect(starts.expectedWaitMs()).toBe(0);
    await starts.enter(NEVER);
    expect(starts.expectedWaitMs()).toBe(starts.meanStartMs);
    void starts.enter(NEVER);
    expect(starts.expectedWaitMs()).toBe(starts.meanStartMs);
    void starts.enter(NEVER);
    expect(starts.expectedWaitMs()).toBe(2 * starts.meanStartMs);
  });

  it("expects those who were admitted and have not come yet, until they come or will not", async () => {
    const starts = lane(2);
    const announced = [1, 2, 3].map(() => starts.announce());
    expect(starts.expectedWaitMs()).toBe(starts.meanStartMs);
    expect(starts.tryEnter(), "it would be ahead of those").toBeNull();
    announced[0]?.[Symbol.dispose]();
    announced[0]?.[Symbol.dispose]();
    await starts.enter(NEVER);
    expect(starts.expectedWaitMs()).toBe(starts.meanStartMs);
    for (const each of announced) each[Symbol.dispose]();
    expect(starts.expectedWaitMs()).toBe(0);
  });

  it("gives a slot back once, however often it is disposed", async () => {
    const starts = lane(1);
    const slot = await starts.enter(NEVER);
    slot[Symbol.dispose]();
    await starts.enter(NEVER);
    slot[Symbol.dispose]();
    expect(starts.starting).toBe(1);
  });

  it("never has more starting than slots, and loses nobody, whatever they do", async () => {
    const step = fc.constantFrom("enter", "enter", "finish", "give_up");
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 3 }), fc.array(step), async (cpus, steps) => {
        const starts = lane(cpus);
        const held: StartSlot[] = [];
        const waiting: AbortController[] = [];
        for (const each of steps) {
          if (each === "enter") {
            const controller = new AbortController();
            waiting.push(controller);
            const enter = async () => {
              held.push(await starts.enter(controller.signal));
              waiting.splice(waiting.indexOf(controller), 1);
            };
            enter().catch(() => undefined);
          } else if (each === "finish") held.shift()?.[Symbol.dispose]();
          else waiting.pop()?.abort();
          await Promise.resolve();
          await Promise.resolve();
          expect(starts.starting).toBeLessThanOrEqual(starts.slots);
          // Nobody waits while a slot is free.
          expect(starts.waiting === 0 || starts.starting === starts.slots).toBe(true);
        }
        while (held.length > 0) {
          held.shift()?.[Symbol.dispose]();
          await Promise.resolve();
          await Promise.resolve();
        }
        expect([starts.starting, starts.waiting]).toEqual([0, 0]);
      }),
      { numRuns: 500 },
    );
  });
});
