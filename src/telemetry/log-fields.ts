/**
 * Log fields as they may be written: secrets under telling keys replaced, errors as plain data with
 * their chain of causes. Pure; what it returns is new, its input is never changed.
 *
 * @module
 */

import { AppError } from "../lib/errors.ts";
import { isSecretKey, REDACTED, redactText } from "./redact-text.ts";

/** Objects deeper than this are not written: a log line is no dump. */
const MAX_DEPTH = 6;
/** Causes behind causes that are written. */
const MAX_CAUSES = 5;
/** Characters of an error's message or stack. */
const MAX_ERROR_CHARACTERS = 4_000;
/** Characters of it that are searched for secrets: an error may quote megabytes. */
const MAX_REDACTED_CHARACTERS = 4 * MAX_ERROR_CHARACTERS;

export interface LoggedError {
  readonly name: string;
  readonly message: string;
  /** Ours, or the system's such as `ECONNREFUSED`. */
  readonly code?: string;
  /** Only for a bug: an expected failure is found by its code. */
  readonly stack?: string;
  readonly cause?: LoggedError;
}

/** The fields of one line, ready to be written as JSON. */
export function toLogFields(fields: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, toLogValue(key, value, 1)]),
  );
}

function toLogValue(key: string, value: unknown, depth: number): unknown {
  if (isSecretKey(key)) return REDACTED;
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Error) return toLoggedError(value);
  if (depth >= MAX_DEPTH) return "[deeper]";
  if (Array.isArray(value)) return value.map((item) => toLogValue("", item, depth + 1));
  // Requests, dates and the like have a serializer, or say themselves how they are written.
  if (!isPlainObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, toLogValue(name, inner, depth + 1)]),
  );
}

function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** An error and its causes, without secrets; with stacks when it is a bug, as `internal` is. */
function toLoggedError(error: unknown): LoggedError {
  const isBug = !(error instanceof AppError) || error.code === "internal";
  return loggedError(error, { withStack: isBug, causesLeft: MAX_CAUSES });
}

function loggedError(
  error: unknown,
  how: { readonly withStack: boolean; readonly causesLeft: number },
): LoggedError {
  if (!(error instanceof Error)) return { name: typeof error, message: bounded(textOf(error)) };
  const code = "code" in error && typeof error.code === "string" ? error.code : undefined;
  const hasCause = error.cause !== undefined && how.causesLeft > 0;
  return {
    name: error.name,
    message: bounded(error.message),
    ...(code !== undefined && { code }),
    ...(how.withStack && error.stack !== undefined && { stack: bounded(error.stack) }),
    ...(hasCause && {
      cause: loggedError(error.cause, { ...how, causesLeft: how.causesLeft - 1 }),
    }),
  };
}

/** What was thrown and is no error is written when it is text: an object may hold anything. */
function textOf(thrown: unknown): string {
  return typeof thrown === "string" ? thrown : `[${typeof thrown}]`;
}

/**
 * Redacts before it cuts: half a secret has no shape to know it by. Where more than is looked at had
 * to be cut off first, the last word of what is left may be such a half.
 */
function bounded(text: string): string {
  const isWhole = text.length <= MAX_REDACTED_CHARACTERS;
  const clean = redactText(isWhole ? text : text.slice(0, MAX_REDACTED_CHARACTERS));
  if (clean.length > MAX_ERROR_CHARACTERS) return `${clean.slice(0, MAX_ERROR_CHARACTERS)} [cut]`;
  return isWhole ? clean : `${withoutLastWord(clean)} [cut]`;
}

function withoutLastWord(text: string): string {
  const end = Math.max(...[" ", "\n", "\t"].map((blank) => text.lastIndexOf(blank)));
  return text.slice(0, Math.max(0, end));
}
