/**
 * Goal: the order is that of the directory, whatever changes while it is looked at or later.
 * Method: random changes against a plain map that stands for the directory; each look takes what it
 * sees of every session at a moment of its own, as a look at many files does.
 */

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { newestFirst, SessionOrder, type Position } from "../../src/session/session-order.ts";

const change = fc.record({
  sessionId: fc.constantFrom("a", "b", "c", "d", "e"),
  atMs: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.constant(null)),
});

describe("SessionOrder", () => {
  it("is the order of what is there, page by page, also when it changes during the look", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(change),
        fc.array(change),
        fc.array(change),
        fc.integer({ min: 1, max: 3 }),
        async (before, during, later, limit) => {
          const there = new Map<string, number>();
          let order: SessionOrder | null = null;
          const apply = ({ sessionId, atMs }: { sessionId: string; atMs: number | null }) => {
            if (atMs === null) {
              there.delete(sessionId);
              order?.removed("acme", sessionId);
            } else {
              there.set(sessionId, atMs);
              order?.used("acme", { sessionId, lastTurnAtMs: atMs });
            }
          };
          for (const each of before) apply(each);
          order = new SessionOrder({
            look: async () => {
              const seen: Position[] = [];
              for (const sessionId of ["a", "b", "c", "d", "e"]) {
                const atMs = there.get(sessionId);
                if (atMs !== undefined) seen.push({ sessionId, lastTurnAtMs: atMs });
                await Promise.resolve();
              }
              return seen;
            },
          });
          const first = order.page("acme", limit, undefined);
          for (const each of during) {
            apply(each);
            await Promise.resolve();
          }
          await first;
          for (const each of later) apply(each);
          const listed: Position[] = [];
          for (let page: readonly Position[]; ; listed.push(...page)) {
            page = await order.page("acme", limit, listed.at(-1));
            if (page.length === 0) break;
          }
          const expected = Array.from(there, ([sessionId, atMs]) => ({
            sessionId,
            lastTurnAtMs: atMs,
          }));
          expect(listed).toEqual(expected.toSorted(newestFirst));
        },
      ),
    );
  });

  it("goes on behind a session that is gone", async () => {
    const order = new SessionOrder({ look: async () => ["a", "b", "c"].map(at(5)) });
    const [first] = await order.page("acme", 1, undefined);
    order.removed("acme", "a");
    expect(await order.page("acme", 1, first)).toEqual([at(5)("b")]);
  });

  it("keeps at most so many places, and looks again at what was asked for longest ago", async () => {
    const looked: string[] = [];
    const look = async (tenant: string) => {
      looked.push(tenant);
      return ["a", "b"].map(at(5));
    };
    const order = new SessionOrder({ look, maxPositions: 4 });
    for (const tenant of ["one", "two", "one", "two", "one"])
      await order.page(tenant, 9, undefined);
    expect(looked).toEqual(["one", "two"]);
    order.used("one", at(6)("c"));
    expect(await order.page("one", 9, undefined)).toHaveLength(3);
    expect(await order.page("two", 9, undefined)).toHaveLength(2);
    expect(looked).toEqual(["one", "two", "two"]);
    order.used("two", at(6)("c"));
    order.used("two", at(6)("d"));
    order.used("two", at(6)("e"));
    // Nothing is known of five places; the page is whole all the same.
    expect(await order.page("two", 9, undefined)).toHaveLength(2);
    expect(looked).toEqual(["one", "two", "two", "two"]);
  });

  it("looks again after a look that failed", async () => {
    let looks = 0;
    const look = async () => {
      looks += 1;
      if (looks === 1) throw new Error("no such disk");
      return [at(5)("a")];
    };
    const order = new SessionOrder({ look });
    await expect(order.page("acme", 9, undefined)).rejects.toThrow("no such disk");
    expect(await order.page("acme", 9, undefined)).toEqual([at(5)("a")]);
  });
});

function at(lastTurnAtMs: number): (sessionId: string) => Position {
  return (sessionId) => ({ sessionId, lastTurnAtMs });
}
