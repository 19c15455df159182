/**
 * Goal: whoever reads a turn, from wherever, gets each event once, in order and without a gap, or
 * learns that one has expired; and what is held stays within its limits.
 */

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { AppError } from "../../src/lib/errors.ts";
import { Journal, type JournalEntry, type JournalReader } from "../../src/turn/journal.ts";
import type { TurnEvent } from "../../src/turn/turn.ts";
import { encodeAgui } from "../../src/protocol/agui-encode.ts";
import {
  collect,
  completed,
  reasoning,
  STARTED,
  text,
  toolCall,
  toolResult,
} from "../protocol/turns.ts";

const MIB = 2 ** 20;
const never = new AbortController().signal;

function open(limitBytes = MIB, outlivesReaders = false): Journal {
  return new Journal({ limitBytes, outlivesReaders });
}

function delta(messageId: string, length: number): TurnEvent {
  return { type: "text_delta", messageId, delta: "x".repeat(length) };
}

async function eventsOf(reader: JournalReader): Promise<TurnEvent[]> {
  return (await collect(reader.entries())).map(({ event }) => event);
}

function codeOf(thrown: unknown): string {
  return thrown instanceof AppError ? thrown.code : String(thrown);
}

describe("Journal", () => {
  it("gives its events to any number of readers, numbered from 1, and then ends", async () => {
    const journal = open();
    const early = journal.follow(0, never);
    const events = [...text("m1", "a", "b"), ...toolCall("t1", "m1", "{}"), completed("ab")];
    for (const event of events) expect(journal.push(event)).toBe(true);
    const middle = journal.follow(3, never);
    journal.close();
    const late = journal.follow(0, never);
    const all = events.map((event, index) => ({ id: index + 1, event }));
    expect(await collect(early.entries())).toEqual(all);
    expect(await collect(middle.entries())).toEqual(all.slice(3));
    expect(await collect(late.entries())).toEqual(all);
    expect(await collect(journal.follow(events.length, never).entries())).toEqual([]);
    expect(journal.readers).toBe(0);
  });

  it("wakes readers that wait", async () => {
    const journal = open();
    const readers = [0, 0].map((after) => journal.follow(after, never).entries());
    const first = readers.map((reader) => reader.next());
    journal.push(delta("m1", 1));
    const entry = { done: false, value: { id: 1, event: delta("m1", 1) } };
    expect(await Promise.all(first)).toEqual([entry, entry]);
    const end = readers.map((reader) => reader.next());
    journal.close();
    const over = { done: true, value: undefined };
    expect(await Promise.all(end)).toEqual([over, over]);
  });

  it("lets a reader go that waits or reads when its signal aborts", async () => {
    const waiting = new AbortController();
    const journal = open();
    const end = journal.follow(0, waiting.signal).entries().next();
    waiting.abort();
    expect(await end).toEqual({ done: true, value: undefined });

    const reading = new AbortController();
    for (let n = 0; n < 3; n++) journal.push(delta("m1", n));
    const reader = journal.follow(0, reading.signal).entries();
    await reader.next();
    reading.abort();
    expect((await reader.next()).done).toBe(true);
    expect(journal.readers).toBe(0);
  });

  it("refuses places that it never gave out, and those that it has let go", () => {
    const journal = open(10_000);
    for (let n = 0; n < 10; n++) journal.push(delta("m1", 1_000));
    expect(journal.firstId).toBeGreaterThan(1);
    expect(() => journal.follow(11, never)).toThrow(/has the number 10/);
    expect(() => journal.follow(0, never)).toThrow(/not held/);
    expect(() => journal.follow(journal.firstId - 2, never)).toThrow(/not held/);
    using reader = journal.follow(journal.firstId - 1, never);
    expect(reader).toBeDefined();
    expect(journal.readers).toBe(1);
  });

  it("lets go what its only reader has read, and keeps the rest for it", async () => {
    const journal = open(11_024);
    const reader = journal.follow(0, never).entries();
    expect(journal.push(delta("m1", 3_000))).toBe(true);
    expect(journal.push(delta("m1", 1_000))).toBe(true);
    await reader.next();
    expect(journal.push(delta("m1", 3_000))).toBe(true);
    expect(journal.firstId).toBe(2);
    expect(journal.push(delta("m1", 3_000))).toBe(false);
    expect(journal.firstId).toBe(2);
  });

  it("ends for its reader what had begun when it was full, and nothing else", async () => {
    const journal = open(3_024);
    const reader = journal.follow(0, never);
    const begun: TurnEvent[] = [{ type: "text_started", messageId: "m1" }, delta("m1", 500)];
    for (const event of begun) journal.push(event);
    expect(journal.push(delta("m1", 5_000))).toBe(false);
    // Would fit again, but what came before it is missing.
    expect(journal.push(delta("m1", 1))).toBe(false);
    journal.push({ type: "text_ended", messageId: "m1" });
    for (const event of text("m2", "late")) expect(journal.push(event)).toBe(false);
    journal.push(completed(""));
    journal.close();
    const end: TurnEvent = { type: "text_ended", messageId: "m1" };
    expect(await eventsOf(reader)).toEqual([...begun, end, completed("")]);
  });

  it("cuts off the reader that is too slow as long as another one keeps up", async () => {
    const journal = open(10_000);
    const slow = journal.follow(0, never);
    const fast = journal.follow(0, never).entries();
    for (let n = 0; n < 20; n++) {
      expect(journal.push(delta("m1", 1_000))).toBe(true);
      await fast.next();
    }
    await expect(eventsOf(slow)).rejects.toMatchObject({ code: "events_expired" });
    journal.close();
    expect((await fast.next()).done).toBe(true);
  });

  it("cuts off all of them where the turn outlives its readers", async () => {
    const journal = open(10_000, true);
    const slow = journal.follow(0, never);
    for (let n = 0; n < 20; n++) expect(journal.push(delta("m1", 1_000))).toBe(true);
    await expect(eventsOf(slow)).rejects.toMatchObject({ code: "events_expired" });
    expect(journal.bytes).toBeLessThanOrEqual(10_000);
    // One that can never fit is gone as it comes.
    expect(journal.push(delta("m1", 100_000))).toBe(true);
    expect(journal.bytes).toBeLessThanOrEqual(10_000);
    expect(journal.firstId).toBe(22);
  });

  it("tells its readers what broke the turn after the last event", async () => {
    const journal = open();
    const reader = journal.follow(0, never).entries();
    journal.push(delta("m1", 1));
    journal.fail(new Error("a bug"));
    expect((await reader.next()).done).toBe(false);
    await expect(reader.next()).rejects.toThrow("a bug");
  });

  it("leaves an encoder as if it had seen what was let go", async () => {
    const run = { threadId: "t", runId: "r", protocolVersion: "1.0" };
    const turn = [
      STARTED,
      ...reasoning("m1#reasoning", "Hm"),
      ...text("m1", "Let", " me look."),
      ...toolCall("t1", "m1", '{"q":', '"x"}'),
      toolResult("t1", "found"),
      ...text("m2", "It is", " there."),
      completed("It is there."),
    ];
    const stream = async (journal: Journal, after: number, parts: number) => {
      const resume = { before: journal.standInFor(after), parts };
      const entries = journal.follow(after, never).entries();
      return collect(encodeAgui(entries, { turnId: "turn-1", run, report: () => {}, resume }));
    };
    const make = () => {
      const journal = open();
      for (const event of turn) journal.push(event);
      journal.close();
      return journal;
    };
    const whole = await stream(make(), 0, 0);
    // Whoever has read the end has nothing to come back for.
    for (const [index, { id = "" }] of whole.slice(0, -1).entries()) {
      const [, after, parts] = /-(\d+)(?:\.(\d+))?$/.exec(id)?.map(Number) ?? [];
      for (let dropped = 0; dropped <= (after ?? 0); dropped++) {
        const journal = make();
        for (let n = 0; n < dropped; n++) journal.dropOldest();
        const rest = await stream(journal, after ?? 0, parts || 0);
        expect(rest).toEqual(whole.slice(index + 1));
      }
    }
  });
});

