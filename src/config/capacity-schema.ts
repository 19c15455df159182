/**
 * The part `capacity` of plimsoll.yaml: how many turns the memory may carry. See `schema.ts`.
 *
 * @module
 */

import { z } from "zod";
import { bytesSchema } from "../lib/bytes.ts";
import { durationSchema } from "../lib/duration.ts";
import { needs } from "../lib/schema-issues.ts";

export const capacity = z
  .strictObject({
    memoryLimit: bytesSchema("256MiB", "64TiB")
      .optional()
      .describe(
        "Memory of the replica, where it is to use less than the cgroup or the machine says.",
      ),
    admission: z
      .enum(["measured", "static"])
      .default("measured")
      .describe(
        "`measured` admits by what memory is in use and what turns of the agent were seen to " +
          "hold; `static` by `parentReserve` and `turnReserve` alone, which is also what happens " +
          "where memory cannot be measured.",
      ),
    parentReserve: bytesSchema("64MiB", "64GiB")
      .prefault("400MiB")
      .describe("Memory set aside for the server itself, with static admission."),
    turnReserve: bytesSchema("32MiB", "64GiB")
      .prefault("500MiB")
      .describe(
        "Memory set aside for a turn of which nothing is known yet, and for every turn with " +
          "static admission: with 2GiB and the defaults, (2048 - 400) / 500 = 3 turns.",
      ),
    safetyReserve: bytesSchema("0B", "64GiB")
      .optional()
      .describe(
        "Memory kept free below the limit. By default what the shared text of Claude Code needs, " +
          "as measured, and 16MiB; nothing with static admission, whose reserves have a margin. " +
          "Set lower than that text, the replica may come to a standstill without a kill.",
      ),
    priorityReserve: bytesSchema("0B", "64GiB")
      .prefault("0B")
      .describe("Memory that only turns of keys with `priority: high` may use."),
    fairShare: z
      .boolean()
      .default(true)
      .describe(
        "Whether a tenant, or a caller within one, above its equal share is shed while others " +
          "that were shed are expected back. Nobody else asking, one may use all.",
      ),
    startsAtOnce: z
      .int()
      .min(1)
      .max(10_000)
      .optional()
      .describe("Agent processes that may start at the same time; by default one for each CPU."),
    startWait: durationSchema("0s", "2m")
      .prefault("10s")
      .describe(
        "Longest time an admitted turn may wait for its process to be started, since starts are " +
          "bound by CPU; a turn that would wait longer is shed.",
      ),
    guard: z
      .boolean()
      .default(true)
      .describe(
        "Whether the server ends what balloons before the kernel does. Off for experiments only.",
      ),
    maxTurns: z
      .int()
      .min(1)
      .max(100_000)
      .optional()
      .describe("Ceiling on turns at once, never a way past the load line; none by default."),
    maxResidents: z
      .int()
      .min(0)
      .max(100_000)
      .default(1_000)
      .describe(
        "Most agent processes that stay between turns; memory binds far earlier. Beyond it the " +
          "least recently used one ends.",
      ),
    warmTime: durationSchema("1s", "24h")
      .prefault("60s")
      .describe(
        "How long a process that was started ahead for a session waits for its turn, where the " +
          "agent has no `hosting.linger`, which is the time otherwise.",
      ),
    maxRetryAfter: durationSchema("1s", "1h")
      .prefault("10m")
      .describe(
        "Longest `Retry-After`. A wait that would be longer is cut, and no promise any more. " +
          "Callers who ask again before they were told to, or never, make others wait: up to this.",
      ),
    shedStatus: z
      .literal([429, 503])
      .default(429)
      .describe("HTTP status of a turn refused for load. Both carry `Retry-After`."),
    unreadyWhenFull: z
      .boolean()
      .default(false)
      .describe(
        "Answer /readyz with 503 while full, so that a load balancer looks elsewhere. With one " +
          "replica this turns `429` into connection errors.",
      ),
  })
  .refine(
    ({ admission, memoryLimit, parentReserve, turnReserve }) =>
      admission === "measured" ||
      memoryLimit === undefined ||
      memoryLimit >= parentReserve + turnReserve,
    {
      path: ["memoryLimit"],
      error: needs(
        "at least `parentReserve` + `turnReserve` with static admission",
        "Raise the limit or lower a reserve",
      ),
    },
  );
