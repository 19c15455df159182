/**
 * The feeds of other replicas, asked for by this one, so that the page talks to nobody but the server
 * that sent it and no browser ever has their keys. What comes is passed on as it is, heartbeats
 * included. Each reader has a connection of his own to the other replica, which ends with him.
 *
 * @module
 */

import type { OtherReplica } from "../../config/config.ts";
import { AppError } from "../../lib/errors.ts";
import { SSE_MEDIA_TYPE } from "../../protocol/sse.ts";
import {
  ANSWER_TIMEOUT_MS,
  answerTo,
  answerChunks,
  Exchanges,
  unavailable,
} from "../other-replica.ts";

/** Readers of all replicas together. */
const MAX_READERS = 64;
/** A feed tells its load once a second, so one that is silent is gone. */
const SILENCE_TIMEOUT_MS = 30_000;

const ATTEMPT = "Cannot show the replica";

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
  readonly #exchanges = new Exchanges();

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
      throw new AppError("replica_not_found", `${ATTEMPT}: none has this name`);
    }
    if (this.#exchanges.isClosed) {
      throw new AppError("draining", `${ATTEMPT}: this one is shutting down`);
    }
    if (this.#exchanges.size >= MAX_READERS) {
      const state = `${MAX_READERS} readers have the feeds of other replicas open`;
      throw new AppError("too_many_readers", `${ATTEMPT}: ${state}`);
    }
    const end = this.#exchanges.begin(gone);
    try {
      if (end.signal.aborted) throw unavailable(ATTEMPT, "its reader has left");
      const answer = await answerTo(questionFor(replica, this.#times.answerTimeoutMs), end);
      const { statusCode = 0, headers } = answer;
      const isFeed = headers["content-type"]?.startsWith(SSE_MEDIA_TYPE) === true;
      if (statusCode !== 200 || !isFeed) throw unavailable(ATTEMPT, stateOfStatus(statusCode));
      return whatComes(answerChunks(answer, end, this.#times.silenceTimeoutMs));
    } catch (thrown) {
      end.abort();
      throw thrown;
    }
  }

  /** Ends all of them. */
  [Symbol.dispose](): void {
    this.#exchanges[Symbol.dispose]();
  }
}

function questionFor({ url, key }: OtherReplica, answerTimeoutMs: number) {
  const authorization = key === null ? {} : { authorization: `Bearer ${key}` };
  return {
    attempt: ATTEMPT,
    url: new URL("v1/feed", url),
    headers: { accept: SSE_MEDIA_TYPE, ...authorization },
    answerTimeoutMs,
  };
}

/** However it breaks off, its reader comes back, and is told then what is the matter. */
async function* whatComes(
  bytes: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* bytes;
  } catch {
    // It has ended.
  }
}

/**
 * What an answer says, of which only the number is told: its words are for the other side's own
 * callers.
 */
function stateOfStatus(status: number): string {
  if (status === 401 || status === 403) return "it does not take the key that is set for it";
  if (status === 404) return "it has no feed at this address";
  return `it answers with status ${status}`;
}
