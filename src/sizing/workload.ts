/**
 * What a fleet has to carry, and what it is allowed to shed: the file that `plimsoll plan` reads.
 *
 * @module
 */

import { z } from "zod";
import { bytesSchema } from "../lib/bytes.ts";
import { durationSchema } from "../lib/duration.ts";
import { percentSchema } from "../lib/percent.ts";
import { rateSchema } from "../lib/rate.ts";
import { isObject } from "../lib/is-object.ts";
import { needs } from "../lib/schema-issues.ts";

/** Callers in one hour: more than live on earth are a mistake. */
const MOST_USERS = 10_000_000_000;
/** Replicas of a plan at most. */
export const MOST_REPLICAS = 10_000;

export const BALANCING = ["random", "pooled"] as const;

/** A size of replica that can be had. */
const Size = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(80)
    .optional()
    .describe("What the platform calls it; made from memory and CPUs without it."),
  memory: bytesSchema("256MiB", "64TiB").describe("Memory limit of the replica."),
  cpus: z.number().positive().max(4096).describe("CPUs of the replica; may be a fraction."),
  hourly: z
    .number()
    .min(0)
    .max(1e9)
    .optional()
    .describe("Price of one for an hour; from the price file without it."),
});

export const WorkloadFile = z
  .strictObject({
    profile: z
      .string()
      .min(1)
      .describe("What `plimsoll measure` wrote for the agent; relative to this file."),
    prices: z.string().min(1).optional().describe("Price file; relative to this file."),
    users: z
      .number()
      .positive()
      .max(MOST_USERS)
      .describe("People who use the agent in the busiest hour."),
    turnsPerUserHour: z
      .number()
      .positive()
      .max(100_000)
      .optional()
      .describe("Turns that each of them asks for in that hour; needed without a trace."),
    trace: z
      .string()
      .min(1)
      .optional()
      .describe(
        "A [table of turns](simulate.md#a-trace) that came, relative to this file: how many, in place " +
          "of `turnsPerUserHour`, and how long, unless `turnDuration` says it.",
      ),
    traceWindow: durationSchema("1m", "30d")
      .prefault("10m")
      .describe("The busiest so long part of the trace is what is planned for."),
    turnDuration: durationSchema("100ms", "24h")
      .optional()
      .describe(
        "How long a turn lasts on average, with your model; without it as the trace says, or as was " +
          "measured. Only the mean matters, whatever the distribution.",
      ),
    turnsPerSession: z
      .number()
      .min(1)
      .max(100_000)
      .prefault(10)
      .describe("Turns of a conversation: each resumes the transcript of those before it."),
    transcriptPerTurn: bytesSchema("0B", "1GiB")
      .optional()
      .describe("By how much a turn makes the transcript longer; what was measured without it."),
    sessionsPerUser: z
      .number()
      .min(0)
      .max(10_000)
      .prefault(1)
      .describe("Conversations of a user that are open at the same time."),
    shedTarget: percentSchema(0.0001, 50)
      .prefault("1%")
      .describe("Part of the attempts that may be refused in the busiest hour."),
    retryShare: percentSchema(0, 100)
      .prefault("0%")
      .describe("Part of the refused callers that try again at once, each time."),
    balancing: z
      .enum(BALANCING)
      .default("random")
      .describe(
        "`random`: a refused turn is refused, though another replica had room, as with a service " +
          "that only spreads; `pooled`: a turn finds room where there is some, as with a balancer " +
          "that goes by requests in flight and on to the next replica after a 429.",
      ),
    minReplicas: z
      .int()
      .min(1)
      .max(MOST_REPLICAS)
      .default(2)
      .describe("Fewest replicas: with one, each deployment and each crash stops all."),
    killsAll: z
      .boolean()
      .default(false)
      .describe(
        "Whether at its memory limit a replica is ended as a whole, as on Kubernetes (`killsAll` of " +
          "`/capacity`): its memory guard has to be first, and more is kept free.",
      ),
    modelRequests: rateSchema
      .optional()
      .describe("Requests that the model takes, by the limit of its provider: `4000/min`."),
    requestsPerTurn: z
      .number()
      .min(1)
      .max(10_000)
      .prefault(1)
      .describe("Requests of a turn to the model: one, and one more after each round of tools."),
    modelTokens: rateSchema
      .optional()
      .describe("Tokens that the model takes, by the limit of its provider: `2000000/min`."),
    tokensPerTurn: z
      .number()
      .positive()
      .max(1e9)
      .optional()
      .describe("Tokens of a turn, counted as that limit counts them."),
    sizes: z
      .array(Size)
      .min(1)
      .max(200)
      .optional()
      .describe("Sizes to choose from; 1 to 16 GiB with 1, 2 and 4 CPUs without it."),
  })
  .refine(
    ({ turnsPerUserHour, trace }) => (turnsPerUserHour === undefined) !== (trace === undefined),
    {
      path: ["turnsPerUserHour"],
      error: needs("a number, or else a `trace`", "Give one of the two"),
      // Told with all that else is wrong, and not only when nothing is.
      when: ({ value }) => isObject(value),
    },
  )
  .refine(
    ({ modelTokens, tokensPerTurn }) => modelTokens === undefined || tokensPerTurn !== undefined,
    {
      path: ["tokensPerTurn"],
      error: needs("a number, since there is `modelTokens`", "Say how many a turn takes"),
      when: ({ value }) => isObject(value),
    },
  );

export type WorkloadFile = z.output<typeof WorkloadFile>;

export const PriceFile = z.strictObject({
  currency: z.string().min(1).max(8).describe("As it is printed, e.g. `USD`."),
  source: z.string().max(500).optional().describe("Where the prices are from, and of when."),
  cpuHour: z.number().min(0).max(1e9).describe("Price of one CPU for an hour."),
  gibHour: z.number().min(0).max(1e9).describe("Price of one GiB of memory for an hour."),
});

export type PriceFile = z.output<typeof PriceFile>;
