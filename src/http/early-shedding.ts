/**
 * Refuses for load before a request's body is read, with one exception: a second turn of a busy session
 * is told so (409) even on a full replica, because a client sent away for load would only come back to a
 * busy session; and the same request of it, asked for again, goes on. The session is named in the body,
 * so small bodies are read where a running turn could be of that session.
 *
 * @module
 */

import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import type { FastifyRequest } from "fastify";
import type { Refusal } from "../lib/errors.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import { TokenBucket } from "../lib/token-bucket.ts";
import type { Caller, SessionTarget } from "../turn/turn.ts";
import { isAlwaysTaken } from "./bodies-in-flight.ts";
import { loadRefusal } from "./load-refusal.ts";
import type { ServerParts } from "./server-parts.ts";

/**
 * How many bodies are read before the gate is asked; a request whose body is not is refused for load.
 * To read all of thousands took the 99th percentile of a server that had refused nothing before from 5 ms to 20.
 */
const BODIES = { atOnce: 20, perSecond: 100 };

export class EarlyShedding {
  readonly #parts: ServerParts;
  readonly #bodies = new TokenBucket(BODIES);

  constructor(parts: ServerParts) {
    this.#parts = parts;
  }

  /**
   * @returns The refusal, which is counted and must be sent; null lets the request go on; for a request
   *   to a busy session that means the gate was not asked. A promise only where the body must be read,
   *   since refusals come by the thousand; it never settles if the body never comes.
   */
  refusalOf(request: FastifyRequest, caller: Caller): Refusal | null | Promise<Refusal | null> {
    if (this.#takesBodyNow(request, caller)) return this.#refusalByBody(request, caller);
    return loadRefusal(this.#parts, caller, agentNameIn(request));
  }

  async #refusalByBody(request: FastifyRequest, caller: Caller): Promise<Refusal | null> {
    const parts = this.#parts;
    const body = await bodyOf(request);
    const target = targetOf(body);
    const agentName = agentNameIn(request);
    const isForBusy = target !== null && parts.turns.isRunning(caller.tenant, agentName, target);
    const refusal = isForBusy ? null : loadRefusal(parts, caller, agentName);
    if (refusal === null) BODIES_READ.set(request.raw, body);
    return refusal;
  }

  /**
   * Whether the body is to be read before the gate is asked; if so, it is one of {@link BODIES}. A
   * client that waits to be asked for its body is not asked.
   */
  #takesBodyNow(request: FastifyRequest, { tenant }: Caller): boolean {
    const nowMs = monotonicMs();
    // First, since in a flood it is all that is asked.
    if (!this.#bodies.has(nowMs)) return false;
    const { turns, gate, readiness } = this.#parts;
    const { headers } = request;
    if (readiness.state !== "ready" || headers.expect !== undefined) return false;
    if (!isAlwaysTaken(headers) || !turns.isRunning(tenant, agentNameIn(request))) return false;
    return gate.peek(nowMs) !== null && this.#bodies.take(nowMs);
  }
}

/** What was read of the request's body: all of it; null for nothing. */
export function bodyReadOf(request: FastifyRequest): Readable | null {
  const body = BODIES_READ.get(request.raw);
  return body === undefined ? null : Readable.from([body], { objectMode: false });
}

/** What was read of the bodies of requests that go on. */
const BODIES_READ = new WeakMap<IncomingMessage, Buffer>();

/** Never resolves for a client that leaves: nobody is there to be answered. */
function bodyOf({ raw }: FastifyRequest): Promise<Buffer> {
  const chunks: Buffer[] = [];
  raw.on("data", (chunk: Buffer) => chunks.push(chunk));
  return new Promise((resolve) => raw.on("end", () => resolve(Buffer.concat(chunks))));
}

/** Which agent the address names; null where there is but one. */
function agentNameIn({ params }: FastifyRequest): string | null {
  return (params as { readonly agent?: string }).agent ?? null;
}

/** The session that a body names, in whichever protocol; null if it names none. */
function targetOf(body: Buffer): SessionTarget | null {
  try {
    const named = JSON.parse(body.toString()) as { threadId?: unknown; sessionId?: unknown } | null;
    const { threadId, sessionId } = named ?? {};
    if (typeof sessionId === "string") return { by: "session", sessionId };
    if (typeof threadId !== "string") return null;
    return { by: "thread", threadId, expectsHistory: false };
  } catch {
    return null;
  }
}
