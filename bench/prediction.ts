/**
 * What turns were predicted to hold, against what they held: mixed transcripts, mixed tools, a
 * server that knows nothing at first.
 *
 * @module
 */

import { replay } from "./footprint-replay.ts";
import { boxPlot, summaryTable, table } from "./page.ts";
import { runTurns, TURNS_AT_ONCE, type PredictedTurn } from "./prediction-run.ts";
import { scratchDirectory } from "./processes.ts";
import { atMost, type Benchmark, type Claim } from "./result.ts";
import { median, quantile, summaryOf } from "./statistics.ts";

const MIB = 2 ** 20;
/** The default of `capacity.turnReserve`. */
const PRIOR_BYTES = 500 * MIB;
/** Until then the largest turn is predicted and not the mean, which is careful by intent. */
const FIRST_TURNS = 8;
const ERROR_LIMIT_RATIO = 0.2;
const BEYOND_LIMIT_RATIO = 0.01;

/** Sizes of transcripts in MiB, each up to the next. */
const CLASSES_MIB = [0, 0.05, 1, 4, 10, Infinity];

interface Judged extends PredictedTurn {
  /** What was set aside beside the prediction. */
  readonly marginBytes: number;
  /** Part of the peak that the prediction was off; above 0 if too high. */
  readonly error: number;
}

export const prediction: Benchmark = {
  name: "prediction",
  summary: "what turns are predicted to hold against what they hold, transcripts of 0 to 20 MiB",
  async run(report, signal) {
    using scratch = scratchDirectory();
    const turns = await runTurns({ directory: scratch.path, report, signal });
    const judged = judge(turns);
    return { claims: claimsOf(judged), data: { turns }, sections: sectionsOf(judged) };
  },
};

/** In the order in which they started, without the first few. */
function judge(turns: readonly PredictedTurn[]): Judged[] {
  const { predictions } = replay(turns, { priorBytes: PRIOR_BYTES });
  return predictions.slice(FIRST_TURNS).map(({ turn, marginBytes }) => {
    const error = turn.predictedBytes / turn.peakBytes - 1;
    return { ...turn, marginBytes, error };
  });
}

function claimsOf(judged: readonly Judged[]): Claim[] {
  const percent = (ratio: number) => `${(ratio * 100).toFixed(1)} %`;
  const errors = judged.map(({ error }) => Math.abs(error)).sort((a, b) => a - b);
  const beyond = judged.filter(
    ({ peakBytes, predictedBytes, marginBytes }) => peakBytes > predictedBytes + marginBytes,
  );
  return [
    atMost(
      "Error of what was predicted, as part of the peak, 95 % of the turns",
      ERROR_LIMIT_RATIO,
      quantile(errors, 0.95),
      percent,
    ),
    atMost(
      "Turns that held more than was predicted and set aside",
      BEYOND_LIMIT_RATIO,
      beyond.length / judged.length,
      percent,
    ),
  ];
}

function sectionsOf(judged: readonly Judged[]): string[] {
  const kinds = [...new Set(judged.map(({ kind }) => kind))].sort();
  const byKind = kinds.map((kind) => [kind, judged.filter((turn) => turn.kind === kind)] as const);
  const errorsOf = (turns: readonly Judged[]) => turns.map(({ error }) => error * 100);
  return [
    "An agent with the tools Bash, Read and Grep, of which nothing is known at first, is asked for " +
      `turns, ${TURNS_AT_ONCE} at once: 26 that start sessions, then 156 that resume them, with ` +
      "transcripts lengthened to 0 to 20 MiB. The server is started again in between. Peaks and " +
      `predictions are those of its log. The first ${FIRST_TURNS} turns are left out of the ` +
      "figures: the largest turn seen is predicted then, and more. An error above 0 is a " +
      "prediction that was too high.",
    "## By the transcript that is resumed",
    classTable(judged),
    "## By what the turn does",
    summaryTable(
      "error, %",
      [...byKind, ["all", judged] as const].map(
        ([kind, turns]) => [kind, summaryOf(errorsOf(turns))] as const,
      ),
    ),
    boxPlot(
      "%",
      byKind.map(([kind, turns]) => [kind, errorsOf(turns)] as const),
    ),
  ];
}

function classTable(judged: readonly Judged[]): string {
  const mebibytes = (bytes: number) => (bytes / MIB).toFixed(0);
  const rows = CLASSES_MIB.slice(1).flatMap((toMib, index) => {
    const fromMib = CLASSES_MIB[index] ?? 0;
    const turns = judged.filter(
      ({ carriedBytes }) => carriedBytes >= fromMib * MIB && carriedBytes < toMib * MIB,
    );
    if (turns.length === 0) return [];
    const errors = turns.map(({ error }) => Math.abs(error) * 100).sort((a, b) => a - b);
    const label = toMib === Infinity ? `${fromMib} and more` : `${fromMib} to ${toMib}`;
    return [
      [
        label,
        String(turns.length),
        mebibytes(median(turns.map(({ peakBytes }) => peakBytes))),
        mebibytes(median(turns.map(({ predictedBytes }) => predictedBytes))),
        mebibytes(Math.max(...turns.map(({ peakBytes }) => peakBytes))),
        median(errors).toFixed(1),
        quantile(errors, 0.95).toFixed(1),
      ],
    ];
  });
  const head = ["transcript, MiB", "turns", "peak, median MiB", "predicted, median MiB"];
  return table([...head, "largest peak, MiB", "error, median %", "error, 95 %"], rows);
}
