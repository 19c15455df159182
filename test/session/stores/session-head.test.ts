/**
 * Goal: whatever order replicas take, lose, renew and write in, only the last one to take a session
 * can write to it, and what was written stays.
 * Method: random histories of several writers with clocks of their own, against the bytes that the
 * rightful ones wrote.
 */

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { AppError } from "../../../src/lib/errors.ts";
import {
  appended,
  begun,
  bytesOf,
  deleted,
  newHead,
  parseHead,
  released,
  renewed,
  type SessionHead,
  taken,
} from "../../../src/session/stores/session-head.ts";
import { stateOf } from "../../../src/session/stores/pieces.ts";

const ID = "5f0c6f2e-8d3a-5b7e-9a41-c2d7e05b9e13";
const LEASE_MS = 100;

type Step =
  | { readonly do: "take" | "renew" | "release" | "write"; readonly by: number }
  | { readonly do: "wait"; readonly ms: number };

const steps = fc.array(
  fc.oneof(
    fc.record({
      do: fc.constantFrom("take", "renew", "release", "write" as const),
      by: fc.integer({ min: 0, max: 2 }),
    }),
    fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 150 }) }),
  ),
  { maxLength: 60 },
) as fc.Arbitrary<Step[]>;

const codeOf = (work: () => unknown): string => {
  try {
    work();
    return "done";
  } catch (thrown) {
    return thrown instanceof AppError ? thrown.code : String(thrown);
  }
};

describe("a lease", () => {
  it("leaves one writer: the last to take the session", () => {
    fc.assert(
      fc.property(steps, (history) => {
        let head = newHead(ID);
        let nowMs = 1000;
        const fences = new Map<number, number>();
        let owner: number | null = null;
        let written = 0;
        for (const step of history) {
          if (step.do === "wait") {
            nowMs += step.ms;
            continue;
          }
          const { by } = step;
          const fence = fences.get(by) ?? -1;
          const terms = { holder: `replica-${by}`, nowMs, leaseTimeMs: LEASE_MS };
          const expiresAtMs = nowMs + LEASE_MS;
          const changes: Record<typeof step.do, () => SessionHead> = {
            take: () => taken(head, terms),
            renew: () => renewed(head, fence, expiresAtMs),
            release: () => released(head, fence),
            write: () => {
              const added = [{ name: `piece-${written}`, bytes: 7, hash: `${written}` }];
              return appended(head, fence, [{ path: "", fromBytes: written, added }]);
            },
          };
          const isOwn = owner === by;
          const isFree = head.lease === null || head.lease.expiresAtMs <= nowMs;
          const code = codeOf(() => (head = changes[step.do]()));
          if (step.do === "take") {
            expect(code).toBe(isFree || isOwn ? "done" : "session_busy");
            if (code !== "done") continue;
            expect(head.fence).toBeGreaterThan(Math.max(0, ...fences.values()));
            fences.set(by, head.fence);
            owner = by;
          } else if (step.do === "release") {
            expect(code).toBe("done");
            if (!isOwn) expect(head.lease === null && owner !== null ? isFree : true).toBe(true);
          } else {
            // Nobody took it in between, expired or not: that is what the fence tells.
            expect(code).toBe(isOwn ? "done" : "session_taken_over");
            if (step.do === "write" && isOwn) written += 7;
          }
          expect(bytesOf(head)).toBe(written);
        }
      }),
    );
  });

  it("is refused with the time it ends at", () => {
    const head = taken(newHead(ID), { holder: "one", nowMs: 1000, leaseTimeMs: 30_000 });
    const terms = { holder: "other", nowMs: 11_000, leaseTimeMs: 30_000 };
    expect(() => taken(head, terms)).toThrow(
      expect.objectContaining({
        code: "session_busy",
        details: {
          retryAfterSeconds: 20,
          extensions: { expiresAt: new Date(31_000).toISOString() },
        },
      }),
    );
    expect(taken(head, { ...terms, nowMs: 31_000 }).lease?.holder).toBe("other");
    // Its own, of a run that was killed.
    expect(taken(head, { ...terms, holder: "one" }).fence).toBe(2);
  });
});

