/**
 * The page and the pictures of `carry`. Pure.
 *
 * @module
 */

import type { BenchmarkOutcome } from "./result.ts";
import { failureOf, heldOver, SHED_RATIO, type Carried, type Run } from "./carry-run.ts";
import { trafficAt } from "../src/sizing/erlang.ts";
import { summaryTable, table } from "./page.ts";
import { plotOf, type Line } from "./plot.ts";
import { sampled } from "./turn-load.ts";

const GIB = 2 ** 30;
const MIB = 2 ** 20;
const SECOND_MS = 1_000;

export function carryPage(all: readonly Carried[]): Omit<BenchmarkOutcome, "claims"> {
  const pictures = Object.fromEntries(all.map((each) => [pictureOf(each), picture(each)]));
  return { data: all.map(dataOf), sections: sectionsOf(all), pictures };
}

function pictureOf({ limit }: Carried): string {
  return `carry-${limit.limitBytes / GIB}-gib.svg`;
}

function dataOf({ limit, measured, restarted, formula, ...rest }: Carried) {
  const runs = { measured, restarted, formula };
  const short = Object.fromEntries(Object.entries(runs).map(([name, run]) => [name, shortOf(run)]));
  return { ...limit, ...short, ...rest };
}

/** One reading a second, and no list of turns. */
function shortOf(run: Run) {
  const { held, inFlight, streaming, endings, sheds, stalledSeconds, firstTextMs, oomKills, exit } =
    run;
  const perSecond = run.readings.filter((_, at) => at % 10 === 0);
  return {
    held,
    inFlight,
    streaming,
    endings,
    sheds,
    stalledSeconds,
    firstTextMs,
    oomKills,
    exit,
    heldPerSecond: heldPerSecond(run),
    readings: perSecond.map(({ atMs, usageBytes, heldBytes, mappedFileBytes, refaults }) => ({
      second: Math.round((atMs - run.beganAtMs) / SECOND_MS),
      usageBytes,
      heldBytes,
      mappedFileBytes,
      refaults,
    })),
    lastDecision: run.capacity.at(-1)?.lastDecision?.text ?? null,
  };
}

function heldPerSecond({ readings, beganAtMs, untilMs }: Run): number[] {
  const within = { fromMs: beganAtMs, toMs: untilMs, everyMs: SECOND_MS };
  return sampled(heldOver(readings), within);
}

function picture(carried: Carried): string {
  const { limit, measured, formula } = carried;
  const { beganAtMs, untilMs, readings, capacity } = measured;
  const seconds = (atMs: number) => (atMs - beganAtMs) / SECOND_MS;
  const end = seconds(untilMs);
  const level = (value: number): Line["points"] => [
    [0, value],
    [end, value],
  ];
  const during = readings.filter(({ atMs }) => atMs >= beganAtMs && atMs <= untilMs);
  const told = capacity.filter(({ atMs }) => atMs >= beganAtMs && atMs <= untilMs);
  const held = heldPerSecond(measured).map((turns, second) => [second, turns] as const);
  return plotOf({
    title: `carry: ${limit.limitBytes / GIB} GiB, from nothing learned`,
    xTitle: "seconds",
    panels: [
      {
        title: "Turns held at once",
        lines: [
          { label: "measured", colour: "blue", points: held, style: "area" },
          {
            label: `physical limit: ${carried.physical}`,
            colour: "red",
            points: level(carried.physical),
            style: "dashed",
          },
          {
            label: `formula: ${formula.held.median}`,
            colour: "grey",
            points: level(formula.held.median),
            style: "dashed",
          },
        ],
      },
      {
        title: "Memory, MiB",
        lines: [
          {
            label: "cannot be reclaimed",
            colour: "teal",
            style: "area",
            points: during.map(({ atMs, heldBytes }) => [seconds(atMs), heldBytes / MIB]),
          },
          {
            label: "committed",
            colour: "violet",
            points: told.map(({ atMs, committedBytes }) => [seconds(atMs), committedBytes / MIB]),
          },
          {
            label: "load line",
            colour: "orange",
            style: "dashed",
            points: told.map(({ atMs, loadLineBytes }) => [seconds(atMs), loadLineBytes / MIB]),
          },
          {
            label: "usage, with cache",
            colour: "grey",
            style: "thin",
            points: during.map(({ atMs, usageBytes }) => [seconds(atMs), usageBytes / MIB]),
          },
          {
            label: "limit",
            colour: "red",
            style: "dashed",
            points: level(limit.limitBytes / MIB),
          },
        ],
      },
    ],
  });
}

