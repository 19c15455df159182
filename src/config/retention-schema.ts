/**
 * The part `retention` of plimsoll.yaml: how long sessions are kept, and how many. See `schema.ts`.
 *
 * @module
 */

import { z } from "zod";
import { bytesSchema } from "../lib/bytes.ts";
import { durationSchema } from "../lib/duration.ts";

export const retention = z.strictObject({
  maxIdle: durationSchema("1m", "36500d")
    .prefault("90d")
    .describe("A session goes when it had no turn for so long."),
  maxAge: durationSchema("1m", "36500d")
    .optional()
    .describe("A session goes so long after its start, however much it is used; never by default."),
  sessionsPerTenant: z
    .int()
    .min(1)
    .max(100_000_000)
    .optional()
    .describe(
      "Sessions that a tenant may keep; above, those go that had no turn for the longest. Unlike " +
        "`sessions.maxPerTenant`, which refuses new ones. No limit by default.",
    ),
  bytesPerTenant: bytesSchema("1MiB", "1024TiB")
    .optional()
    .describe("What the sessions of a tenant may take of the disk; no limit by default."),
  maxBytes: bytesSchema("1MiB", "1024TiB")
    .optional()
    .describe("What all sessions may take of the disk; no limit by default."),
  keepFree: bytesSchema("1MiB", "1024TiB")
    .optional()
    .describe(
      "What must be left free of the file system of `data.directory`: with less, sessions go within a " +
        "minute, and with less than half of it faster; no limit by default.",
    ),
  sweepInterval: durationSchema("1m", "24d")
    .prefault("1h")
    .describe("How often the sessions are looked through for those that have to go."),
});
