/** Goal: what all journals hold is bounded, and an ended one goes when its time has come. */

import { setTimeout as delay } from "node:timers/promises";

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import type { Journal } from "../../src/turn/journal.ts";
import { Journals } from "../../src/turn/journals.ts";
import type { TurnEvent } from "../../src/turn/turn.ts";
import { collect, completed } from "../protocol/turns.ts";

const never = new AbortController().signal;
const KIB = 1_024;

function delta(length: number): TurnEvent {
  return { type: "text_delta", messageId: "m1", delta: "x".repeat(length) };
}

function ended(journals: Journals, length: number, onGone = () => {}): Journal {
  const journal = journals.open(false);
  journals.push(journal, delta(length));
  journals.push(journal, completed(""));
  journal.close();
  journals.end(journal, onGone);
  return journal;
}

describe("Journals", () => {
  it("holds no more than its limit, however many turns have ended: the oldest go first", () => {
    const totalBytes = 100 * KIB;
    using journals = new Journals({ turnBytes: 50 * KIB, totalBytes, keepMs: 60_000 });
    const gone: number[] = [];
    for (let n = 0; n < 1_000; n++) {
      ended(journals, 2_000, () => gone.push(n));
      expect(journals.bytes).toBeLessThanOrEqual(totalBytes);
    }
    expect(gone).toEqual(gone.map((_, n) => n));
    expect(gone.length).toBeGreaterThan(950);
  });

  it("takes from the running turn that has most when none has ended", () => {
    const journals = new Journals({ turnBytes: 60 * KIB, totalBytes: 80 * KIB, keepMs: 0 });
    const quiet = journals.open(true);
    journals.push(quiet, delta(1_000));
    const loud = journals.open(true);
    for (let n = 0; n < 200; n++) {
      const other = journals.open(true);
      journals.push(loud, delta(2_000));
      journals.drop(other);
      expect(journals.bytes).toBeLessThanOrEqual(80 * KIB);
    }
    expect(quiet.firstId).toBe(1);
    expect(loud.firstId).toBeGreaterThan(100);
  });

  it("forgets an ended turn after its time, and waits for readers in the middle of it", async () => {
    const journals = new Journals({ turnBytes: 50 * KIB, totalBytes: 100 * KIB, keepMs: 30 });
    let gone = 0;
    const journal = ended(journals, 10, () => (gone += 1));
    const reader = journal.follow(0, never).entries();
    await reader.next();
    await delay(80);
    expect(gone).toBe(0);
    expect(await collect(reader)).toHaveLength(1);
    journals.readerLeft(journal);
    expect({ gone, bytes: journals.bytes }).toEqual({ gone: 1, bytes: 0 });
    expect(() => journal.follow(0, never)).toThrow(/not held/);

    ended(journals, 10, () => (gone += 1));
    await delay(80);
    expect({ gone, bytes: journals.bytes }).toEqual({ gone: 2, bytes: 0 });
  });

  it("keeps nothing and no timer when it is disposed", () => {
    const journals = new Journals({ turnBytes: 50 * KIB, totalBytes: 100 * KIB, keepMs: 60_000 });
    let gone = 0;
    for (let n = 0; n < 3; n++) ended(journals, 10, () => (gone += 1));
    journals[Symbol.dispose]();
    expect({ gone, bytes: journals.bytes }).toEqual({ gone: 3, bytes: 0 });
  });

  it("counts what it holds rightly, in any order of things", () => {
    const action = fc.record({
      do: fc.constantFrom("open", "push", "push", "push", "end", "drop"),
      who: fc.nat(20),
      length: fc.nat(5_000),
    });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 100 }), (actions) => {
        const totalBytes = 40 * KIB;
        using journals = new Journals({ turnBytes: 20 * KIB, totalBytes, keepMs: 60_000 });
        const running: Journal[] = [];
        const kept = new Set<Journal>();
        for (const each of actions) {
          const journal = running[each.who % Math.max(1, running.length)];
          if (each.do === "open") running.push(journals.open(each.who % 2 === 0));
          else if (journal === undefined) continue;
          else if (each.do === "push") journals.push(journal, delta(each.length));
          else {
            running.splice(running.indexOf(journal), 1);
            journal.close();
            if (each.do === "drop") journals.drop(journal);
            else {
              kept.add(journal);
              journals.end(journal, () => kept.delete(journal));
            }
          }
          const held = [...running, ...kept].reduce((sum, { bytes }) => sum + bytes, 0);
          expect(journals.bytes).toBe(held);
          expect(held).toBeLessThanOrEqual(Math.max(totalBytes, running.length * KIB));
        }
      }),
    );
  });
});
