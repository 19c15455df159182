/**
 * The part `console` of plimsoll.yaml: the page that shows the replica. See `schema.ts`.
 *
 * @module
 */

import { z } from "zod";
import { durationSchema } from "../lib/duration.ts";
import { needs } from "../lib/schema-issues.ts";
import { name } from "./name-schema.ts";

const replica = z.strictObject({
  name: name.describe("What the page calls it; unique."),
  url: z
    .string()
    .max(2_000)
    .refine(isBaseUrl, {
      error: needs(
        "the http or https URL of a replica",
        "Write scheme, host and port, such as `https://b.agents.internal`; the key goes into `key`",
      ),
    })
    .describe("Where it listens, as this server reaches it; with a path where it is behind one.")
    .meta({ secret: true }),
  key: z
    .string()
    .regex(/^[\x21-\x7e]{1,1024}$/u, {
      error: needs(
        "a key of 1 to 1024 letters, digits and signs, without blanks",
        "Write `${B_KEY}`, and set that variable to a key of the other replica",
      ),
    })
    .optional()
    .describe(
      "A key that it knows, with the role `operator`; none where it has no keys. Write `${B_KEY}`.",
    )
    .meta({ secret: true }),
});

/** One stream each for whoever watches all of them. */
const MAX_REPLICAS = 32;

export const consolePage = z.strictObject({
  enabled: z
    .boolean()
    .default(true)
    .describe("Whether there is a console. Off, `/` is JSON for browsers as well."),
  replicaName: name
    .optional()
    .describe(
      "What this replica is called where several are looked at: in the console, and in `hello` of " +
        "its feed. Its host name without it.",
    ),
  tryLoad: z
    .enum(["loopback", "always", "never"])
    .default("loopback")
    .describe(
      "Whether the page offers to send many turns at once: `loopback` while `listen.host` is a " +
        "loopback address. It is an offer only; whoever has a key may send them anyway.",
    ),
  sessionTime: durationSchema("1m", "7d")
    .prefault("12h")
    .describe("How long a login lasts, where there are `auth.keys`."),
  replicas: z
    .array(replica)
    .max(MAX_REPLICAS)
    .refine((replicas) => new Set(replicas.map((each) => each.name)).size === replicas.length, {
      error: "needs replicas with different names",
    })
    .default([])
    .describe("Other replicas that the page shows; this server asks them, and no browser does."),
});

/** Where paths can be added; what is secret has a place of its own. */
function isBaseUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, search, hash } = new URL(text);
  return /^https?:$/u.test(protocol) && `${username}${password}${search}${hash}` === "";
}
