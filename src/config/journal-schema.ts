/**
 * The part `journal` of plimsoll.yaml: what is held of the events of turns. See `schema.ts`.
 *
 * @module
 */

import { z } from "zod";
import { bytesSchema } from "../lib/bytes.ts";
import { durationSchema } from "../lib/duration.ts";

export const journal = z.strictObject({
  turnSize: bytesSchema("64KiB", "1GiB")
    .prefault("4MiB")
    .describe(
      "Events held of one turn, the newest. A reader that falls further behind is cut off; where " +
        "that leaves none, a turn that would be cancelled without a reader ends.",
    ),
  totalSize: bytesSchema("1MiB", "16GiB")
    .prefault("32MiB")
    .describe(
      "Events held of all turns together. Those of ended turns go first, then the oldest of the " +
        "running turn that has most.",
    ),
  keepTime: durationSchema("0s", "24h")
    .prefault("2m")
    .describe("How long the events of a turn are held after its end."),
  readers: z
    .int()
    .min(1)
    .max(10_000)
    .default(16)
    .describe("Readers that one turn may have at a time."),
});
