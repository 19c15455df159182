/**
 * The page of `balloons`. Pure.
 *
 * @module
 */

import type { BenchmarkOutcome } from "./result.ts";
import { KINDS, type Kind } from "./balloon-agents.ts";
import {
  harmed,
  LIMIT_BYTES,
  STREAMS,
  wasCarried,
  type Contained,
  type Trial,
} from "./balloon-trial.ts";
import { summaryTable, table } from "./page.ts";
import { plotOf } from "./plot.ts";
import { summaryOf } from "./statistics.ts";
import { tally } from "./turn-load.ts";

const MIB = 2 ** 20;
const PICTURES = ["balloons-group.svg", "balloons-guard.svg"];

const MEANINGS: Readonly<Record<Kind, string>> = {
  bash: "a command of the Bash tool takes 1.5 GiB as fast as it can",
  pair: "two turns do that at the same time",
  swarm: "a command starts 20 processes of 100 MiB each",
  mcp: "an MCP server of the turn takes 1.5 GiB",
  flood:
    "Claude Code itself grows, over a `limits.turnMemory` of 320 MiB, by 50 MB of streamed text",
  "blocked loop": "as bash, while a function tool keeps the server's main loop busy for 2 s",
};

export function balloonsPage(all: readonly Contained[]): Omit<BenchmarkOutcome, "claims"> {
  return {
    data: all.map(dataOf),
    sections: [
      METHOD,
      KINDS.map((kind) => `- **${kind}**: ${MEANINGS[kind]}`).join("\n"),
      ...all.flatMap(partOf),
    ],
    pictures: Object.fromEntries(all.map((each, at) => [PICTURES[at] ?? "", pictureOf(each)])),
  };
}

const METHOD =
  `A replica of ${LIMIT_BYTES / MIB} MiB that measures. In each trial ${STREAMS} turns stream for ` +
  "5 s, and when all of them have text, one more turn balloons, or two; the memory would not do for all. " +
  "Every balloon is of an agent of its own, of which nothing is known, or it would not be " +
  "admitted. In every second trial two busy loops outside of the group take the CPU. A turn that " +
  "is shed comes back, as clients do. Went on: the tool was ended, and its turn completed without " +
  "it. Headroom is back when the group holds no more than 64 MiB above what it held before the " +
  "trial, with no turn in flight.";

function dataOf({ label, trials, oomKills, exit, serverPid }: Contained) {
  return {
    label,
    serverPid,
    exit,
    oomKills,
    trials: trials.map(({ balloons, ...trial }) => ({
      ...trial,
      balloons: balloons.map(({ outcome, toolResults }) => ({ outcome, toolResults })),
    })),
  };
}

function partOf({ label, trials, oomKills, serverPid }: Contained, at: number): string[] {
  const groups = KINDS.flatMap((kind) =>
    [false, true].map((withHogs) => ({
      label: `${kind}${withHogs ? ", CPU taken" : ""}`,
      trials: trials.filter((trial) => trial.kind === kind && trial.withHogs === withHogs),
    })),
  ).filter((group) => group.trials.length > 0);
  const kills = tally(
    oomKills.map(({ pid, program }) => (pid === serverPid ? "the server" : program)),
  );
  const killed = Object.entries(kills).map(([program, count]) => `${count} of ${program}`);
  return [
    `## With ${label}`,
    `![Memory over the trials](${PICTURES[at]})`,
    table(
      ["", "trials", "others harmed", "went on", "turn ended", "let go"],
      groups.map((group) => rowOf(group.label, group.trials)),
    ),
    `Killed by the kernel: ${killed.join(", ") || "nothing"}.`,
    "Time until the headroom was back:",
    summaryTable(
      "ms",
      groups.map((group) => [group.label, summaryOf(group.trials.flatMap(headroomOf))] as const),
    ),
  ];
}

function headroomOf({ headroomMs }: Trial): number[] {
  return headroomMs === null ? [] : [headroomMs];
}

function rowOf(label: string, trials: readonly Trial[]): string[] {
  const grown = trials.flatMap(({ kind, balloons }) => balloons.map((each) => ({ kind, each })));
  const carried = grown.filter(({ kind, each }) => wasCarried(kind, each)).length;
  const completed = grown.filter(({ each: { outcome } }) => outcome === "completed").length;
  const ends = tally(
    grown.flatMap(({ each: { outcome } }) => (outcome === "completed" ? [] : [outcome])),
  );
  const ended = Object.entries(ends).map(
    ([outcome, times]) => `${times} \`${outcome.replace("failed: ", "")}\``,
  );
  return [
    label,
    String(trials.length),
    String(trials.reduce((sum, trial) => sum + harmed(trial), 0)),
    String(completed - carried),
    ended.join(", ") || "0",
    String(carried),
  ];
}

function pictureOf({ label, readings, oomKills }: Contained): string {
  const beganAtMs = readings[0]?.atMs ?? 0;
  const seconds = (atMs: number) => (atMs - beganAtMs) / 1_000;
  const end = seconds(readings.at(-1)?.atMs ?? 0);
  return plotOf({
    title: `balloons: ${label}`,
    xTitle: "seconds",
    panels: [
      {
        title: "Memory that cannot be reclaimed, MiB",
        lines: [
          {
            label: "all of the replica",
            colour: "teal",
            style: "area",
            points: readings.map(({ atMs, heldBytes }) => [seconds(atMs), heldBytes / MIB]),
          },
          {
            label: "limit",
            colour: "red",
            style: "dashed",
            points: [
              [0, LIMIT_BYTES / MIB],
              [end, LIMIT_BYTES / MIB],
            ],
          },
        ],
      },
      {
        title: "Processes that the kernel killed, so far",
        lines: [
          {
            label: "killed",
            colour: "red",
            points: [
              [0, 0],
              ...oomKills.flatMap(({ atMs }, at) => [
                [seconds(atMs), at] as const,
                [seconds(atMs), at + 1] as const,
              ]),
              [end, oomKills.length],
            ],
          },
        ],
      },
    ],
  });
}
