/**
 * The part `sessions` of plimsoll.yaml: where conversations are kept. See `schema.ts`.
 *
 * @module
 */

import { z } from "zod";
import { bytesSchema } from "../lib/bytes.ts";
import { durationSchema } from "../lib/duration.ts";
import { needs } from "../lib/schema-issues.ts";

const STORE_SCHEMES = ["file", "redis", "rediss", "postgres", "postgresql", "s3"] as const;

/** Of a disk that nobody else bounds. */
export const USUAL_COPIES_SIZE = "10GiB";

export const sessions = z
  .strictObject({
    maxPerTenant: z
      .int()
      .min(1)
      .max(100_000_000)
      .default(100_000)
      .describe("Sessions kept for one tenant."),
    store: z
      .string()
      .max(2_000)
      .refine(isStoreUrl, {
        error: needs(
          "the URL of a store",
          "Write `redis://…`, `postgres://…`, `s3://bucket/prefix` or `file:///a/shared/directory`",
        ),
      })
      .optional()
      .describe(
        "Store that several replicas share, so that any of them can take the next turn of a " +
          "session: `redis://`, `postgres://`, `s3://` or a `file://` directory that all of them " +
          "see. Without it sessions are in `data.directory`, for this replica alone. Has secrets: " +
          "write `${SESSION_STORE}`.",
      )
      .meta({ secret: true }),
    replicaAddress: z
      .string()
      .max(300)
      .refine(isReplicaAddress, {
        error: needs(
          "the http or https URL of this replica",
          "Write scheme, host and port alone, such as `http://10.0.3.7:8080`; there is no path, and " +
            "no password",
        ),
      })
      .optional()
      .describe(
        "Where the other replicas of the store reach this one, such as `http://10.0.3.7:8080`: " +
          "whoever asks one of them for a turn that runs here then reaches it. Not the same for " +
          "all, so it is best a variable of the environment. Needs `sessions.store`.",
      ),
    storeTime: durationSchema("100ms", "1m")
      .prefault("5s")
      .describe("The most that one call of the store may take before it has failed."),
    leaseTime: durationSchema("3s", "10m")
      .prefault("30s")
      .describe(
        "How long a session stays with a replica that does not answer any more. A running turn " +
          "renews three times as often; what it says is in the store as late as that.",
      ),
    outboxSize: bytesSchema("1MiB", "1TiB")
      .prefault("1GiB")
      .describe(
        "Transcripts of sessions whose last turn the store has not heard of, as it did not answer. " +
          "With more, no turn is taken until it does.",
      ),
    copiesSize: bytesSchema("1MiB", "1024TiB")
      .prefault(USUAL_COPIES_SIZE)
      .describe(
        "What copies of the sessions of a store may take of `data.directory`, with the files that " +
          "tools have left there. With more, those go within a minute or two that were not used for " +
          "the longest, and are made again when they are needed; none goes in a turn. What " +
          "`outboxSize` is of does not count.",
      ),
    readsAtOnce: z
      .int()
      .min(1)
      .max(64)
      .default(2)
      .describe(
        "Sessions whose messages are read at once; one of 16 MiB takes about 115 MiB of " +
          "memory meanwhile. Further ones wait.",
      ),
    readWait: durationSchema("0s", "1m")
      .prefault("5s")
      .describe("How long such a read may wait before it is refused with 503."),
  })
  .refine(({ store, replicaAddress }) => replicaAddress === undefined || store !== undefined, {
    path: ["replicaAddress"],
    error: needs(
      "`sessions.store`, as replicas find each other in it",
      "Set the store that they share, or remove this line",
    ),
  });

function isStoreUrl(text: string): boolean {
  const scheme = URL.canParse(text) ? new URL(text).protocol.slice(0, -1) : "";
  return STORE_SCHEMES.some((known) => known === scheme);
}

/**
 * Whether it is the address of the replica itself: paths are ours to add, and no secret has a place
 * in it.
 */
function isReplicaAddress(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, pathname, username, password, search, hash } = new URL(text);
  const more = `${username}${password}${search}${hash}`;
  return /^https?:$/u.test(protocol) && pathname === "/" && more === "";
}
