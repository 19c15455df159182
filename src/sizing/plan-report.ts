/**
 * A plan as a report. Pure.
 *
 * @module
 */

import { formatDuration } from "../lib/duration.ts";
import { count, countOf, mebibytes } from "../lib/figures.ts";
import type { LoadedWorkload } from "./load-workload.ts";
import { type PlannedFleet, modelIsShort, type Plan } from "./plan.ts";
import type { Fact, Report, Section } from "./report.ts";

/** Options that are shown: the cheapest. */
const MOST_OPTIONS = 12;

export function planReport(plan: Plan, loaded: LoadedWorkload): Report {
  const { advised } = plan;
  return {
    title: `A plan for the agent ${loaded.profile.agent.name}`,
    answer: answerOf(plan, loaded),
    sections: [
      workloadSection(plan, loaded),
      sizesSection(plan, loaded),
      ...(advised === null
        ? []
        : [breakingSection(plan), changesSection(plan), replicaSection(plan, advised)]),
    ],
  };
}

function answerOf({ advised, workload }: Plan, { currency }: LoadedWorkload): string {
  const { model, users, turnsPerUserHour } = workload;
  if (model !== null && modelIsShort(workload)) {
    return (
      `No number of replicas can do this: by its limit of ${model.binds} the model takes ` +
      `${figure(model.turnsPerHour)} turns an hour, and ${figure(users * turnsPerUserHour)} are ` +
      "asked for."
    );
  }
  if (advised === null) {
    return "No size of replica can do this. Larger `sizes`, a looser `shedTarget` or fewer users may.";
  }
  const { replicas, size, hourly, shedRatio } = advised;
  const cost = hourly === null ? "" : ` for ${money(hourly, currency)} an hour`;
  const target = `${Number((workload.shedTargetRatio * 100).toPrecision(6))} %`;
  return (
    `${countOf(replicas, "replica")} of ${size.name}${cost}: ${percent(shedRatio)} of the ` +
    `attempts are shed in the busiest hour, the target is ${target}.`
  );
}

function workloadSection({ workload, offered }: Plan, loaded: LoadedWorkload): Section {
  const { users, turnsPerUserHour, turnMs, turnsPerSession, balancing, retryRatio, model } =
    workload;
  const { profile, priceSource, busiest } = loaded;
  const { plimsoll, sdk } = profile.versions;
  const rows: readonly Fact[] = [
    [
      "traffic",
      `${count(users)} users × ${figure(turnsPerUserHour)} turns an hour × ${seconds(turnMs)}`,
    ],
    ...(busiest === null
      ? []
      : [
          [
            "",
            `as in the busiest part of the trace: ${countOf(busiest.turns, "turn")} from ${seconds(busiest.fromMs)} on`,
          ] as const,
        ]),
    ["", `= ${figure(offered)} turns in flight on average, if none were shed`],
    ...(model === null
      ? []
      : [
          [
            "model",
            `takes ${figure(model.turnsPerHour)} turns an hour, by its limit of ${model.binds}`,
          ] as const,
        ]),
    ["conversations", `${countOf(turnsPerSession, "turn")} each`],
    ["balancing", BALANCED[balancing]],
    ...(retryRatio === 0
      ? []
      : [["retries", `${percent(retryRatio)} of the refused, at once`] as const]),
    ["profile", `of ${profile.measuredAt.slice(0, 10)}, model ${profile.model}`],
    ["", `Plimsoll ${plimsoll}, Agent SDK ${sdk}`],
    ...(priceSource === null ? [] : [["prices", priceSource] as const]),
  ];
  const paragraphs = loaded.warnings.map((warning) => `Mind: ${warning}.`.replace(/\.\.$/u, "."));
  return { title: "What is asked", paragraphs, facts: rows };
}

const BALANCED = {
  random: "at random over the replicas",
  pooled: "to a replica that has room, if there is one",
} as const;

/** The cheapest first, which is the one advised. */
function sizesSection({ options }: Plan, { currency }: LoadedWorkload): Section {
  const head = ["replica", "turns", "binds", "replicas", "shed", "busy"];
  const possible = options.filter((option) => option.isPossible);
  const rows = possible
    .slice(0, MOST_OPTIONS)
    .map((option) => [
      option.size.name,
      count(option.replica.turns),
      WHAT[option.replica.binds],
      count(option.replicas),
      percent(option.shedRatio),
      percent(option.utilizationRatio),
      ...(currency === null ? [] : [money(option.hourly ?? 0, currency)]),
    ]);
  const cheapest = currency === null ? "least memory" : "cheapest";
  return {
    title: `Sizes that can do it, the ${cheapest} first`,
    paragraphs: options.flatMap((option) =>
      option.isPossible ? [] : [`${option.size.name}: ${option.why}.`],
    ),
    ...(rows.length > 0 && {
      table: { head: currency === null ? head : [...head, "an hour"], rows },
    }),
  };
}

const WHAT = { memory: "memory", cpu: "CPU", model: "the model" } as const;

/** What gives way first as users grow, with the same replicas; each thing for itself. */
function breakingSection({ workload, breaking }: Plan): Section {
  const { users, model } = workload;
  const rows = breaking.map(({ what, usersRatio }) => [
    WHAT[what],
    figure(Math.floor(users * usersRatio)),
    `${figure(usersRatio)} ×`,
  ]);
  const untold =
    "The limit of the model is not in this: `modelRequests` and `modelTokens` of the workload tell it.";
  return {
    title: "What breaks first, as users grow",
    paragraphs: [
      "Each for itself, the others being enough: memory and CPU of these replicas hold the target " +
        "up to so many users.",
      ...(model === null ? [untold] : []),
    ],
    table: { head: ["what", "users", "of the plan"], rows },
  };
}

function changesSection({ variations }: Plan): Section {
  return {
    title: "What the same replicas shed",
    paragraphs: [],
    table: {
      head: ["with", "shed"],
      rows: variations.map(({ change, shedRatio }) => [change, percent(shedRatio)]),
    },
  };
}

function replicaSection({ workload, pooledReplicas }: Plan, advised: PlannedFleet): Section {
  const { replica, replicas, size } = advised;
  const { turns, memoryTurns, cpuTurns, turnBytes, serverBytes, loadLineBytes } = replica;
  const binds =
    replica.binds === "memory"
      ? `memory binds, its CPUs would carry ${count(cpuTurns)}`
      : `CPU binds, its memory would carry ${count(memoryTurns)}`;
  const isPenalty = workload.balancing === "random" && (pooledReplicas ?? replicas) < replicas;
  return {
    title: "What fills a replica",
    paragraphs: [
      `It carries ${countOf(turns, "turn")}: ${binds}. Below its load line at ` +
        `${mebibytes(loadLineBytes)} are ${mebibytes(serverBytes)} for the server and idle ` +
        `sessions, ${mebibytes(turnBytes)} for each turn, and a pool for those that hold more.`,
      ...(isPenalty
        ? [
            "Many small gates shed more than one large one: if a turn found room wherever there is " +
              `some, ${countOf(pooledReplicas ?? replicas, "replica")} of ${size.name} would do.`,
          ]
        : []),
    ],
  };
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
