/**
 * The scenario file: every key with its meaning, range and default.
 *
 * @module
 */

import { z } from "zod";
import { bytesSchema } from "../../lib/bytes.ts";
import { durationSchema } from "../../lib/duration.ts";
import { rateSchema } from "../../lib/rate.ts";
import { ARRIVAL_PROCESSES } from "./arrivals.ts";
import { BALANCING_POLICIES } from "./balancer.ts";
import { LAW_NAMES } from "./laws.ts";
import { CLIENT_POLICIES } from "./retry-policy.ts";

/** Bounds that no scenario passes. */
const MAX_REPLICAS = 10_000;
const MAX_TURNS = 10_000_000;
const MAX_EVENTS = 1_000_000_000;
const MAX_DEPLOYS = 100;
const MAX_BURSTS = 100;

export const ReplicaCount = z.int().min(1).max(MAX_REPLICAS);
export const Seed = z
  .int()
  .min(0)
  .max(2 ** 31 - 1);
export const RunCount = z.int().min(1).max(1000);
const ratio = z.number().min(0).max(1);
const moment = durationSchema("0s", "365d");
const path = z.string().min(1).max(4096);

const burst = z.strictObject({
  at: moment.describe("When it begins."),
  length: durationSchema("1s", "30d").describe("How long it lasts."),
  factor: z.number().min(0).max(1000).describe("How many times as many come; 0 for nobody."),
});

const arrivals = z.strictObject({
  process: z
    .enum(ARRIVAL_PROCESSES)
    .default("poisson")
    .describe("How turns come: independently, in spells, by day, or as a trace has it."),
  rate: rateSchema.optional().describe("Turns asked for, on average. Not with a trace."),
  trace: path.optional().describe("Table of turns that came, relative to this file."),
  bursty: z
    .strictObject({
      factor: z.number().min(1).max(1000).default(5).describe("Rate in a burst against calm."),
      length: durationSchema("1s", "1d").prefault("1m").describe("Mean length of a burst."),
      calm: durationSchema("1s", "30d").prefault("9m").describe("Mean time between bursts."),
    })
    .prefault({})
    .describe("For `process: bursty`. The mean over all stays `rate`."),
  diurnal: z
    .strictObject({
      swing: ratio.default(0.8).describe("How far the rate goes up and down, as part of the mean."),
      period: durationSchema("1m", "30d").prefault("24h").describe("From one low to the next."),
    })
    .prefault({})
    .describe("For `process: diurnal`: a sine that begins at its lowest."),
  bursts: z
    .array(burst)
    .max(MAX_BURSTS)
    .default([])
    .describe("Times in which more come than otherwise, by any process but a trace."),
});

const sessions = z.strictObject({
  turns: z.number().min(1).max(10_000).default(1).describe("Turns of a session, on average."),
  pause: durationSchema("0s", "1d").prefault("30s").describe("Between two of them, on average."),
});

const time = durationSchema("0s", "1d");
const turns = z.strictObject({
  law: z.enum(LAW_NAMES).default("lognormal").describe("Distribution of how long turns take."),
  mean: durationSchema("1ms", "1d").optional().describe("Mean duration; the profile's without it."),
  p95: durationSchema("1ms", "1d")
    .optional()
    .describe("95th percentile, for `lognormal`; the profile's without it and `mean`."),
  variation: z
    .number()
    .min(1)
    .max(20)
    .default(2)
    .describe("Standard deviation as part of the mean, for `hyperexponential`."),
  firstToken: time.optional().describe("Mean time to first token alone; the profile's without it."),
  startCpu: time.optional().describe("CPU time of a start; the profile's without it."),
  transcript: bytesSchema("0B", "1GiB")
    .prefault("0B")
    .describe("Transcript of a session that begins."),
});

const replicas = z.strictObject({
  count: ReplicaCount.default(3).describe("Replicas at the beginning."),
  memory: bytesSchema("64MiB", "16TiB").prefault("2GiB").describe("Memory limit of each."),
  cpus: z.number().min(0.1).max(1024).default(2).describe("Cores of each."),
  killsAll: z
    .boolean()
    .default(false)
    .describe("Whether it is ended as a whole at its limit, as on Kubernetes; see `plan`."),
  maxTurns: z.int().min(1).max(10_000).optional().describe("`capacity.maxTurns`; none without it."),
  startWait: durationSchema("0s", "2m").prefault("10s").describe("`capacity.startWait`."),
  maxRetryAfter: durationSchema("1s", "1h").prefault("10m").describe("`capacity.maxRetryAfter`."),
  linger: durationSchema("0s", "1d")
    .prefault("0s")
    .describe("How long a process is kept for the next turn of its session."),
  coldStart: durationSchema("0s", "1h")
    .prefault("30s")
    .describe("From the decision to start a replica until it takes turns."),
  drainGrace: durationSchema("0s", "1h").prefault("25s").describe("`drain.grace`."),
});

