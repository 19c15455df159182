/**
 * plimsoll.yaml: every setting with its meaning, range and default. The reference and the schema for
 * editors read the descriptions here. {@link Config} is what the rest of the server sees.
 *
 * @module
 */

import { z } from "zod";
import { bytesSchema } from "../lib/bytes.ts";
import { durationSchema } from "../lib/duration.ts";
import { headersSchema } from "../lib/http-headers.ts";
import { needs } from "../lib/schema-issues.ts";
import { capacity } from "./capacity-schema.ts";
import { consolePage } from "./console-schema.ts";
import { journal } from "./journal-schema.ts";
import { name } from "./name-schema.ts";
import { retention } from "./retention-schema.ts";
import { sessions } from "./sessions-schema.ts";

const listen = z.strictObject({
  host: z
    .string()
    .min(1)
    .max(255)
    .default("127.0.0.1")
    .describe(
      "Address to listen on; of a name, the first that it has. Beyond loopback, `auth.keys` or " +
        "`auth.allowAnyone` must be there.",
    ),
  port: z.int().min(0).max(65_535).default(8080).describe("TCP port; 0 lets the system choose."),
});

const http = z.strictObject({
  bodySize: bytesSchema("1KiB", "64MiB")
    .prefault("1MiB")
    .describe("Largest body of a request; a larger one is refused with 413."),
  bodiesSize: bytesSchema("1KiB", "64GiB")
    .prefault("64MiB")
    .describe(
      "Bytes of request bodies that are received at once; a further one above 16KiB is refused " +
        "with 503.",
    ),
  requestTime: durationSchema("1s", "10m")
    .prefault("30s")
    .describe("Time for a whole request to arrive, headers and body."),
  heartbeat: durationSchema("1s", "10m")
    .prefault("15s")
    .describe(
      "Silence on an event stream before a comment keeps it open. Stay below the idle time of " +
        "proxies in front, often 60s.",
    ),
  unreadTime: durationSchema("1s", "10m")
    .prefault("1m")
    .describe("How long a client may leave bytes of an answer unread before it is cut off."),
  connections: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(10_000)
    .describe("Open connections; further ones are closed at once."),
  streamsPerCaller: z
    .int()
    .min(1)
    .max(100_000)
    .default(64)
    .describe("Turns that one caller may have open, read as a stream or not."),
  corsOrigins: z
    .array(
      z.string().refine(isOrigin, {
        error: needs("an origin", "Write scheme and host only, such as `https://app.example.com`"),
      }),
    )
    .max(100)
    .default([])
    .describe("Origins that a browser page may call from; none by default."),
  allowedHosts: z
    .array(
      z
        .string()
        .min(1)
        .max(255)
        .refine(isHostName, {
          error: needs(
            "the name of a host",
            "Write the name only, such as `agents.internal`, without scheme, port, path or `*`; " +
              "a name of other letters as `xn--…`",
          ),
        }),
    )
    .max(100)
    .default([])
    .describe(
      "Names accepted in the Host header besides loopback while authentication is off: without " +
        "them a web page could reach the server through a name of its own.",
    ),
});

const key = z.strictObject({
  id: name.describe("Name of the key in logs and metrics; unique."),
  tenant: name
    .default("default")
    .describe("Whose sessions the key sees; those of other tenants do not exist for it."),
  role: z
    .enum(["caller", "operator"])
    .default("caller")
    .describe(
      "`caller` runs turns; `operator` also reads metrics and sees the turns of all tenants.",
    ),
  priority: z
    .enum(["normal", "high"])
    .default("normal")
    .describe("`high` may also use the memory of `capacity.priorityReserve`."),
  sha256: z
    .string({
      error: needs("a SHA-256 in hex", 'Make it with `printf %s "$KEY" | sha256sum`, in quotes'),
    })
    .regex(/^[0-9a-f]{64}$/u, {
      error: needs(
        "a SHA-256 in 64 lower-case hex digits",
        'Make it with `printf %s "$KEY" | sha256sum`',
      ),
    })
    .describe("SHA-256 of the key, in lower-case hex: the key itself is in no file.")
    .meta({ secret: true }),
});

const auth = z
  .strictObject({
    keys: z
      .array(key)
      .max(10_000)
      .refine((keys) => areUnique(keys.map(({ id }) => id)), {
        error: "needs keys with different ids",
      })
      .refine((keys) => areUnique(keys.map(({ sha256 }) => sha256)), {
        error: "needs different keys: the same `sha256` is there twice",
      })
      .default([])
      .describe("Keys that callers send as `Authorization: Bearer <key>`."),
    allowAnyone: z
      .boolean()
      .default(false)
      .describe("Serve without keys although the port can be reached from other machines."),
  })
  .refine(({ keys, allowAnyone }) => !allowAnyone || keys.length === 0, {
    path: ["allowAnyone"],
    error: needs("to be false while there are keys", "Remove the keys, or this line"),
  });

