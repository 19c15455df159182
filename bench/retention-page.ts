/**
 * What the page of `retention` says, and what has to hold. Pure.
 *
 * @module
 */

import { summaryTable, table } from "./page.ts";
import { atLeast, atMost, type BenchmarkOutcome, type Claim } from "./result.ts";
import type { RoundResult, Scale } from "./retention.ts";
import { median, summaryOf } from "./statistics.ts";

const SLOWDOWN_LIMIT_RATIO = 0.05;
/** Else a sweep would not keep up with what turns begin while it deletes. */
const PACE_RATIO = 3;
/** Of what turns begin in an hour, `retention.sweepInterval`. */
const HOUR_SHARE_RATIO = 1 / 3;
const HOUR_S = 3_600;

const percent = (ratio: number) => `${(ratio * 100).toFixed(1)} %`;
const times = (ratio: number) => `${ratio.toFixed(1)} times`;

export function describeRound(round: RoundResult | undefined): string {
  if (round === undefined) return "";
  const { name, deleted, seen, lookMs, deleteMs, quietMs, sweptMs } = round;
  const gone = `${name}: ${deleted} of ${seen} gone, ${seconds(lookMs)} s of looking and `;
  if (quietMs.length === 0) return `${gone}${seconds(deleteMs)} s of deleting`;
  const turns = [quietMs, sweptMs].map((each) => `${Math.round(median(each))} ms`);
  return `${gone}${seconds(deleteMs)} s of deleting; a turn took ${turns.join(" and meanwhile ")}`;
}

export function outcomeOf(
  rounds: readonly RoundResult[],
  scale: Scale,
  isMounted: boolean,
): BenchmarkOutcome {
  return {
    claims: [
      ...claimsOfLimits(rounds),
      ...(scale.firstSweepMs === null ? [] : claimsOfPace(rounds)),
    ],
    data: { scale, isMounted, rounds },
    sections: sectionsOf(rounds, scale, isMounted),
  };
}

function claimsOfLimits(rounds: readonly RoundResult[]): Claim[] {
  const limits = rounds.flatMap((round) => round.limits);
  const missed = limits.filter(({ isReached, deleted }) => !isReached || deleted === 0).length;
  const needless = limits.reduce((sum, limit) => sum + limit.needless, 0);
  const touched = rounds.reduce((sum, round) => sum + round.touched, 0);
  return [
    atMost(`Limits not reached within one sweep, of ${limits.length}`, 0, missed, String),
    atMost("Sessions that went and could have stayed", 0, needless, String),
    atMost("Sessions in a turn or on hold that a sweep touched", 0, touched, String),
  ];
}

function claimsOfPace(rounds: readonly RoundResult[]): Claim[] {
  const redis = rounds.filter(({ name }) => name === "redis");
  const onDisk = rounds.filter(({ name }) => name !== "redis");
  return [
    slowdownClaim("How much longer a turn takes during a sweep, medians", onDisk),
    slowdownClaim(
      "The same where too little of the disk is free",
      onDisk.filter(({ name }) => name === "disk"),
    ),
    ...(redis.length === 0
      ? []
      : [
          slowdownClaim(
            "The same in Redis: how much longer a turn takes during a sweep, medians",
            redis,
          ),
        ]),
    atLeast(
      "Sessions deleted in a second, by those that turns begin in it, the worst round",
      PACE_RATIO,
      Math.min(...onDisk.map(paceOf)),
      times,
    ),
    atMost(
      "Of the time until the next sweep, what one takes for all that was begun since the last, the worst round",
      HOUR_SHARE_RATIO,
      Math.max(...rounds.map(hourShareOf)),
      percent,
    ),
  ];
}

function slowdownClaim(text: string, rounds: readonly RoundResult[]): Claim {
  return atMost(text, SLOWDOWN_LIMIT_RATIO, slowdownOf(rounds), percent);
}

/** Each turn is compared with those just before and after the sweep that it ran beside. */
function slowdownOf(rounds: readonly RoundResult[]): number {
  const ratios = rounds.flatMap(({ quietMs, sweptMs }) => {
    const quiet = median(quietMs);
    return sweptMs.map((each) => each / quiet);
  });
  return median(ratios) - 1;
}

