import { describe, expect, it } from "vitest";
import { TranscriptReads } from "../../src/session/transcript-reads.ts";
import { codeOf } from "./fixture.ts";

const LONG_MS = 60_000;
const NEVER = new AbortController().signal;

/** Those that have begun, by the number with which they asked. */
function ask(reads: TranscriptReads, count: number): Map<number, Disposable> {
  const begun = new Map<number, Disposable>();
  for (let n = 0; n < count; n += 1) {
    void reads.begin("acme", NEVER).then((read) => begun.set(n, read));
  }
  return begun;
}

async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

describe("TranscriptReads", () => {
  it("lets so many begin, and the others in the order in which they asked", async () => {
    const begun = ask(new TranscriptReads({ maxReadsAtOnce: 2, readWaitMs: LONG_MS }), 5);
    await settle();
    expect([...begun.keys()]).toEqual([0, 1]);
    for (let ended = 0; ended < 3; ended += 1) {
      const read = begun.get(ended);
      // Once is enough, and twice does no harm.
      read?.[Symbol.dispose]();
      read?.[Symbol.dispose]();
      await settle();
      expect([...begun.keys()]).toEqual([0, 1, 2, 3, 4].slice(0, ended + 3));
    }
  });

  it("refuses one that has waited too long, which leaves no trace", async () => {
    const reads = new TranscriptReads({ maxReadsAtOnce: 1, readWaitMs: 10 });
    const first = await reads.begin("acme", NEVER);
    expect(await codeOf(reads.begin("acme", NEVER))).toBe("too_many_reads");
    first[Symbol.dispose]();
    (await reads.begin("acme", NEVER))[Symbol.dispose]();
    (await reads.begin("acme", NEVER))[Symbol.dispose]();
  });

  it("does not wait for a client that leaves, or has left", async () => {
    const reads = new TranscriptReads({ maxReadsAtOnce: 1, readWaitMs: LONG_MS });
    const first = await reads.begin("acme", NEVER);
    const leaving = new AbortController();
    const left = codeOf(reads.begin("acme", leaving.signal));
    const next = reads.begin("acme", NEVER);
    leaving.abort();
    expect(await left).toBe("invalid_request");
    expect(await codeOf(reads.begin("acme", leaving.signal))).toBe("invalid_request");
    first[Symbol.dispose]();
    (await next)[Symbol.dispose]();
  });

  it("gives a place to the tenant that has least, however long others have waited", async () => {
    const reads = new TranscriptReads({ maxReadsAtOnce: 2, readWaitMs: LONG_MS });
    const begun: string[] = [];
    const running = new Map<string, Disposable>();
    const read = async (tenant: string, name: string): Promise<void> => {
      const place = await reads.begin(tenant, NEVER);
      begun.push(name);
      running.set(name, place);
    };
    const end = async (name: string): Promise<void> => {
      running.get(name)?.[Symbol.dispose]();
      await settle();
    };
    for (const name of ["a1", "a2", "a3", "a4", "a5"]) void read("a", name);
    for (const name of ["b1", "b2"]) void read("b", name);
    void read("c", "c1");
    await settle();
    for (const name of ["a1", "a2", "b1", "c1", "a3", "b2"]) await end(name);
    expect(begun).toEqual(["a1", "a2", "b1", "c1", "a3", "b2", "a4", "a5"]);
  });

  it("refuses at once when too many of a tenant wait, and no other tenant for that", async () => {
    const reads = new TranscriptReads({ maxReadsAtOnce: 1, readWaitMs: LONG_MS });
    const leaving = new AbortController();
    const first = await reads.begin("a", NEVER);
    const waiting = Array.from({ length: 100 }, () => codeOf(reads.begin("a", leaving.signal)));
    expect(await codeOf(reads.begin("a", NEVER))).toBe("too_many_reads");
    const other = reads.begin("b", NEVER);
    first[Symbol.dispose]();
    const read = await other;
    leaving.abort();
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(["invalid_request"]));
    read[Symbol.dispose]();
    (await reads.begin("a", NEVER))[Symbol.dispose]();
  });
});
