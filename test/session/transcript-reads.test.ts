import { describe, expect, it } from "vitest";
import { TranscriptReads } from "../../src/session/transcript-reads.ts";
import { codeOf } from "./fixture.ts";

const LONG_MS = 60_000;
const NEVER = new AbortController().signal;

/** Those that have begun, by the number with which they asked. */
function ask(reads: TranscriptReads, count: number): Map<number, Disposable> {
  const begun = new Map<number, Disposable>();
  for (let n = 0; n < count; n += 1) {
    void reads.begin(NEVER).then((read) => begun.set(n, read));
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
    const first = await reads.begin(NEVER);
    expect(await codeOf(reads.begin(NEVER))).toBe("too_many_reads");
    first[Symbol.dispose]();
    (await reads.begin(NEVER))[Symbol.dispose]();
    (await reads.begin(NEVER))[Symbol.dispose]();
  });

  it("does not wait for a client that leaves, or has left", async () => {
    const reads = new TranscriptReads({ maxReadsAtOnce: 1, readWaitMs: LONG_MS });
    const first = await reads.begin(NEVER);
    const leaving = new AbortController();
    const left = codeOf(reads.begin(leaving.signal));
    const next = reads.begin(NEVER);
    leaving.abort();
    expect(await left).toBe("invalid_request");
    expect(await codeOf(reads.begin(leaving.signal))).toBe("invalid_request");
    first[Symbol.dispose]();
    (await next)[Symbol.dispose]();
  });
});