function deletedPerSecond({ deleted, deleteMs }: RoundResult): number {
  return (1_000 * deleted) / Math.max(1, deleteMs);
}

function paceOf(round: RoundResult): number {
  return deletedPerSecond(round) / round.begunPerSecond;
}

/** Each of them is looked at and deleted, at the pace of this sweep. */
function hourShareOf({ seen, deleted, lookMs, deleteMs, begunPerSecond }: RoundResult): number {
  const begun = begunPerSecond * HOUR_S;
  return (begun * (lookMs / seen + deleteMs / deleted)) / 1_000 / HOUR_S;
}

const ROUND_TEXT = {
  time: "files, by time",
  number: "files, by number",
  bytes: "files, by bytes",
  disk: "files, too little of the disk free",
  redis: "in Redis, by number",
} as const;

function sectionsOf(rounds: readonly RoundResult[], scale: Scale, isMounted: boolean): string[] {
  const { sessions, cohortSize, onHold } = scale;
  const number = (value: number) => value.toLocaleString("en");
  return [
    `A data directory with ${number(sessions)} sessions and more of five tenants, each with the ` +
      "transcript and all other files of a real turn, " +
      (isMounted
        ? "on an ext4 of its own. "
        : "without a disk of its own, so without `keepFree`. ") +
      "In each round a server is started with other limits of `retention`, by which some " +
      `${number(cohortSize)} have to go, and sweeps by itself a minute later. Two turns run at once ` +
      "all the time and fill both cores, each in a new session of one more tenant. Before all others " +
      `${onHold} would go that are on hold, and one in which a turn streams. What had to go is found ` +
      "on the disk, by order and number, without the code that decides it.",
    "## Limits",
    table(
      ["limit", "set to", "gone for it", "reached", "gone without need"],
      rounds.flatMap(({ limits }) =>
        limits.map(({ name, setting, deleted, isReached, needless }) => {
          return [name, setting, number(deleted), isReached ? "yes" : "**no**", String(needless)];
        }),
      ),
    ),
    "More go for `maxBytes` and `keepFree` than were meant to: what turns begin in the minute before " +
      "the sweep takes its bytes, too.",
    "## Sweeps",
    sweepTable(rounds),
    "A sweep takes 3 % of the CPU of the replica, of sessions in a store 2 %, as that may be on the " +
      "same cores. Only where not even half of `keepFree` is free it takes half a core, which turns " +
      "would feel; here more is. In Redis nobody sees from outside when it has looked, so both times are one.",
    `It must delete ${PACE_RATIO} times as many as turns begin meanwhile, or a disk fills up behind it; ` +
      "and what a replica as busy as this one begins in an hour, the default `retention.sweepInterval`, " +
      "must be looked at and deleted in a third of that: a sweep is then over long before the next one, " +
      "also on a machine half as fast.",
    "## Turns, from the request to the end",
    "In the minute before a sweep, but for its first ten seconds, and in half a minute after it; and " +
      "meanwhile. Each turn is compared with the median of those before and after the same sweep.",
    summaryTable(
      "ms",
      rounds.flatMap((round) => [
        [`${ROUND_TEXT[round.name]}: before and after`, summaryOf(round.quietMs)] as const,
        ["during the sweep", summaryOf(round.sweptMs)] as const,
      ]),
    ),
  ];
}

function sweepTable(rounds: readonly RoundResult[]): string {
  return table(
    [
      "sessions",
      "seen",
      "gone",
      "MiB freed",
      "looked for, s",
      "deleted for, s",
      "gone a second",
      "begun a second",
      "turns took longer by",
    ],
    rounds.map((round) => {
      const isSplit = round.name !== "redis";
      return [
        ROUND_TEXT[round.name],
        String(round.seen),
        String(round.deleted),
        round.freedMib.toFixed(1),
        isSplit ? seconds(round.lookMs) : "",
        seconds(round.deleteMs),
        deletedPerSecond(round).toFixed(1),
        round.begunPerSecond.toFixed(1),
        percent(slowdownOf([round])),
      ];
    }),
  );
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(1);
}
