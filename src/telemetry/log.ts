/**
 * The log: one JSON line an event, by pino. Nothing leaves that has not passed the redaction: the
 * fields by their keys, then the finished line by the shapes of secrets. What users and models say
 * is never logged, by anyone: there is no redaction for it.
 *
 * @module
 */

import { pino, type DestinationStream, type Logger as PinoLogger } from "pino";
import type { Config } from "../config/config.ts";
import { MIB } from "../lib/byte-units.ts";
import { toLogFields } from "./log-fields.ts";
import { redactText } from "./redact-text.ts";

export type Logger = PinoLogger;
export type LogDestination = DestinationStream;

/** Lines held for a standard output that nobody reads; beyond that, lines are dropped. */
const MAX_BUFFERED_BYTES = 4 * MIB;

export interface LogOptions {
  readonly level: Config["telemetry"]["logLevel"];
  /** The standard output without it. */
  readonly destination?: LogDestination;
}

/** What every line about a turn carries. */
export interface TurnLogFields {
  readonly turnId: string;
  readonly traceId: string;
  readonly sessionId: string;
  readonly agent: string;
}

/**
 * Opens the log. An error goes under the key `err`, beside a message that says what failed; it is
 * written with its code, its message and its causes, bounded, and with the stack if it is a bug.
 */
export function openLog({ level, destination = standardOutput() }: LogOptions): Logger {
  return pino(
    {
      level,
      base: {},
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: {
        level: (label) => ({ level: label }),
        log: toLogFields,
      },
      // Pino's own would add stacks to what `toLogFields` has made of the error.
      serializers: { err: (error: unknown) => error },
      hooks: { streamWrite: redactText },
    },
    destination,
  );
}

/** A log for one turn: its lines can be found by any of the ids. */
export function openTurnLog(log: Logger, fields: TurnLogFields): Logger {
  return log.child(fields);
}

/** Writes in the background: a stuck reader must not hold up the turns. */
function standardOutput(): LogDestination {
  return pino.destination({ dest: 1, sync: false, maxLength: MAX_BUFFERED_BYTES });
}
