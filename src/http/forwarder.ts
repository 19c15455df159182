/**
 * Requests about turns that another replica runs, passed on to it: to whoever asks, each replica
 * behind a load balancer is as good as any. The other one decides who may have what, by the key
 * that is passed on; here is only known where it is (`session/stores/replica-addresses.ts`).
 *
 *     turn id ─▶ tag ─┐
 *                     ├─▶ address ─▶ asked there, marked ─▶ it is that one ─▶ status, headers and bytes as they come
 *     session ─▶ holder ─▶ tag
 *
 * What is marked is passed on no further. Nothing is passed on that a browser sends by itself.
 *
 * @module
 */

import { Readable } from "node:stream";
import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders } from "node:http";
import type { FastifyReply } from "fastify";
import { MIB } from "../lib/byte-units.ts";
import { AppError, hasCode } from "../lib/errors.ts";
import { joinedName } from "../lib/joined-name.ts";
import { AGUI_MEDIA_TYPES } from "../protocol/agui.ts";
import type { StreamEnding } from "../protocol/ending.ts";
import { PROBLEM_MEDIA_TYPE } from "../protocol/problem.ts";
import { lastFrameIn, SSE_MEDIA_TYPE, wholeFrames } from "../protocol/sse.ts";
import type { SessionRef } from "../session/session-id.ts";
import type { Telemetry } from "../telemetry/start.ts";
import { replicaTagIn, replicaTagOf } from "../turn/turn-id.ts";
import type { Caller, TurnKey } from "../turn/turn.ts";
import {
  ANSWER_TIMEOUT_MS,
  answerTo,
  answerChunks,
  CLOSED,
  Exchanges,
  type Question,
  unavailable,
} from "./other-replica.ts";
import { ANSWERED_BY, MEANT } from "./forwarding-mark.ts";
import { ReplicaWarnings } from "./replica-warnings.ts";
import type { RequestContext } from "./route.ts";
import { afterHead } from "./stream-reply.ts";

/** Requests that are passed on at once. */
const MAX_FORWARDED = 1_024;
/** Requests of one caller that are passed on at once. */
const MAX_FORWARDED_OF_CALLER = 256;
/** A stream has a heartbeat, so one that is silent for so many of ours is gone. */
const MISSED_HEARTBEATS = 3;
const MIN_SILENCE_MS = 30_000;
/** The most that one event of a stream may have. */
const MAX_FRAME_BYTES = 16 * MIB;

const ASKED_WITH = [
  "accept",
  "authorization",
  "content-type",
  "idempotency-key",
  "last-event-id",
  "prefer",
  "traceparent",
  "tracestate",
] as const;

const ANSWERED_WITH = [
  "cache-control",
  "content-type",
  "idempotent-replayed",
  "location",
  "preference-applied",
  "ratelimit",
  "ratelimit-policy",
  "retry-after",
  "x-accel-buffering",
  "x-turn-id",
] as const;

const MEDIA_TYPES: readonly string[] = [
  "application/json",
  PROBLEM_MEDIA_TYPE,
  ...Object.values(AGUI_MEDIA_TYPES),
];

const ATTEMPT = "Cannot ask the replica that runs the turn";

/** Where the others are. */
export interface Addresses {
  find(tag: string): Promise<{ readonly address: string; readonly isSilent: boolean } | null>;
  doubt(tag: string): void;
}

/** What a store knows of turns that run elsewhere. */
export interface TurnsElsewhere {
  /** Id of the other server that has the session now; null for none. */
  holderOf(ref: SessionRef): Promise<string | null>;
  /** Id of the turn of that key, which runs on another server; null for none. */
  turnElsewhere(
    ref: SessionRef,
    agentName: string,
    key: Pick<TurnKey, "hash">,
  ): Promise<string | null>;
}

export interface ForwarderDeps {
  /** The tag of this replica. */
  readonly tag: string;
  readonly addresses: Addresses;
  readonly elsewhere: TurnsElsewhere;
  /** Whether callers have keys. */
  readonly hasKeys: boolean;
  readonly heartbeatMs: number;
  readonly telemetry: Pick<Telemetry, "log" | "metrics">;
  /** How long an answer may be in coming; {@link ANSWER_TIMEOUT_MS} without it. */
  readonly answerTimeoutMs?: number;
}

/** The replica that is asked. */
interface Other {
  readonly tag: string;
  readonly address: string;
}

/** What becomes of a request that is passed on. */
export interface Forwarding {
  readonly gone: AbortSignal;
  /** The answer may come at the end of a turn only. */
  readonly isLong?: boolean;
  /** How a stream of its protocol ends; without it one that breaks off just stops. */
  readonly ending?: StreamEnding;
}

export class Forwarder implements Disposable {
  readonly tag: string;
  readonly #deps: ForwarderDeps;
  readonly #exchanges = new Exchanges();
  readonly #ofCallers = new Map<string, number>();
  readonly #warnings: ReplicaWarnings;

