/**
 * Goal: whatever order replicas take, lose, renew and write in, only the last one to take a session
 * can write to it, and what was written stays.
 * Method: random histories of several writers with clocks of their own, against the bytes that the
 * rightful ones wrote.
 */

import { randomUUID } from "node:crypto";

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { AppError } from "../../../src/lib/errors.ts";
import {
  appended,
  begun,
  transcriptBytesOf,
  deleted,
  isHeldBy,
  type LeaseToken,
  newHead,
  parseHead,
  released,
  renewed,
  type SessionHead,
  taken,
  tokenOf,
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
        const tokens = new Map<number, LeaseToken>();
        let owner: number | null = null;
        let written = 0;
        for (const step of history) {
          if (step.do === "wait") {
            nowMs += step.ms;
            continue;
          }
          const { by } = step;
          const token = tokens.get(by) ?? { fence: -1 };
          const terms = { holder: `replica-${by}`, nowMs, leaseTimeMs: LEASE_MS };
          const expiresAtMs = nowMs + LEASE_MS;
          const changes: Record<typeof step.do, () => SessionHead> = {
            take: () => taken(head, terms, randomUUID()),
            renew: () => renewed(head, token, expiresAtMs),
            release: () => released(head, token),
            write: () => {
              const added = [{ name: `piece-${written}`, bytes: 7, hash: `${written}` }];
              return appended(head, token, [{ path: "", fromBytes: written, added }]);
            },
          };
          const isOwn = owner === by;
          const isFree = head.lease === null || head.lease.expiresAtMs <= nowMs;
          const code = codeOf(() => (head = changes[step.do]()));
          if (step.do === "take") {
            expect(code).toBe(isFree || isOwn ? "done" : "session_busy");
            if (code !== "done") continue;
            const fences = [...tokens.values()].map(({ fence }) => fence);
            expect(head.fence).toBeGreaterThan(Math.max(0, ...fences));
            tokens.set(by, tokenOf(head));
            owner = by;
          } else if (step.do === "release") {
            expect(code).toBe("done");
            if (!isOwn) expect(head.lease === null && owner !== null ? isFree : true).toBe(true);
          } else {
            // Nobody took it in between, expired or not: that is what the fence tells.
            expect(code).toBe(isOwn ? "done" : "session_taken_over");
            if (step.do === "write" && isOwn) written += 7;
          }
          expect(transcriptBytesOf(head)).toBe(written);
        }
      }),
    );
  });

  it("is refused with the time it ends at", () => {
    const head = taken(newHead(ID), { holder: "one", nowMs: 1000, leaseTimeMs: 30_000 }, "a");
    const terms = { holder: "other", nowMs: 11_000, leaseTimeMs: 30_000 };
    expect(() => taken(head, terms, "b")).toThrow(
      expect.objectContaining({
        code: "session_busy",
        details: {
          retryAfterSeconds: 20,
          extensions: { expiresAt: new Date(31_000).toISOString() },
        },
      }),
    );
    expect(taken(head, { ...terms, nowMs: 31_000 }, "b").lease?.holder).toBe("other");
    // Its own, of a run that was killed.
    expect(taken(head, { ...terms, holder: "one" }, "b").fence).toBe(2);
  });
});

describe("a lease that the store has lost", () => {
  const at = (nowMs: number, holder: string) => ({ holder, nowMs, leaseTimeMs: 30_000 });
  const before = newHead(ID);
  const first = taken(before, at(1000, "one"), "a");
  const second = taken(before, at(2000, "two"), "b");
  const write = (token: LeaseToken) => () =>
    appended(second, token, [
      { path: "", fromBytes: 0, added: [{ name: "p", bytes: 1, hash: "p" }] },
    ]);

  it("lets nobody write who had it, though the next one has the same fence", () => {
    expect(second.fence).toBe(first.fence);
    expect(codeOf(write(tokenOf(first)))).toBe("session_taken_over");
    expect(codeOf(() => renewed(second, tokenOf(first), 9000))).toBe("session_taken_over");
    expect(released(second, tokenOf(first))).toBe(second);
    expect(codeOf(write(tokenOf(second)))).toBe("done");
    expect(released(second, tokenOf(second)).lease).toBeNull();
    // It is let go, and still that of the last who had it.
    const free = released(second, tokenOf(second));
    expect(codeOf(() => appended(free, tokenOf(first), []))).toBe("session_taken_over");
    expect(appended(free, tokenOf(second), [])).toBe(free);
    expect(codeOf(() => appended(begun(second, {}), tokenOf(first), []))).toBe(
      "session_taken_over",
    );
  });

  it("is told by its fence alone where an earlier version took it, or wrote the head", () => {
    const { leaseId: _leaseId, ...old } = second;
    expect(isHeldBy(old, tokenOf(second))).toBe(true);
    expect(isHeldBy(second, { fence: 1 })).toBe(true);
    expect(isHeldBy(second, { fence: 2 })).toBe(false);
  });
});

describe("what is added", () => {
  it("is added once, however often it is tried, and merges nothing away", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(sizes, fc.infiniteStream(fc.nat()), (bytes, picks) => {
        let head = taken(newHead(ID), { holder: "one", nowMs: 0, leaseTimeMs: 1 }, "a");
        const token = tokenOf(head);
        let total = 0;
        for (const [at, more] of bytes.entries()) {
          const pieces = head.pieces[""] ?? [];
          const keep = (picks.next().value ?? 0) % (pieces.length + 1);
          const fromBytes = pieces.slice(0, keep).reduce((sum, piece) => sum + piece.bytes, 0);
          const added = [{ name: `p${at}`, bytes: total - fromBytes + more, hash: `${at}` }];
          const addition = [{ path: "", fromBytes, added }];
          const before = head;
          head = appended(head, token, addition);
          total += more;
          expect(stateOf(head)).not.toBe(stateOf(before));
          expect(transcriptBytesOf(head)).toBe(total);
          expect(appended(head, token, addition)).toBe(head);
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
    const had = taken(newHead(ID), { holder: "one", nowMs: 0, leaseTimeMs: 10 }, "a");
    expect(codeOf(() => deleted(had, { holder: "two", nowMs: 5, leaseTimeMs: 10 }))).toBe(
      "session_busy",
    );
    const gone = deleted(had, { holder: "two", nowMs: 10, leaseTimeMs: 10 });
    expect(gone.deletedAtMs).toBe(10);
    const write = (head: SessionHead) =>
      codeOf(() =>
        appended(head, tokenOf(had), [
          { path: "", fromBytes: 0, added: [{ name: "a", bytes: 1, hash: "a" }] },
        ]),
      );
    expect(write(gone)).toBe("session_taken_over");
    const again = begun(taken(gone, { holder: "two", nowMs: 20, leaseTimeMs: 10 }, "b"), {
      of: "two",
    });
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
    const head = taken(newHead(ID), { holder: "one", nowMs: 5, leaseTimeMs: 10 }, "a");
    expect(parseHead(Buffer.from(JSON.stringify(head)))).toEqual(head);
  });
});
