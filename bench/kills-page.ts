/**
 * The claims and the page of `kills`. Pure.
 *
 * @module
 */

import type { readSession } from "./conversation.ts";
import { type Ask, faultsOf, type ModelFaults } from "./conversation-check.ts";
import { summaryTable, table } from "./page.ts";
import { atMost, type BenchmarkOutcome, type Claim } from "./result.ts";
import { summaryOf } from "./statistics.ts";
import { tally } from "./turn-load.ts";

export type Victim = "agent" | "server";

/** A kill within a turn, and the session's next turn. */
export interface Killed {
  readonly victim: Victim;
  /** Turns that were over before the kill that was meant for them. */
  readonly missed: number;
  /** From the request of the turn. */
  readonly atMs: number;
  readonly isFirstTurn: boolean;
  readonly outcome: string;
  /** Agent processes of a killed server that its successor has not ended. */
  readonly orphans: number;
  readonly nextOutcome: string;
  /** Messages that were whole in the transcript when the process was gone. */
  readonly entriesWritten: number;
  /** Of these, not there after the next turn. */
  readonly entriesLost: number;
  /** Whether the client saw the result of the turn's tool, it was in the transcript, and the model was told it in the next turn. */
  readonly resultSeen: boolean;
  readonly resultWritten: boolean;
  readonly resultTold: boolean;
}

export interface KillsRun extends ModelFaults {
  readonly killed: readonly Killed[];
  readonly asks: readonly Ask[];
  readonly finals: ReadonlyMap<number, Awaited<ReturnType<typeof readSession>>>;
  readonly messages: Readonly<Record<"repaired", number>>;
  /** Kills that the claim is about. */
  readonly promised: number;
}

const VICTIMS = ["agent", "server"] as const;

export function killsOutcome(run: KillsRun): BenchmarkOutcome {
  const { killed, asks, ranTwice, wrongHistory, messages, promised } = run;
  const faults = [...run.finals].map(([conversation, final]) => {
    const own = asks.filter((ask) => ask.conversation === conversation);
    const isGone = typeof final === "string";
    return { isGone, ...faultsOf(own, isGone ? [] : final.exchanges) };
  });
  const inAll = (of: (each: (typeof faults)[number]) => readonly number[]) =>
    faults.reduce((sum, each) => sum + of(each).length, 0);
  const figures = {
    lost: inAll(({ lost }) => lost),
    altered: inAll(({ altered }) => altered),
    doubled: inAll(({ doubled }) => doubled),
    outOfOrder: inAll(({ outOfOrder }) => outOfOrder),
    gone: faults.filter(({ isGone }) => isGone).length,
    ranTwice: ranTwice.length,
    wrongHistory: wrongHistory.length,
  };
  return {
    claims: claimsOf(killed, figures, promised),
    data: { promised, killed, figures, ranTwice, wrongHistory, messages, asked: asks.length },
    sections: sectionsOf(run, figures),
  };
}

interface Figures {
  readonly lost: number;
  readonly altered: number;
  readonly doubled: number;
  readonly outOfOrder: number;
  readonly gone: number;
  readonly ranTwice: number;
  readonly wrongHistory: number;
}