  constructor(deps: ForwarderDeps) {
    this.tag = deps.tag;
    this.#deps = deps;
    this.#warnings = new ReplicaWarnings(deps.telemetry.log);
  }

  /**
   * Passes on what is asked of a turn.
   *
   * @returns Null where no other replica is known to have it: it is this one's to answer.
   * @throws {AppError} `replica_unavailable`, `too_many_readers`, `draining`, `store_unavailable`
   */
  async ofTurn(
    context: RequestContext,
    turnId: string,
    forwarding: Forwarding,
  ): Promise<FastifyReply | null> {
    const tag = replicaTagIn(turnId);
    return tag === undefined ? null : this.#pass(context, tag, forwarding);
  }

  /** Passes on what is asked of a session, wherever a turn of it runs; else as {@link ofTurn}. */
  async ofSession(
    context: RequestContext,
    ref: SessionRef,
    forwarding: Forwarding,
  ): Promise<FastifyReply | null> {
    if (!this.#mayPass(context)) return null;
    const holder = await this.#deps.elsewhere.holderOf(ref);
    return holder === null ? null : this.#pass(context, replicaTagOf(holder), forwarding);
  }

  /** Passes on a request whose turn, by its key, runs elsewhere; else as {@link ofTurn}. */
  async ofKey(
    context: RequestContext,
    asked: { readonly ref: SessionRef; readonly agentName: string; readonly key: TurnKey },
    forwarding: Forwarding,
  ): Promise<FastifyReply | null> {
    if (!this.#mayPass(context)) return null;
    const { ref, agentName, key } = asked;
    const turnId = await this.#deps.elsewhere.turnElsewhere(ref, agentName, key);
    return turnId === null ? null : this.ofTurn(context, turnId, forwarding);
  }

  /** Passes on nothing more; what is being passed on may end, as {@link Exchanges.drain} says. */
  async drain(graceMs: number, hurry: AbortSignal): Promise<void> {
    await this.#exchanges.drain(graceMs, hurry);
  }

  /** Ends all that is being passed on. */
  [Symbol.dispose](): void {
    this.#exchanges[Symbol.dispose]();
  }

  /** A login counts for this replica's own page, so it takes nobody to another one. */
  #mayPass({ request: { headers } }: RequestContext): boolean {
    if (headers[MEANT] !== undefined) return false;
    return !this.#deps.hasKeys || headers.authorization !== undefined;
  }

  async #pass(
    context: RequestContext,
    tag: string,
    forwarding: Forwarding,
  ): Promise<FastifyReply | null> {
    if (tag === this.tag || !this.#mayPass(context)) return null;
    const { addresses } = this.#deps;
    const found = await addresses.find(tag);
    if (found === null) return null;
    if (found.isSilent) {
      const error = unavailable(ATTEMPT, "nothing was heard of it for too long");
      this.#warnings.warn(tag, error);
      throw error;
    }
    const end = this.#begin(context.caller, forwarding.gone);
    try {
      return await this.#answer(context, { tag, address: found.address }, forwarding, end);
    } catch (thrown) {
      const isClosed = end.signal.reason === CLOSED;
      end.abort();
      if (isClosed) throw draining();
      if (hasCode(thrown, "replica_unavailable")) {
        addresses.doubt(tag);
        if (!forwarding.gone.aborted) this.#warnings.warn(tag, thrown as AppError);
      }
      throw thrown;
    }
  }

  async #answer(
    context: RequestContext,
    other: Other,
    { gone, isLong = false, ending }: Forwarding,
    end: AbortController,
  ): Promise<FastifyReply> {
    const { heartbeatMs, telemetry, answerTimeoutMs = ANSWER_TIMEOUT_MS } = this.#deps;
    const { request, reply } = context;
    const question = { ...questionOf(context, other), answerTimeoutMs, isLong };
    const answer = await answerTo(question, end);
    const type = typeOf(answer);
    checkIsReplica(answer, other.tag, type);
    telemetry.metrics.requestForwarded();
    const fields = { requestId: request.id, otherRequestId: answer.headers["x-request-id"] };
    telemetry.log.debug(fields, "Passed a request on to the replica of its turn");
    void reply.status(answer.statusCode ?? 0).headers(pick(answer.headers, ANSWERED_WITH));
    if (type === undefined) {
      end.abort();
      return reply.send();
    }
    const bytes = answerChunks(
      answer,
      end,
      Math.max(MIN_SILENCE_MS, MISSED_HEARTBEATS * heartbeatMs),
    );
    const brokeOff = (thrown: unknown): AppError | null => {
      if (gone.aborted) return null;
      telemetry.log.info({ err: thrown, ...fields }, "An answer that was passed on has broken off");
      if (end.signal.reason === CLOSED) return draining();
      return unavailable(ATTEMPT, "its answer broke off", thrown);
    };
    if (type !== SSE_MEDIA_TYPE) return reply.send(Readable.from(wholeOrBroken(bytes, brokeOff)));
    const frames = endedInOrder(wholeFrames(bytes, MAX_FRAME_BYTES), brokeOff, ending);
    return reply.send(Readable.from(afterHead(reply, frames), { highWaterMark: 1 }));
  }