const agentProcess = z.strictObject({
  startTime: durationSchema("1s", "10m")
    .prefault("30s")
    .describe("Time from the spawn of an agent process to its first message."),
  endGrace: durationSchema("100ms", "1m")
    .prefault("2s")
    .describe("Time that each polite step of ending a process has before the next, harder one."),
  stderrTail: bytesSchema("1KiB", "1MiB")
    .prefault("64KiB")
    .describe("Last part of a process's stderr that is kept for the log."),
  sampleInterval: durationSchema("50ms", "10s")
    .prefault("100ms")
    .describe(
      "How often the memory of the agent processes is read; less often where that would take 5 % of a core.",
    ),
  ownGroup: z
    .boolean()
    .default(true)
    .describe(
      "Whether each agent process gets a control group of its own where the system allows it, so " +
        "that a turn over `limits.turnMemory` is the kernel's business. Off to compare.",
    ),
});

const telemetry = z.strictObject({
  logLevel: z
    .enum(["trace", "debug", "info", "warn", "error", "silent"])
    .default("info")
    .describe("Least level of the log lines on stdout."),
  otlpEndpoint: z
    .string()
    .refine(isHttpUrl, {
      error: needs("an http or https URL", "Write for example `http://localhost:4318`"),
    })
    .optional()
    .describe(
      "Base URL of an OTLP/HTTP collector; nothing is exported without it. Also read from " +
        "`OTEL_EXPORTER_OTLP_ENDPOINT`.",
    )
    .meta({ secret: true }),
  otlpHeaders: headersSchema(8192)
    .default({})
    .describe(
      "Headers of the OTLP export. Also read from `OTEL_EXPORTER_OTLP_HEADERS` (`a=b,c=d`).",
    )
    .meta({ secret: true }),
  publicMetrics: z.boolean().default(false).describe("Whether /metrics needs no key."),
});

export const ServerFile = z
  .strictObject({
    listen: listen.prefault({}).describe("Where the server listens."),
    http: http.prefault({}).describe("Limits of requests and event streams."),
    journal: journal
      .prefault({})
      .describe("Events of turns, held for readers that are slow or come back."),
    auth: auth.prefault({}).describe("Who may use the server."),
    capacity: capacity.prefault({}).describe("How many turns the memory may carry."),
    agentProcess: agentProcess
      .prefault({})
      .describe("Starting, watching and ending agent processes."),
    sessions: sessions.prefault({}).describe("Conversations that are kept, and where."),
    retention: retention.prefault({}).describe("When sessions are deleted by themselves."),
    data: z
      .strictObject({
        directory: z
          .string()
          .min(1)
          .max(4096)
          .default(".plimsoll")
          .describe(
            "Where sessions and what was learned are kept. Relative to this file; elsewhere to the " +
              "working directory. One server at a time may use it.",
          ),
      })
      .prefault({})
      .describe("What is on the disk."),
    drain: z
      .strictObject({
        grace: durationSchema("0s", "1h")
          .prefault("25s")
          .describe(
            "Time that running turns have to end after SIGTERM. Stay below the orchestrator's own, " +
              "30s in Kubernetes.",
          ),
      })
      .prefault({})
      .describe("Stopping."),
    console: consolePage.prefault({}).describe("The page that shows the replica, at `/`."),
    telemetry: telemetry.prefault({}).describe("Logs, metrics and traces."),
  })
  .refine(
    ({ listen: { host }, auth: { keys, allowAnyone } }) => {
      return isLoopback(host) || keys.length > 0 || allowAnyone;
    },
    {
      path: ["listen", "host"],
      error: needs(
        "`auth.keys`, as other machines can reach this address",
        "Make a key by `plimsoll keys new`, or say `auth.allowAnyone: true` (--allow-anyone), or listen on 127.0.0.1",
      ),
    },
  );

export type ServerSettings = z.output<typeof ServerFile>;

/** Whether only this machine reaches what listens there. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/u.test(host);
}

function areUnique(words: readonly string[]): boolean {
  return new Set(words).size === words.length;
}

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/u.test(new URL(text).protocol);
}

/**
 * Whether it is a name as a Host header has it before its port: compared as it is, so a pattern fits
 * nothing.
 */
function isHostName(text: string): boolean {
  const url = `http://${text}`;
  if (text.includes("*") || !URL.canParse(url)) return false;
  return new URL(url).hostname === text.toLowerCase();
}

function isOrigin(text: string): boolean {
  return isHttpUrl(text) && new URL(text).origin === text;
}
