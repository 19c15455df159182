/**
 * A plan as people read it: in a terminal of 80 columns, and as Markdown. Pure.
 *
 * @module
 */

import { formatDuration } from "../lib/duration.ts";
import type { LoadedWorkload } from "../sizing/load-workload.ts";
import type { Plan } from "../sizing/plan.ts";
import { count, countOf, mebibytes } from "./figures.ts";
import type { Paint } from "./paint.ts";
import { alignedLines, markdownLines, type Table } from "./table.ts";

/** Options that are shown: the cheapest. */
const MOST_OPTIONS = 12;

export function planText(plan: Plan, loaded: LoadedWorkload, paint: Paint): string {
  const dimmed = ([head = "", ...lines]: readonly string[]) => [paint("dim", head), ...lines];
  const [head = "", advisedLine, ...others] = alignedLines(optionTable(plan, loaded));
  const options = advisedLine === undefined ? [] : [head, paint("bold", advisedLine), ...others];
  return toText([
    [paint("bold", headline(plan, loaded)), ...verdict(plan)],
    premises(plan, loaded).map((line) => paint("dim", line)),
    dimmed(options),
    impossible(plan).map((line) => paint("dim", line)),
    dimmed(alignedLines(variationTable(plan))),
    advice(plan),
  ]);
}

export function planMarkdown(plan: Plan, loaded: LoadedWorkload): string {
  return toText([
    [`**${headline(plan, loaded)}**`],
    verdict(plan),
    premises(plan, loaded).map((line) => `- ${line}`),
    markdownLines(optionTable(plan, loaded)),
    impossible(plan).map((line) => `- ${line}`),
    markdownLines(variationTable(plan)),
    [advice(plan).join(" ")],
  ]);
}

/** Paragraphs, with an empty line between those that say something. */
function toText(paragraphs: readonly (readonly string[])[]): string {
  const said = paragraphs.map((lines) => lines.join("\n")).filter((text) => text.trim() !== "");
  return `${said.join("\n\n")}\n`;
}

function headline({ advised }: Plan, { currency }: LoadedWorkload): string {
  if (advised === null) return "No size of replica can do this.";
  const { replicas, size, hourly } = advised;
  const cost = hourly === null ? "" : `, for ${money(hourly, currency)} an hour`;
  return `${countOf(replicas, "replica")} of ${size.name}${cost}`;
}

function verdict({ advised, workload }: Plan): readonly string[] {
  if (advised === null) return [];
  const target = `${Number((workload.shedTargetRatio * 100).toPrecision(6))} %`;
  return [`${percent(advised.shedRatio)} shed in the busiest hour; the target is ${target}`];
}

function premises({ workload, offered }: Plan, { profile, priceSource }: LoadedWorkload): string[] {
  const { users, turnsPerUserHour, turnMs, turnsPerSession, balancing, retryRatio } = workload;
  const retry = retryRatio === 0 ? "" : `; ${percent(retryRatio)} of the refused try again at once`;
  const { name } = profile.agent;
  const { plimsoll, sdk } = profile.versions;
  return [
    `${count(users)} users × ${count(turnsPerUserHour)} turns an hour × ` +
      `${seconds(turnMs)} = ${figure(offered)} turns in flight on average`,
    `${count(turnsPerSession)} turns a conversation; ${BALANCED[balancing]}${retry}`,
    `profile: ${name}, ${profile.measuredAt.slice(0, 10)}, ${profile.model}, ` +
      `plimsoll ${plimsoll}, SDK ${sdk}`,
    ...(priceSource === null ? [] : [`prices: ${priceSource}`]),
  ];
}

const BALANCED = {
  random: "spread at random over the replicas",
  pooled: "to a replica that has room, if there is one",
} as const;

/** The cheapest first, which is the one advised. */
function optionTable({ options }: Plan, { currency }: LoadedWorkload): Table {
  const shown = options.filter((option) => option.isPossible).slice(0, MOST_OPTIONS);
  const head = ["replica", "turns", "binds", "replicas", "shed", "busy"];
  const rows = shown.map((option) => [
    option.size.name,
    count(option.replica.turns),
    option.replica.binds,
    count(option.replicas),
    percent(option.shedRatio),
    percent(option.utilizationRatio),
    ...(currency === null ? [] : [money(option.hourly ?? 0, currency)]),
  ]);
  return { head: currency === null ? head : [...head, "an hour"], rows, figures: [1, 3, 4, 5, 6] };
}

function variationTable({ variations }: Plan): Table {
  return {
    head: ["the same replicas, with", "shed"],
    rows: variations.map(({ change, shedRatio }) => [change, percent(shedRatio)]),
    figures: [1],
  };
}

function impossible({ options }: Plan): readonly string[] {
  return options.flatMap((option) =>
    option.isPossible ? [] : [`${option.size.name}: ${option.why}`],
  );
}

function advice({ advised, workload, pooledReplicas }: Plan): readonly string[] {
  if (advised === null) return [];
  const { replica, replicas, size } = advised;
  const { turns, memoryTurns, cpuTurns, turnBytes, serverBytes, loadLineBytes } = replica;
  const binds =
    replica.binds === "memory"
      ? `memory binds, its CPUs would carry ${count(cpuTurns)}`
      : `CPU binds, its memory would carry ${count(memoryTurns)}`;
  const isPenalty = workload.balancing === "random" && (pooledReplicas ?? replicas) < replicas;
  return [
    `A replica carries ${countOf(turns, "turn")}: ${binds}.`,
    `Below its load line at ${mebibytes(loadLineBytes)}: the server and idle sessions ` +
      `${mebibytes(serverBytes)},`,
    `each turn ${mebibytes(turnBytes)}, and a pool for those that hold more.`,
    ...(isPenalty
      ? [
          `Many small gates: if a turn found room wherever there is some,`,
          `${countOf(pooledReplicas ?? replicas, "replica")} of ${size.name} would do.`,
        ]
      : []),
  ];
}

/** `0.84 %`; two digits that count. */
function percent(ratio: number): string {
  const value = ratio * 100;
  if (value === 0) return "0 %";
  if (value < 0.01) return "< 0.01 %";
  return `${value >= 10 ? Math.round(value) : value.toPrecision(2)} %`;
}

function figure(value: number): string {
  return value >= 100 ? count(Math.round(value)) : String(Number(value.toPrecision(3)));
}

function seconds(durationMs: number): string {
  return durationMs % 1000 === 0 ? formatDuration(durationMs) : `${figure(durationMs / 1000)}s`;
}

/** `$1.52`, `1.52 CHF`; no sign where no currency is named. */
function money(amount: number, currency: string | null): string {
  const text = amount.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  if (currency === "USD") return `$${text}`;
  return currency === null || currency === "" ? text : `${text} ${currency}`;
}