  #begin({ tenant, id }: Caller, gone: AbortSignal): AbortController {
    if (this.#exchanges.isClosed) throw draining();
    const name = joinedName(tenant, id);
    const own = this.#ofCallers.get(name) ?? 0;
    if (this.#exchanges.size >= MAX_FORWARDED || own >= MAX_FORWARDED_OF_CALLER) {
      const state = "as many requests as may be are being passed on";
      throw new AppError("too_many_readers", `${ATTEMPT}: ${state}`, { retryAfterSeconds: 1 });
    }
    this.#ofCallers.set(name, own + 1);
    const end = this.#exchanges.begin(gone);
    const onEnd = (): void => {
      const left = (this.#ofCallers.get(name) ?? 1) - 1;
      if (left > 0) this.#ofCallers.set(name, left);
      else this.#ofCallers.delete(name);
    };
    if (end.signal.aborted) onEnd();
    else end.signal.addEventListener("abort", onEnd, { once: true });
    return end;
  }
}

function questionOf(
  { request }: RequestContext,
  { tag, address }: Other,
): Omit<Question, "answerTimeoutMs" | "isLong"> {
  const { method, body } = request;
  const url = new URL(address);
  // Set apart, so that nothing of a path can become another host.
  const [pathname = "/", ...search] = request.url.split("?");
  url.pathname = pathname;
  url.search = search.join("?");
  const text = method === "POST" ? bodyText(body) : undefined;
  const length = text === undefined ? {} : { "content-length": Buffer.byteLength(text) };
  const headers = { ...pick(request.headers, ASKED_WITH), ...length, [MEANT]: tag };
  // Fastify leaves out the body of an answer to HEAD by itself.
  const asked = method === "HEAD" ? "GET" : method;
  return {
    attempt: ATTEMPT,
    url,
    method: asked,
    headers,
    ...(text !== undefined && { body: text }),
  };
}

/** What was read of it, which was JSON or nothing. */
function bodyText(body: unknown): string {
  return body === undefined || body === null ? "" : JSON.stringify(body);
}

function pick(headers: IncomingHttpHeaders, names: readonly string[]): OutgoingHttpHeaders {
  const given = names.flatMap((name) => {
    const value = headers[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return Object.fromEntries(given);
}

/** Undefined where the answer has no body. */
function typeOf({ headers }: IncomingMessage): string | undefined {
  return headers["content-type"]?.split(";")[0]?.trim().toLowerCase();
}

/** An address may be somebody else's by now, and his words are nothing for our callers. */
function checkIsReplica(answer: IncomingMessage, tag: string, type?: string): void {
  const { statusCode = 0, headers } = answer;
  if (headers[ANSWERED_BY] !== tag) throw unavailable(ATTEMPT, "what answers is not that replica");
  const isKnown = type === undefined ? isEmpty(statusCode) : MEDIA_TYPES.includes(type);
  // 401: what this replica has just taken.
  if (statusCode === 401) throw unavailable(ATTEMPT, "it does not know the key");
  const isFinal = statusCode >= 200 && (statusCode < 300 || statusCode >= 400);
  if (!isKnown || !isFinal) throw unavailable(ATTEMPT, "what answers is no replica");
}

function isEmpty(statusCode: number): boolean {
  return statusCode === 202 || statusCode === 204;
}

/** A stream that breaks off still ends as its readers are promised, unless it just has. */
async function* endedInOrder(
  frames: AsyncIterable<Buffer>,
  brokeOff: (thrown: unknown) => AppError | null,
  ending: StreamEnding | undefined,
): AsyncGenerator<string | Uint8Array, void, undefined> {
  let last: Buffer = Buffer.alloc(0);
  try {
    for await (const frame of frames) {
      last = frame;
      yield frame;
    }
  } catch (thrown) {
    const error = brokeOff(thrown);
    if (error === null || ending === undefined) return;
    const frame = lastFrameIn(last.toString());
    if (frame === null || !ending.isLast(frame)) yield* ending.brokenBy(error);
  }
}

/** Its client must not take a part for the whole: the connection breaks, if anything was sent. */
async function* wholeOrBroken(
  bytes: AsyncIterable<Uint8Array>,
  brokeOff: (thrown: unknown) => AppError | null,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* bytes;
  } catch (thrown) {
    const error = brokeOff(thrown);
    if (error !== null) throw error;
  }
}

function draining(): AppError {
  const details = { retryAfterSeconds: 1 };
  return new AppError("draining", `${ATTEMPT}: this one is shutting down`, details);
}
