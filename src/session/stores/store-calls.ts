/**
 * What a failing database means to whoever calls it, and that no call waits for it without end.
 *
 * The text of a driver may name hosts, users and even passwords (ioredis adds the arguments of a
 * command to its errors), so it goes into `cause`, without anything but its text.
 *
 * @module
 */

import { AppError, hasCode } from "../../lib/errors.ts";
import { isFull } from "../storage-errors.ts";
import type { ObjectStore, ObjectStoreOptions } from "./object-store.ts";

/** What is wrong with a store, to follow a colon. */
export interface Trouble {
  /** `store_unusable` for what stays until a person mends it. */
  readonly code: "store_unavailable" | "store_unusable";
  readonly state: string;
}

/** A driver's error without what it carries: its requests, its connection, its credentials. */
export interface DriverError extends Error {
  /** The code that the system, the database or the driver gives, e.g. `ECONNREFUSED`, `28P01`. */
  readonly code?: string;
}

/** One kind of database. */
export interface Backend {
  /** @throws {AppError} for a URL that does not fit; otherwise what the driver throws. */
  readonly open: (options: ObjectStoreOptions, place: string) => Promise<ObjectStore>;
  /** Undefined for what any system may say. */
  readonly troubleOf: (error: DriverError, url: URL) => Trouble | undefined;
}

/**
 * Does the work; any failure of it, or no end of it in time, becomes `store_unavailable`.
 *
 * @param action What was attempted, to follow "Cannot", e.g. `read from the session store`.
 */
export async function calling<T>(
  action: string,
  timeoutMs: number,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await within(timeoutMs, work());
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown;
    const cause = driverErrorOf(thrown);
    const { state } = systemTroubleOf(cause) ?? FAILED;
    throw new AppError("store_unavailable", `Cannot ${action}: ${state}`, { cause });
  }
}

/**
 * Does the work of opening; a failure of it becomes what the backend, or the network, says of it.
 *
 * @param place Of the store, without secrets.
 */
export async function opening<T>(
  place: string,
  troubleOf: (error: DriverError) => Trouble | undefined,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    // A first call that failed says only that it did: its cause says what there is to mend.
    const isCall = thrown instanceof AppError && thrown.code === "store_unavailable";
    if (thrown instanceof AppError && !(isCall && thrown.cause !== undefined)) throw thrown;
    const cause = driverErrorOf(isCall ? thrown.cause : thrown);
    const { code, state } = troubleOf(cause) ?? systemTroubleOf(cause) ?? FAILED;
    throw new AppError(code, `Cannot open the session store at ${place}: ${state}`, { cause });
  }
}

/** @throws {AppError} always. */
export function refuse(place: string, state: string, cause?: unknown): never {
  const message = `Cannot open the session store at ${place}: ${state}`;
  throw new AppError("store_unusable", message, { cause });
}

/** The value of the promise, or a rejection once the time is up. */
export async function within<T>(timeoutMs: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const isLate = (): void => {
      const error = new Error(`No answer within ${timeoutMs} ms`);
      reject(Object.assign(error, { code: "ETIMEDOUT" }));
    };
    timer = setTimeout(isLate, timeoutMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Loads a driver that is installed only where it is used. */
export async function loadDriver<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (thrown) {
    const { code, message } = driverErrorOf(thrown);
    const isMissing = code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND";
    if (!isMissing || !message.includes(`'${name}'`)) throw thrown;
    const state = `the package ${name} is not installed; run \`npm install ${name}\``;
    throw new AppError("store_unusable", `Cannot use the session store: ${state}`, {
      cause: thrown,
    });
  }
}

/** What the query of a URL says; another parameter is for a person to correct. */
export function parametersOf(
  url: URL,
  known: readonly string[],
  place: string,
): ReadonlyMap<string, string> {
  const parameters = new Map(url.searchParams);
  for (const name of parameters.keys()) {
    if (known.includes(name)) continue;
    refuse(place, `its URL has a parameter that is not known; known are ${known.join(", ")}`);
  }
  return parameters;
}

export function driverErrorOf(thrown: unknown): DriverError {
  if (!(thrown instanceof Error)) return new Error(String(thrown));
  // Of several addresses that were tried, the first says enough.
  if (thrown instanceof AggregateError && thrown.message === "") {
    return driverErrorOf(thrown.errors[0]);
  }
  const error: DriverError = new Error(thrown.message);
  error.name = thrown.name;
  if (thrown.stack !== undefined) error.stack = thrown.stack;
  const code = "code" in thrown ? thrown.code : undefined;
  return typeof code === "string" ? Object.assign(error, { code }) : error;
}

const FAILED: Trouble = { code: "store_unavailable", state: "it failed" };

const SYSTEM_STATES: Readonly<Record<string, string>> = {
  ENOTFOUND: "its host name cannot be resolved",
  EAI_AGAIN: "its host name cannot be resolved",
  ECONNREFUSED: "it refuses connections",
  ECONNRESET: "the connection broke off",
  EPIPE: "the connection broke off",
  EHOSTUNREACH: "there is no way to its host",
  ENETUNREACH: "there is no way to its host",
  ETIMEDOUT: "it does not answer in time",
  ENOENT: "its directory is not there",
  EACCES: "it cannot be written",
  EROFS: "it cannot be written",
};

const LATE = /\btime(?:d )?out\b|^TimeoutError$|^AbortError$/i;

const CERTIFICATE =
  /^(?:CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_(?:GET|VERIFY)_|ERR_TLS_CERT_|HOSTNAME_MISMATCH)/;

/** Whether nothing answered in time. The time of a driver's own may be up just before ours. */
export function wasLate({ code, name, message }: DriverError): boolean {
  return code === "ETIMEDOUT" || LATE.test(name) || LATE.test(message);
}

/** Whether a call has failed because the store has no space left: what frees some may go on. */
export function wasFull(thrown: unknown): boolean {
  return (
    hasCode(thrown, "store_unavailable") && saysFull(driverErrorOf((thrown as AppError).cause))
  );
}

/** By the system, by PostgreSQL (`disk_full`), and by Redis, also from within a script. */
function saysFull({ code, message }: DriverError): boolean {
  return isFull(code) || code === "53100" || /\bOOM command not allowed/.test(message);
}

function systemTroubleOf(error: DriverError): Trouble | undefined {
  const { code = "", name } = error;
  if (saysFull(error)) return { code: "store_unavailable", state: "no space is left" };
  const state = SYSTEM_STATES[wasLate(error) ? "ETIMEDOUT" : code];
  if (state !== undefined) return { code: "store_unavailable", state };
  if (name === "URIError") {
    const odd = "its URL has a `%` that begins no character; write one that is meant as `%25`";
    return { code: "store_unusable", state: odd };
  }
  if (CERTIFICATE.test(code)) {
    const refused =
      "its TLS certificate cannot be verified; `NODE_EXTRA_CA_CERTS` adds authorities";
    return { code: "store_unusable", state: refused };
  }
  if (code === "EPROTO" || code.startsWith("ERR_SSL_")) {
    return { code: "store_unusable", state: "it does not speak TLS as it should" };
  }
  return undefined;
}
