/**
 * What the gate has decided and the guard has ended, as the lines of one list. Pure.
 *
 * @module
 */

import type { FeedDecision, FeedGuardEvent } from "../../../src/protocol/feed.ts";
import { countText } from "../ui/format.ts";

export interface DecisionLine {
  /** Different for each line that is shown at a time. */
  readonly key: string;
  readonly atMs: number;
  readonly kind: "admitted" | "shed" | "guard";
  /** e.g. `shed: memory`. */
  readonly word: string;
  readonly text: string;
  /** Decisions before it that were too many to tell, in words; empty if there were none. */
  readonly untold: string;
}

/** Both lists and the lines have the newest first. */
export function linesOf(
  decisions: readonly FeedDecision[],
  guard: readonly FeedGuardEvent[],
  most: number,
): readonly DecisionLine[] {
  const lines = [...decisions.slice(0, most).map(decided), ...guard.slice(0, most).map(ended)];
  const sorted = lines.sort((one, other) => other.atMs - one.atMs).slice(0, most);
  return sorted.map((line, index) => ({ ...line, key: `${line.atMs} ${sorted.length - index}` }));
}

function decided(decision: FeedDecision): Omit<DecisionLine, "key"> {
  const { atMs, admitted, reason, text, agent, untold } = decision;
  return {
    atMs,
    kind: admitted ? "admitted" : "shed",
    word: admitted ? "admitted" : `shed: ${(reason ?? "load").replace("_", " ")}`,
    // The mark beside it says as much.
    text: `${agent}: ${text.replace(/^(admitted|shed)( \(\w+\))?: /, "")}`,
    untold: untold === 0 ? "" : `and ${countText(untold, "decision")} more before it`,
  };
}

function ended({ atMs, by, what, text }: FeedGuardEvent): Omit<DecisionLine, "key"> {
  return { atMs, kind: "guard", word: `${by}: ${what}`, text, untold: "" };
}
