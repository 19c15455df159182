/**
 * Asking another replica on behalf of a client: over a connection of its own, which ends with the
 * client, without a redirect, and never for longer than something comes.
 *
 * @module
 */

import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";
import { aborted } from "../lib/aborted.ts";
import { AppError } from "../lib/errors.ts";
import { settlesWithin } from "../lib/settles-within.ts";

/** For the connection, and for the head of the answer. */
export const ANSWER_TIMEOUT_MS = 10_000;
/** A machine that is gone for good says nothing: its connection breaks some ten seconds after this. */
const PROBE_AFTER_MS = 10_000;

export interface Question {
  /** Begins with what was attempted, such as `Cannot show the replica`. */
  readonly attempt: string;
  readonly url: URL;
  readonly method?: string;
  readonly headers: OutgoingHttpHeaders;
  readonly body?: string;
  /** For the connection, and for the head of the answer. */
  readonly answerTimeoutMs: number;
  /** The answer may be as long in coming as a turn is: only the connection has to be there in time. */
  readonly isLong?: boolean;
}

/**
 * Requests to other replicas that are under way: each ends with its client, and all with this server.
 * One controller each, as a signal that lives on remembers whatever was ever made of it (Node 20).
 */
export class Exchanges implements Disposable {
  readonly #open = new Set<AbortController>();
  #isClosed = false;

  get size(): number {
    return this.#open.size;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Whoever begins one has to abort it, at its end as well. */
  begin(gone: AbortSignal): AbortController {
    const end = new AbortController();
    const leave = (): void => end.abort();
    this.#open.add(end);
    // Not at the end of the bytes: nobody may ever have asked for the first of them.
    const onEnd = (): void => {
      this.#open.delete(end);
      gone.removeEventListener("abort", leave);
    };
    end.signal.addEventListener("abort", onEnd, { once: true });
    if (gone.aborted) end.abort();
    else gone.addEventListener("abort", leave, { once: true });
    return end;
  }

  /**
   * Takes no more, and waits for those that are open, at most `graceMs`. Aborting `hurry` ends the wait
   * at once.
   */
  async drain(graceMs: number, hurry: AbortSignal): Promise<void> {
    this.#isClosed = true;
    const ended = Array.from(this.#open, ({ signal }) => aborted(signal));
    await settlesWithin(Promise.all(ended), graceMs, hurry);
  }

  /** Ends all of them. */
  [Symbol.dispose](): void {
    this.#isClosed = true;
    for (const end of this.#open) end.abort(CLOSED);
  }
}

/** Why an exchange has ended, if its client has not left: the reason of its signal. */
export const CLOSED = new Error("This server stops");
const TOO_SLOW = new Error("No answer in time");
const SILENT = new Error("Nothing came for too long");

/**
 * Resolves with the head of the answer, whatever its status.
 *
 * @throws {AppError} `replica_unavailable`, with all that is told of the reason.
 */
export async function answerTo(question: Question, end: AbortController): Promise<IncomingMessage> {
  const { attempt, answerTimeoutMs, isLong = false } = question;
  const timer = setTimeout(() => end.abort(TOO_SLOW), answerTimeoutMs);
  const onConnected = isLong ? () => clearTimeout(timer) : () => undefined;
  try {
    return await ask(question, end.signal, onConnected);
  } catch (thrown) {
    if (end.signal.reason !== TOO_SLOW) throw unavailable(attempt, stateOfFailure(thrown), thrown);
    throw unavailable(attempt, "it does not answer in time", thrown);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Not by `fetch`: after a request that was aborted it opens another connection, which it leaves open
 * for nothing. And this follows no redirect, which would take the key along.
 */
async function ask(
  question: Question,
  signal: AbortSignal,
  onConnected: () => void,
): Promise<IncomingMessage> {
  const { url, method = "GET", headers, body } = question;
  const isTls = url.protocol === "https:";
  const { request } = isTls ? await import("node:https") : await import("node:http");
  return new Promise((resolve, reject) => {
    const asking = request(url, { method, headers, signal, agent: false });
    asking.setSocketKeepAlive(true, PROBE_AFTER_MS);
    asking.once("socket", (socket) =>
      socket.once(isTls ? "secureConnect" : "connect", onConnected),
    );
    // Without an error where what answers changes the protocol.
    asking.once("close", () => reject(new Error("Closed without an answer")));
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    // Once it has answered, its errors are those of the answer.
    asking.once("response", resolve).on("error", reject).end(body);
  });
}

/**
 * What is in the answer, as fast as it is read; the exchange is over with it.
 *
 * @param silenceMs That the other side may be silent while it is waited for.
 * @throws whatever breaks it off.
 */
export async function* answerChunks(
  answer: IncomingMessage,
  end: AbortController,
  silenceMs: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const source = (answer as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  try {
    for (;;) {
      const silence = setTimeout(() => end.abort(SILENT), silenceMs);
      const next = await source.next().finally(() => clearTimeout(silence));
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    end.abort();
  }
}

export function unavailable(attempt: string, state: string, cause?: unknown): AppError {
  return new AppError("replica_unavailable", `${attempt}: ${state}`, { cause });
}

function stateOfFailure(thrown: unknown): string {
  const code = failureCodeOf(thrown);
  return code === undefined ? "it cannot be reached" : `it cannot be reached (${code})`;
}

/** What the system or TLS says of it, e.g. `ECONNREFUSED`. */
export function failureCodeOf(thrown: unknown): string | undefined {
  const { code } = (thrown ?? {}) as { readonly code?: unknown };
  return typeof code === "string" && /^[A-Z0-9_]{1,64}$/.test(code) ? code : undefined;
}
