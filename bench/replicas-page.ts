/**
 * The claims and the page of `replicas`. Pure.
 *
 * @module
 */

import { table } from "./page.ts";
import { atMost, type BenchmarkOutcome, type Claim } from "./result.ts";

/** Counts of one store; of faults the numbers of the questions, so that they can be looked for. */
export interface StoreRun {
  readonly store: string;
  readonly wallMs: number;
  readonly kills: number;
  readonly drains: number;
  readonly storeRestarts: number;
  readonly asked: number;
  readonly acknowledged: number;
  readonly found: number;
  readonly dropped: number;
  readonly takeovers: number;
  readonly moves: number;
  readonly ends: Readonly<Record<string, number>>;
  readonly stuck: Readonly<Record<string, number>>;
  readonly sessionsLost: number;
  readonly sessionsTorn: number;
  readonly lost: readonly number[];
  readonly doubled: readonly number[];
  readonly outOfOrder: readonly number[];
  readonly altered: readonly number[];
  readonly foreign: readonly number[];
  readonly ranTwice: readonly number[];
  readonly wrongHistory: readonly number[];
  readonly faulty: readonly unknown[];
  readonly requests: number;
  readonly otherRequests: number;
  readonly messages: Readonly<Record<string, number>>;
}

export interface RunPlan {
  readonly conversations: number;
  readonly turns: number;
  /** Conversations that the claim is about. */
  readonly promised: number;
  readonly leaseTime: string;
}

export function outcomeOf(runs: readonly StoreRun[], plan: RunPlan): BenchmarkOutcome {
  const { conversations, turns, leaseTime } = plan;
  return {
    claims: [...runs.flatMap((run) => claimsOf(run, plan)), sizeClaim(runs, plan)],
    data: { plan, runs },
    sections: [
      `On each store ${conversations} conversations of ${turns} turns, six at once, each turn on ` +
        "one of three replicas that nginx draws by lot. Each replica is the built program with a " +
        "data directory of its own; their model is a rehearsal in the process of the benchmark. " +
        "In turn a replica is killed by SIGKILL, or drained by SIGTERM as in a rolling deploy, and " +
        "started again at once; in the middle of it " +
        "the store is killed and away for 3 s (S3, which is our test server, keeps its objects " +
        "meanwhile). Of the requests for a turn one in ten is left by its client after a time " +
        "drawn by lot. Every question has a number of its own. A client that was refused comes " +
        "back with the same question after `Retry-After`; one that lost its stream waits until " +
        "nobody has the session, looks there whether its question was answered, and asks another " +
        `one if not. A replica that is silent keeps a session for ${leaseTime} ` +
        "(`sessions.leaseTime`).",
      "`acknowledged`: its client read `turn_ended` with `completed`. `found`: its client had lost " +
        "the stream and found the whole answer in the session. Both must be in the transcript " +
        "at the end, once, in order and with the answer that the client knew; other questions " +
        "may be there, at most once.",
      "## What happened",
      table(["", ...runs.map(({ store }) => store)], happened(runs)),
      "## How requests for turns ended otherwise",
      "A refusal came back; `0 broken` is a connection that broke before a status, `502 broken` " +
        "what nginx says when a replica is killed, `200 broken` a stream without an end.",
      table(
        ["", ...runs.map(({ store }) => store)],
        [...new Set(runs.flatMap(({ ends }) => Object.keys(ends)))]
          .sort()
          .map((end) => [end, ...runs.map(({ ends }) => String(ends[end] ?? 0))]),
      ),
      "## Faults",
      table(["", ...runs.map(({ store }) => store)], faultRows(runs)),
    ],
  };
}

function happened(runs: readonly StoreRun[]): string[][] {
  const row = (label: string, of: (run: StoreRun) => number) => [
    label,
    ...runs.map((run) => String(of(run))),
  ];
  return [
    row("questions", ({ asked }) => asked),
    row("turns acknowledged", ({ acknowledged }) => acknowledged),
    row("turns found done", ({ found }) => found),
    row("replicas killed", ({ kills }) => kills),
    row("replicas drained", ({ drains }) => drains),
    row("store killed", ({ storeRestarts }) => storeRestarts),
    row("streams left by clients", ({ dropped }) => dropped),
    row("turns on another replica than the last one", ({ moves }) => moves),
    row("takeovers: the last one was killed in its turn", ({ takeovers }) => takeovers),
    row("turns kept while the store was away", ({ messages }) => messages["kept"] ?? 0),
    row("of these delivered later", ({ messages }) => messages["delivered"] ?? 0),
    row("turns set aside", ({ messages }) => messages["superseded"] ?? 0),
    row("transcripts repaired", ({ messages }) => messages["repaired"] ?? 0),
    row("requests to the model", ({ requests }) => requests),
    row("wall time, s", ({ wallMs }) => Math.round(wallMs / 1_000)),
  ];
}

const FAULTS = [
  ["Turns known to be done and not in the transcript", (run) => run.lost.length],
  ["Questions twice in a transcript", (run) => run.doubled.length],
  ["Questions out of order", (run) => run.outOfOrder.length],
  ["Answers other than the client's", (run) => run.altered.length + run.foreign.length],
  ["Questions that the model was asked twice", (run) => run.ranTwice.length],
  ["Requests to the model with a wrong history", (run) => run.wrongHistory.length],
  ["Sessions lost", (run) => run.sessionsLost],
  ["Sessions with lines that cannot be read", (run) => run.sessionsTorn],
  ["Conversations that could not go on", (run) => sumOf(run.stuck)],
] as const satisfies readonly (readonly [string, (run: StoreRun) => number])[];

function faultsIn(run: StoreRun): number {
  return FAULTS.reduce((sum, [, of]) => sum + of(run), 0);
}

/** What there is to say of one store when its part is over: the whole takes more than an hour. */
export function summaryOfRun(run: StoreRun): string {
  const { store, acknowledged, found, kills, drains, wallMs } = run;
  return (
    `${store}: ${faultsIn(run)} faults in ${acknowledged + found} turns, ` +
    `${kills} kills, ${drains} drains, ${Math.round(wallMs / 1_000)} s`
  );
}

function faultRows(runs: readonly StoreRun[]): string[][] {
  return FAULTS.map(([label, of]) => [label, ...runs.map((run) => String(of(run)))]);
}

function claimsOf(run: StoreRun, { conversations, turns }: RunPlan): Claim[] {
  const done = run.acknowledged + run.found;
  return [
    {
      claim: `${run.store}: turns done of ${conversations} conversations of ${turns}`,
      target: String(conversations * turns),
      measured: `${done}, ${run.acknowledged} of them acknowledged`,
      holds: done === conversations * turns,
    },
    ...FAULTS.map(([label, of]) => atMost(`${run.store}: ${label}`, 0, of(run), String)),
  ];
}

function sizeClaim(runs: readonly StoreRun[], plan: RunPlan): Claim {
  const { conversations, promised, turns } = plan;
  const isRun = conversations >= promised;
  const faults = runs.reduce((sum, run) => sum + faultsIn(run), 0);
  return {
    claim: `All of this with ${promised} conversations of ${turns} turns on each store`,
    target: "0 faults",
    measured: isRun ? `${faults} faults` : `not run at this size, but with ${conversations}`,
    holds: isRun && faults === 0,
  };
}

function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}