describe("what is added", () => {
  it("is added once, however often it is tried, and merges nothing away", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(sizes, fc.infiniteStream(fc.nat()), (bytes, picks) => {
        let head = taken(newHead(ID), { holder: "one", nowMs: 0, leaseTimeMs: 1 });
        let total = 0;
        for (const [at, more] of bytes.entries()) {
          const pieces = head.pieces[""] ?? [];
          const keep = (picks.next().value ?? 0) % (pieces.length + 1);
          const fromBytes = pieces.slice(0, keep).reduce((sum, piece) => sum + piece.bytes, 0);
          const added = [{ name: `p${at}`, bytes: total - fromBytes + more, hash: `${at}` }];
          const addition = [{ path: "", fromBytes, added }];
          const before = head;
          head = appended(head, 1, addition);
          total += more;
          expect(stateOf(head)).not.toBe(stateOf(before));
          expect(bytesOf(head)).toBe(total);
          expect(appended(head, 1, addition)).toBe(head);
        }
      }),
    );
  });

  it("must follow what is there", () => {
    const head = appended(newHead(ID), null, [
      { path: "", fromBytes: null, added: [{ name: "a", bytes: 10, hash: "a" }] },
    ]);
    for (const fromBytes of [5, 11]) {
      const addition = { path: "", fromBytes, added: [{ name: "b", bytes: 9, hash: "b" }] };
      expect(() => appended(head, null, [addition])).toThrow("does not follow");
    }
    const merged = {
      path: "",
      fromBytes: 0,
      ifBytes: 10,
      added: [{ name: "c", bytes: 10, hash: "c" }],
    };
    expect(appended(head, null, [merged]).pieces).toEqual({ "": merged.added });
    const late = {
      path: "",
      fromBytes: 0,
      ifBytes: 9,
      added: [{ name: "b", bytes: 9, hash: "b" }],
    };
    expect(appended(head, null, [late])).toBe(head);
  });
});

describe("a deleted session", () => {
  it("takes nothing more from whoever had it, and can begin anew", () => {
    const had = taken(newHead(ID), { holder: "one", nowMs: 0, leaseTimeMs: 10 });
    expect(codeOf(() => deleted(had, { holder: "two", nowMs: 5, leaseTimeMs: 10 }))).toBe(
      "session_busy",
    );
    const gone = deleted(had, { holder: "two", nowMs: 10, leaseTimeMs: 10 });
    expect(gone.deletedAtMs).toBe(10);
    const write = (head: SessionHead) =>
      codeOf(() =>
        appended(head, had.fence, [
          { path: "", fromBytes: 0, added: [{ name: "a", bytes: 1, hash: "a" }] },
        ]),
      );
    expect(write(gone)).toBe("session_taken_over");
    const again = begun(taken(gone, { holder: "two", nowMs: 20, leaseTimeMs: 10 }), { of: "two" });
    expect(again.deletedAtMs).toBeUndefined();
    expect(again.fence).toBeGreaterThan(had.fence);
    expect(write(again)).toBe("session_taken_over");
  });
});

describe("the bytes of a head", () => {
  it.each(["", "{", "[]", "null", '{"version":"2"}', '{"version":1}'])("are not %j", (text) => {
    expect(parseHead(Buffer.from(text))).toBeUndefined();
  });

  it("are told from those of a newer version", () => {
    expect(codeOf(() => parseHead(Buffer.from('{"version":2}')))).toBe("session_newer");
  });

  it("come back as they were written", () => {
    const head = taken(newHead(ID), { holder: "one", nowMs: 5, leaseTimeMs: 10 });
    expect(parseHead(Buffer.from(JSON.stringify(head)))).toEqual(head);
  });
});
