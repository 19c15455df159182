/**
 * The feeds of other replicas, asked for by this one, so that the page talks to nobody but the server
 * that sent it and no browser ever has their keys. What comes is passed on as it is, heartbeats
 * included. Each reader has a connection of his own to the other replica, which ends with him.
 *
 * @module
 */

import type { IncomingMessage } from "node:http";
import type { OtherReplica } from "../../config/config.ts";
import { AppError } from "../../lib/errors.ts";
import { SSE_MEDIA_TYPE } from "../../protocol/sse.ts";

/** Readers of all replicas together. */
const MAX_READERS = 64;
/** For the connection, and for the head of the answer. */
const ANSWER_TIMEOUT_MS = 10_000;
/** A feed tells its load once a second, so one that is silent is gone. */
const SILENCE_TIMEOUT_MS = 30_000;

export interface RelayTimes {
  readonly answerTimeoutMs: number;
  readonly silenceTimeoutMs: number;
}

const TIMES: RelayTimes = {
  answerTimeoutMs: ANSWER_TIMEOUT_MS,
  silenceTimeoutMs: SILENCE_TIMEOUT_MS,
};

export class Relays implements Disposable {
  readonly #replicas: ReadonlyMap<string, OtherReplica>;
  readonly #times: RelayTimes;
  readonly #stop = new AbortController();
  #readers = 0;

  constructor(replicas: readonly OtherReplica[], times: RelayTimes = TIMES) {
    this.#replicas = new Map(replicas.map((replica) => [replica.name, replica]));
    this.#times = times;
  }

  /** In the order of the settings. The name is the id: it fits into an address. */
  list(): readonly { readonly id: string; readonly name: string }[] {
    return Array.from(this.#replicas.keys(), (name) => ({ id: name, name }));
  }

  /**
   * Begins to read one; resolves when it has answered. The bytes end with the other side, with `gone`,
   * and when this server stops. Whoever does not read them to their end has to abort `gone`.
   *
   * @throws {AppError} `replica_not_found`, `replica_unavailable`, `too_many_readers`, `draining`
   */
  async read(id: string, gone: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const replica = this.#replicas.get(id);
    if (replica === undefined) {
      throw new AppError("replica_not_found", "Cannot show the replica: none has this name");
    }
    if (this.#stop.signal.aborted) {
      throw new AppError("draining", "Cannot show the replica: this one is shutting down");
    }
    if (this.#readers >= MAX_READERS) {
      const state = `${MAX_READERS} readers have the feeds of other replicas open`;
      throw new AppError("too_many_readers", `Cannot show the replica: ${state}`);
    }
    const end = new AbortController();
    const signal = AbortSignal.any([gone, this.#stop.signal, end.signal]);
    if (signal.aborted) throw unavailable("its reader has left");
    this.#readers += 1;
    // Not at the end of the bytes: nobody may ever have asked for the first of them.
    signal.addEventListener("abort", () => (this.#readers -= 1), { once: true });
    try {
      const answer = await answerOf(replica, signal, end, this.#times.answerTimeoutMs);
      return passed(answer, end, this.#times.silenceTimeoutMs);
    } catch (thrown) {
      end.abort();
      throw thrown;
    }
  }

  /** Ends all of them. */
  [Symbol.dispose](): void {
    this.#stop.abort();
  }
}

async function answerOf(
  replica: OtherReplica,
  signal: AbortSignal,
  end: AbortController,
  timeoutMs: number,
): Promise<IncomingMessage> {
  const timer = setTimeout(() => end.abort(TOO_SLOW), timeoutMs);
  try {
    const answer = await ask(replica, signal);
    const { statusCode = 0, headers } = answer;
    const isFeed = headers["content-type"]?.startsWith(SSE_MEDIA_TYPE) === true;
    if (statusCode === 200 && isFeed) return answer;
    throw unavailable(stateOfStatus(statusCode));
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown;
    if (end.signal.reason === TOO_SLOW) throw unavailable("it does not answer in time", thrown);
    throw unavailable(stateOfFailure(thrown), thrown);
  } finally {
    clearTimeout(timer);
  }
}

const TOO_SLOW = new Error("No answer in time");

/**
 * Not by `fetch`: after a request that was aborted it opens another connection, which it leaves open
 * for nothing. And this follows no redirect, which would take the key along.
 */
async function ask({ url, key }: OtherReplica, signal: AbortSignal): Promise<IncomingMessage> {
  const { request } = url.startsWith("https:")
    ? await import("node:https")
    : await import("node:http");
  const headers = {
    accept: SSE_MEDIA_TYPE,
    ...(key !== null && { authorization: `Bearer ${key}` }),
  };
  return new Promise((resolve, reject) => {
    const asking = request(new URL("v1/feed", url), { headers, signal, agent: false });
    // Once it has answered, its errors are those of the answer.
    asking.once("response", resolve).on("error", reject).end();
  });
}

async function* passed(
  answer: IncomingMessage,
  end: AbortController,
  silenceMs: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const silence = setTimeout(() => end.abort(), silenceMs);
  try {
    for await (const bytes of answer as AsyncIterable<Buffer>) {
      silence.refresh();
      yield bytes;
    }
  } catch {
    // However it broke off, its reader comes back, and is told then what is the matter.
  } finally {
    clearTimeout(silence);
    end.abort();
  }
}

/** Of what the other side says only the number: its words are for its own callers. */
function stateOfStatus(status: number): string {
  if (status === 401 || status === 403) return "it does not take the key that is set for it";
  if (status === 404) return "it has no feed at this address";
  return `it answers with status ${status}`;
}

function stateOfFailure(thrown: unknown): string {
  const { code } = thrown as { readonly code?: unknown };
  const isTelling = typeof code === "string" && /^[A-Z0-9_]{1,64}$/.test(code);
  return isTelling ? `it cannot be reached (${code})` : "it cannot be reached";
}

function unavailable(state: string, cause?: unknown): AppError {
  return new AppError("replica_unavailable", `Cannot show the replica: ${state}`, { cause });
}