function sectionsOf(all: readonly Carried[]): string[] {
  return [METHOD, "## Held at once", heldTable(all), ...all.flatMap(partOf), ...trafficPart(all)];
}

const METHOD =
  "The server and all that it starts live in a memory control group with that limit. Its programs, " +
  "Node and Claude Code included, are copies whose pages nobody has in memory when the group " +
  "begins, so that the group pays for them as a container does. The load generator and the " +
  "rehearsal model are outside of it. Every answer streams 25 words a second for 8, 9 or 10 s; 8 " +
  "turns are offered every second, by the clock, each in a new session, whatever became of the " +
  "ones before. Held are the turns whose agent process is there, looked at every quarter of a " +
  "second; admitted are those and the ones that wait for the start of their process, and streaming " +
  "those that have text. A second of livelock is one in which at least half of the turns that " +
  "stream receive nothing. The physical limit is the highest number of turns at once that the same " +
  "load reaches without kill, lost turn or livelock when nothing but `capacity.maxTurns` holds it " +
  "back and the guard is off; it is found by trying. Where more were seen at once behind the gate, " +
  "it is that number. The CPU binds where many more are allowed than are ever there, because turns " +
  "end as fast as others can be started.";

function heldTable(all: readonly Carried[]): string {
  return table(
    ["", "formula", "measured", "after a restart", "physical limit", "measured / physical"],
    all.map(({ limit, formula, measured, restarted, physical, isCpuBound }) => [
      `${limit.limitBytes / GIB} GiB`,
      String(formula.held.median),
      String(measured.held.median),
      String(restarted.held.median),
      `${physical}${isCpuBound ? " (CPU)" : ""}`,
      (measured.held.median / physical).toFixed(2),
    ]),
  );
}

function partOf(carried: Carried): string[] {
  const { limit, measured, restarted, formula, probes } = carried;
  const rows = [
    ["measured", measured],
    ["after a restart", restarted],
    ["formula", formula],
  ] as const;
  const lines = (of: (run: Run) => string) => rows.map(([label, run]) => `${label} ${of(run)}`);
  return [
    `## ${limit.limitBytes / GIB} GiB`,
    `![Turns held and memory](${pictureOf(carried)})`,
    "Turns at once:",
    summaryTable(
      "turns",
      rows.flatMap(([label, { held, inFlight, streaming }]) => [
        [`${label}: held`, held] as const,
        [`${label}: admitted`, inFlight] as const,
        [`${label}: streaming`, streaming] as const,
      ]),
    ),
    "Time from the request to the first text, of admitted turns:",
    summaryTable(
      "ms",
      rows.map(([label, { firstTextMs }]) => [label, firstTextMs] as const),
    ),
    [
      `- Ended: ${lines(({ endings }) => countsOf(endings)).join("; ")}`,
      `- Shed: ${lines(({ sheds }) => countsOf(sheds)).join("; ")}`,
      `- Went wrong: ${lines((run) => failureOf(run) ?? "nothing").join("; ")}`,
      `- Last decision: ${measured.capacity.at(-1)?.lastDecision?.text ?? "none"}`,
    ].join("\n"),
    "Without a gate:",
    table(
      ["turns", "seen at once", "what happened"],
      probes.map(({ turns, reached, failure }) => [
        String(turns),
        String(reached),
        failure ?? "carried",
      ]),
    ),
  ];
}

function countsOf(counts: Readonly<Record<string, number>>): string {
  const words = Object.entries(counts).map(([word, count]) => `${count} ${word}`);
  return words.length === 0 ? "none" : words.join(", ");
}

function trafficPart(all: readonly Carried[]): string[] {
  const rows = all.map(({ limit, formula, measured, physical }) => {
    const of = ({ held }: Run) => trafficAt(held.median, SHED_RATIO);
    const most = trafficAt(physical, SHED_RATIO) / of(formula);
    return [
      `${limit.limitBytes / GIB} GiB`,
      String(formula.held.median),
      of(formula).toFixed(2),
      String(measured.held.median),
      of(measured).toFixed(2),
      (of(measured) / of(formula)).toFixed(1),
      most.toFixed(1),
    ];
  });
  return [
    "## What it is worth",
    "Traffic, in turns that would run at once if none were shed, of which 1 % is shed (Erlang's " +
      "loss formula, for turns that come independently of each other). Where the physical limit of the " +
      "machine itself is not worth ten times the formula, ten times are not claimed.",
    table(
      ["", "formula", "traffic", "measured", "traffic", "times", "at the physical limit"],
      rows,
    ),
  ];
}
