import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { EventQueue } from "../../src/turn/event-queue.ts";
import type { TurnEvent } from "../../src/turn/turn.ts";
import { collect, completed, text, toolCall } from "../protocol/turns.ts";

const MIB = 2 ** 20;
const never = new AbortController().signal;

function delta(messageId: string, length: number): TurnEvent {
  return { type: "text_delta", messageId, delta: "x".repeat(length) };
}

describe("EventQueue", () => {
  it("gives its events once, in their order, and then ends", async () => {
    const queue = new EventQueue(MIB);
    const events = [...text("m1", "a", "b"), ...toolCall("t1", "m1", "{}"), completed("ab")];
    for (const event of events) expect(queue.push(event)).toBe(true);
    queue.close();
    expect(await collect(queue.read(never))).toEqual(events);
    expect(await collect(queue.read(never))).toEqual([]);
  });

  it("wakes a reader that waits", async () => {
    const queue = new EventQueue(MIB);
    const reader = queue.read(never);
    const first = reader.next();
    queue.push(delta("m1", 1));
    expect(await first).toEqual({ done: false, value: delta("m1", 1) });
    const end = reader.next();
    queue.close();
    expect(await end).toEqual({ done: true, value: undefined });
  });

  it("lets a reader go that waits or reads when its signal aborts", async () => {
    const waiting = new AbortController();
    const end = new EventQueue(MIB).read(waiting.signal).next();
    waiting.abort();
    expect(await end).toEqual({ done: true, value: undefined });

    const reading = new AbortController();
    const queue = new EventQueue(MIB);
    for (let n = 0; n < 3; n++) queue.push(delta("m1", n));
    const reader = queue.read(reading.signal);
    await reader.next();
    reading.abort();
    expect((await reader.next()).done).toBe(true);
  });

  it("counts what waits until it is read", async () => {
    const queue = new EventQueue(10_000);
    const reader = queue.read(never);
    expect(queue.push(delta("m1", 3_000))).toBe(true);
    expect(queue.push(delta("m1", 1_000))).toBe(true);
    await reader.next();
    // The second was handed over with the first, but nobody has read it yet.
    expect(queue.push(delta("m1", 3_000))).toBe(true);
    expect(queue.push(delta("m1", 3_000))).toBe(false);
  });

  it("ends for its reader what had begun when it was full, and nothing else", async () => {
    const queue = new EventQueue(2_000);
    const begun: TurnEvent[] = [{ type: "text_started", messageId: "m1" }, delta("m1", 500)];
    for (const event of begun) queue.push(event);
    expect(queue.push(delta("m1", 5_000))).toBe(false);
    // Would fit again, but what came before it is missing.
    expect(queue.push(delta("m1", 1))).toBe(false);
    queue.push({ type: "text_ended", messageId: "m1" });
    for (const event of text("m2", "late")) expect(queue.push(event)).toBe(false);
    queue.push(completed(""));
    queue.close();
    const end: TurnEvent = { type: "text_ended", messageId: "m1" };
    expect(await collect(queue.read(never))).toEqual([...begun, end, completed("")]);
  });

  it("never holds more than its limit of a text, whatever is read when", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.option(fc.nat(3_000)), { maxLength: 60 }), async (steps) => {
        const queue = new EventQueue(8_000);
        const reader = queue.read(never);
        const accepted: TurnEvent[] = [];
        const seen: TurnEvent[] = [];
        for (const step of steps) {
          if (step === null) {
            if (seen.length < accepted.length) {
              const { value } = await reader.next();
              if (value !== undefined) seen.push(value);
            }
          } else {
            const event = delta("m1", step);
            if (queue.push(event)) accepted.push(event);
          }
          const held = accepted.slice(seen.length);
          const characters = held.reduce(
            (sum, event) => sum + ("delta" in event ? event.delta.length : 0),
            0,
          );
          expect(2 * characters).toBeLessThanOrEqual(8_000);
        }
        queue.close();
        expect([...seen, ...(await collect(reader))]).toEqual(accepted);
      }),
    );
  });
});