type Step =
  | { readonly do: "push"; readonly length: number }
  | { readonly do: "drop" | "attach" | "close" }
  | { readonly do: "read" | "cut" | "return"; readonly who: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("push" as const), length: fc.nat(3_000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("drop" as const, "attach" as const) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom("read" as const, "read" as const, "read" as const, "cut", "return"),
      who: fc.nat(5),
    }),
  },
) as fc.Arbitrary<Step>;

/** A client that comes back after every cut, and keeps what it has read. */
class Client {
  readonly seen: JournalEntry[] = [];
  code: string | null = null;
  readonly #journal: Journal;
  #leave = new AbortController();
  #entries: AsyncGenerator<JournalEntry> | null = null;
  #reader: JournalReader | null = null;

  constructor(journal: Journal) {
    this.#journal = journal;
    this.attach();
  }

  attach(): void {
    if (this.code !== null) return;
    this.#leave = new AbortController();
    try {
      const after = this.seen.at(-1)?.id ?? 0;
      this.#reader = this.#journal.follow(after, this.#leave.signal);
      this.#entries = this.#reader.entries();
    } catch (thrown) {
      this.code = codeOf(thrown);
      this.#entries = null;
    }
  }

  /** Does not wait for what has not come. */
  async read(): Promise<void> {
    const { lastId, isClosed } = this.#journal;
    if (this.#entries === null || ((this.seen.at(-1)?.id ?? 0) >= lastId && !isClosed)) return;
    try {
      const { value } = await this.#entries.next();
      if (value !== undefined) this.seen.push(value as JournalEntry);
    } catch (thrown) {
      this.code = codeOf(thrown);
      this.#entries = null;
    }
  }

  async cut(): Promise<void> {
    this.#leave.abort();
    await this.#entries?.next();
    this.attach();
  }

  async comeBack(): Promise<void> {
    await this.#entries?.return(undefined);
    // One that has not begun to read does not notice.
    this.#reader?.[Symbol.dispose]();
    this.attach();
  }
}

describe("any order of events, readers, cuts and losses", () => {
  it.each([true, false])(
    "gives each event once, in order and without a gap, or says so (outlives readers: %s)",
    async (outlivesReaders) => {
      const limit = 12_000;
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
          const journal = open(limit, outlivesReaders);
          const pushed: TurnEvent[] = [];
          const clients = [new Client(journal)];
          const of = (who: number) => clients[who % clients.length] as Client;
          for (const each of steps) {
            if (each.do === "push") {
              const event = delta("m1", each.length);
              const before = journal.lastId;
              journal.push(event);
              if (journal.lastId > before) pushed.push(event);
            } else if (each.do === "drop") journal.dropOldest();
            else if (each.do === "attach" && clients.length < 5) clients.push(new Client(journal));
            else if (each.do === "read") await of(each.who).read();
            else if (each.do === "cut") await of(each.who).cut();
            else if (each.do === "return") await of(each.who).comeBack();
            expect(journal.bytes).toBeLessThanOrEqual(limit);
            expect(journal.lastId).toBe(pushed.length);
          }
          journal.close();
          for (const client of clients) {
            for (let n = 0; n <= pushed.length && client.code === null; n++) await client.read();
            const first = client.seen[0]?.id ?? 1;
            expect(first).toBe(1);
            expect(client.seen.map(({ id }) => id)).toEqual(client.seen.map((_, n) => n + 1));
            expect(client.seen.map(({ event }) => event)).toEqual(
              pushed.slice(0, client.seen.length),
            );
            if (client.code === null) expect(client.seen).toHaveLength(pushed.length);
            else expect(client.code).toBe("events_expired");
          }
          expect(journal.readers).toBe(0);
        }),
        { numRuns: 300 },
      );
    },
  );
});