function claimsOf(killed: readonly Killed[], figures: Figures, promised: number): Claim[] {
  const none = (claim: string, value: number) => atMost(claim, 0, value, String);
  const sum = (of: (each: Killed) => number) => killed.reduce((all, each) => all + of(each), 0);
  const written = killed.filter(({ resultWritten }) => resultWritten);
  const resumed = killed.filter(({ nextOutcome }) => nextOutcome === "completed").length;
  return [
    {
      claim: `Sessions whose next turn completed, of ${killed.length} kills`,
      target: `all of ${promised} kills`,
      measured: `${resumed} of ${killed.length}${killed.length < promised ? `, not run with ${promised}` : ""}`,
      holds: resumed === killed.length && killed.length >= promised,
    },
    none("Acknowledged turns that are not in the transcript", figures.lost),
    none("Acknowledged answers that the transcript has otherwise", figures.altered),
    none("Questions twice in a transcript, or out of order", figures.doubled + figures.outOfOrder),
    none("Sessions gone", figures.gone),
    none(
      "Turns whose model was not told all acknowledged turns, in order and once",
      figures.wrongHistory,
    ),
    none("Questions that the model was asked twice", figures.ranTwice),
    none(
      `Messages whole in the transcript at the kill (${sum(({ entriesWritten }) => entriesWritten)}) and lost`,
      sum(({ entriesLost }) => entriesLost),
    ),
    none(
      `Results of tools of killed turns in the transcript (${written.length}) that the next turn's model was not told`,
      written.filter(({ resultTold }) => !resultTold).length,
    ),
    none(
      "Agent processes of a killed server, 2 s after its successor is ready",
      sum(({ orphans }) => orphans),
    ),
  ];
}

function sectionsOf({ killed, asks, messages }: KillsRun, figures: Figures): string[] {
  const of = (victim: Victim) => killed.filter((each) => each.victim === victim);
  const acknowledged = asks.filter(({ fate }) => fate === "acknowledged").length;
  const row = (label: string, value: (each: readonly Killed[]) => number) => [
    label,
    ...VICTIMS.map((victim) => String(value(of(victim)))),
  ];
  const outcomes = [...new Set(killed.map(({ outcome }) => outcome))].sort();
  return [
    "Sessions as files in the data directory of one replica. Each turn says a word, has Claude " +
      "Code run a command, and tells its result. At a moment drawn by lot, from the request to " +
      "as long as turns took last, SIGKILL goes to the agent process of the turn (three " +
      "conversations at once) or to the server (one), which is then started again on its data. " +
      "When the turn was over by then, another one is tried. Then the session is asked once more.",
    "Acknowledged is a turn whose `turn_ended` with `completed` was read: all of it must be in " +
      "the transcript and in what the model is told from then on. Of a turn that was killed " +
      "everything counts that was a whole line of the transcript when the process was gone: it " +
      "must still be there after the next turn. What Claude Code had told and not yet written " +
      "is lost with it.",
    "## What was killed",
    table(
      ["", ...VICTIMS],
      [
        row("kills within a turn", (each) => each.length),
        row("of these, in the first turn of a session", (each) =>
          count(each, ({ isFirstTurn }) => isFirstTurn),
        ),
        row("turns over before their kill", (each) =>
          each.reduce((sum, { missed }) => sum + missed, 0),
        ),
        row("results of tools that the client had seen", (each) =>
          count(each, ({ resultSeen }) => resultSeen),
        ),
        row("of these, not yet written", (each) =>
          count(each, ({ resultSeen, resultWritten }) => resultSeen && !resultWritten),
        ),
        row("results of tools in the transcript", (each) =>
          count(each, ({ resultWritten }) => resultWritten),
        ),
      ],
    ),
    `Of ${asks.length} questions ${acknowledged} were acknowledged. ` +
      `The server repaired a transcript ${messages.repaired} times.`,
    "## How the killed turns ended for their clients",
    table(
      ["", ...VICTIMS],
      outcomes.map((outcome) =>
        row(outcome, (each) => tally(each.map((one) => one.outcome))[outcome] ?? 0),
      ),
    ),
    "## When the kills came",
    summaryTable(
      "ms after the request",
      VICTIMS.map((victim) => [victim, summaryOf(of(victim).map(({ atMs }) => atMs))] as const),
    ),
    "## Faults",
    table(
      ["fault", "times"],
      Object.entries(figures).map(([name, value]) => [name, String(value)]),
    ),
  ];
}

function count(killed: readonly Killed[], is: (each: Killed) => boolean): number {
  return killed.filter(is).length;
}