const balancer = z.strictObject({
  policy: z
    .enum(BALANCING_POLICIES)
    .default("least-requests")
    .describe("Which replica an attempt is sent to."),
  tries: z
    .int()
    .min(1)
    .max(100)
    .default(1)
    .describe("Replicas that an attempt is sent to, one after the other, until one admits it."),
});

const clients = z.strictObject({
  policy: z.enum(CLIENT_POLICIES).default("retry-after").describe("What who was refused does."),
  maxAttempts: z.int().min(1).max(1000).default(5).describe("The first included."),
  patience: durationSchema("0s", "1d")
    .optional()
    .describe("No attempt is made later than this after the first; any time without it."),
  retryShare: ratio.default(1).describe("Part of the refused who try again, each time."),
  pause: durationSchema("1ms", "1h")
    .prefault("1s")
    .describe("Before the next attempt: `blind` always, `backoff` at first."),
  longestPause: durationSchema("1ms", "1d").prefault("1m").describe("Of `backoff`."),
  spread: z
    .enum(["none", "exponential"])
    .default("none")
    .describe("Of `blind`: pauses all alike, or by chance with that mean."),
});

const autoscaler = z.strictObject({
  min: ReplicaCount.default(1).describe("Fewest replicas."),
  max: ReplicaCount.describe("Most replicas."),
  target: z
    .number()
    .min(0.05)
    .max(1)
    .default(0.7)
    .describe("Turns in flight as part of what there is room for."),
  interval: durationSchema("1s", "1h").prefault("15s").describe("Between two decisions."),
  lag: durationSchema("0s", "1h").prefault("30s").describe("Age of the figure it decides on."),
  scaleDownAfter: durationSchema("0s", "1d")
    .prefault("5m")
    .describe("For how long fewer must have been enough."),
});

const failures = z.strictObject({
  every: durationSchema("1s", "3650d").describe("Mean time between failures of one replica."),
  restart: durationSchema("0s", "1d")
    .prefault("30s")
    .describe("From a failure until the replica takes turns again."),
});

const deploy = z.strictObject({
  at: moment.describe("When it begins."),
  surge: z.int().min(0).max(MAX_REPLICAS).default(1).describe("Replicas beyond those wanted."),
  unavailable: z
    .int()
    .min(0)
    .max(MAX_REPLICAS)
    .default(0)
    .describe("Replicas that may be missing."),
});

const limits = z.strictObject({
  turns: z.int().min(1).max(MAX_TURNS).default(2_000_000).describe("Most turns."),
  events: z.int().min(1).max(MAX_EVENTS).default(200_000_000).describe("Most events."),
});

export const ScenarioFile = z.strictObject({
  profile: path.optional().describe("Profile of the agent, relative to this file."),
  seed: Seed.default(1).describe("The same seed gives the same result."),
  runs: RunCount.default(1).describe(
    "How often, with the seed and those after it. With 5 or more the spread is told.",
  ),
  duration: durationSchema("1s", "365d").prefault("1h").describe("In which turns arrive."),
  warmUp: durationSchema("0s", "30d")
    .optional()
    .describe("Not counted, since the fleet is empty at first; a tenth of `duration` without it."),
  arrivals: arrivals.prefault({}).describe("When turns are asked for."),
  sessions: sessions.prefault({}).describe("Conversations that turns belong to; not with a trace."),
  turns: turns.prefault({}).describe("What a turn is like, where it differs from the profile."),
  replicas: replicas.prefault({}).describe("What each replica is like."),
  balancer: balancer.prefault({}).describe("How attempts are spread."),
  clients: clients.prefault({}).describe("What who was refused does."),
  autoscaler: autoscaler.optional().describe("None without it."),
  failures: failures.optional().describe("None without it."),
  deploys: z.array(deploy).max(MAX_DEPLOYS).default([]).describe("Rolling deploys."),
  limits: limits.prefault({}).describe("What ends a simulation that is too large."),
});

export type ScenarioFile = z.output<typeof ScenarioFile>;
