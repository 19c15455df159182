/** Goal: a record remembers what ran under which key, within its limits, and never forgets that it ran. */

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import {
  KeptTurn,
  keptTurnOf,
  outcomeOfKept,
  type TurnAnswer,
  withBegun,
  withEnded,
} from "../../src/session/turn-keys.ts";
import type { TurnOutcome } from "../../src/turn/turn.ts";
import { USAGE } from "../protocol/turns.ts";

const KIB = 1_024;

function begun(hash: string) {
  return { hash, inputHash: `input of ${hash}`, turnId: `turn of ${hash}`, startedAtMs: 1 };
}

function answer(text: string, outcome: Partial<TurnOutcome> = {}): TurnAnswer {
  const completed = { status: "completed", usage: USAGE, stopReason: "end_turn", text, ...outcome };
  return { outcome: completed as TurnOutcome, hasRun: true, text, messageId: "m1" };
}

/** As it comes back from the disk. */
function stored(turns: readonly KeptTurn[]): KeptTurn[] {
  return KeptTurn.array().parse(JSON.parse(JSON.stringify(turns)));
}

describe("the keys in a record", () => {
  it("say that a turn has begun, and then how it ended", () => {
    const first = withBegun(undefined, begun("a"));
    expect(keptTurnOf(stored(first), { hash: "a" })).toEqual(begun("a"));
    const ended = stored(withEnded(first, { hash: "a" }, answer("Hello")));
    const { end } = keptTurnOf(ended, { hash: "a" }) ?? {};
    expect(end).toMatchObject({ text: "Hello", messageId: "m1" });
    expect(end && outcomeOfKept(end)).toEqual(answer("Hello").outcome);
    expect(keptTurnOf(ended, { hash: "b" })).toBeUndefined();
  });

  it.each<TurnOutcome>([
    { status: "limit_reached", usage: USAGE, limit: "steps" },
    { status: "cancelled", usage: USAGE, cause: "client_gone" },
    { status: "failed", usage: USAGE, code: "agent_crashed", message: "Cannot finish" },
  ])("keep the outcome $status as it was", (outcome) => {
    const turns = withEnded(
      withBegun([], begun("a")),
      { hash: "a" },
      { ...answer("Half"), outcome },
    );
    const { end } = stored(turns)[0] ?? {};
    expect(end && outcomeOfKept(end)).toEqual(outcome);
    expect(end?.text).toBe("Half");
  });

  it.each<TurnOutcome>([
    { status: "failed", usage: USAGE, code: "agent_start_failed", message: "" },
    { status: "failed", usage: USAGE, code: "mcp_server_unavailable", message: "" },
    { status: "cancelled", usage: USAGE, cause: "client_gone" },
    { status: "cancelled", usage: USAGE, cause: "draining" },
  ])("forget a turn of which nothing ran: $code$cause", (outcome) => {
    const turns = withBegun(withBegun([], begun("a")), begun("b"));
    const left = withEnded(turns, { hash: "b" }, { ...answer(""), outcome, hasRun: false });
    expect(left.map(({ hash }) => hash)).toEqual(["a"]);
  });

  it("keep a turn that a drain has cut off as one that never came to its end", () => {
    const turns = withBegun(withBegun([], begun("a")), begun("b"));
    const outcome = { status: "cancelled", usage: USAGE, cause: "draining" } as const;
    expect(stored(withEnded(turns, { hash: "a" }, { ...answer("Half"), outcome }))).toEqual(turns);
  });

  it("take a code that they do not know for an internal error", () => {
    const outcome = { status: "failed", usage: USAGE, code: "of_a_later_version", message: "" };
    const turns = withEnded(
      withBegun([], begun("a")),
      { hash: "a" },
      {
        ...answer(""),
        outcome: outcome as unknown as TurnOutcome,
      },
    );
    expect(stored(turns)[0]?.end?.outcome).toMatchObject({ code: "internal" });
  });

  it("keep the beginning of a long answer, and say that it is not all", () => {
    const text = "é€😀".repeat(4_000);
    const [turn] = stored(withEnded(withBegun([], begun("a")), { hash: "a" }, answer(text)));
    expect(turn?.end?.isCut).toBe(true);
    expect(text.startsWith(turn?.end?.text ?? "?")).toBe(true);
    expect(Buffer.byteLength(turn?.end?.text ?? "")).toBeGreaterThan(16 * KIB - 8);
    const large = answer("", { structuredOutput: "x".repeat(20 * KIB) });
    const [other] = stored(withEnded(withBegun([], begun("b")), { hash: "b" }, large));
    expect(other?.end).toMatchObject({ isCut: true, outcome: { status: "completed" } });
    expect(other?.end?.outcome).not.toHaveProperty("structuredOutput");
  });

  it("stay small and in order, whatever was said", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(40_000), { maxLength: 40 }), (lengths) => {
        let turns: KeptTurn[] = [];
        for (const [n, length] of lengths.entries()) {
          turns = withBegun(turns, begun(`key ${n}`));
          turns = stored(withEnded(turns, { hash: `key ${n}` }, answer("x".repeat(length))));
          expect(keptTurnOf(turns, { hash: `key ${n}` })?.end?.text).toHaveLength(
            Math.min(length, 16 * KIB),
          );
        }
        const last = lengths
          .map((_, n) => `key ${n}`)
          .toReversed()
          .slice(0, 16);
        expect(turns.map(({ hash }) => hash)).toEqual(last);
        expect(JSON.stringify(turns).length).toBeLessThan(80 * KIB);
      }),
    );
  });
});
