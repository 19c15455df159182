/**
 * Before the body is read: what cannot be carried need not be received.
 *
 * @module
 */

import type { FastifyRequest } from "fastify";
import { shedRefusal } from "../capacity/shed-error.ts";
import type { Refusal } from "../lib/errors.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { Caller } from "../turn/turn.ts";
import { keyHashOf } from "./idempotency-key.ts";
import type { ServerParts } from "./server-parts.ts";

/** When to come back to a replica that is not ready: it tries again by itself. */
const NOT_READY_RETRY_SECONDS = 1;

/**
 * `not_ready`, `draining` or `at_capacity`, which is counted and must be sent; null if a turn may
 * be asked for. A value, because making an error with its stack costs as much as all the rest.
 *
 * @param agentName As the request has it; null where there is but one.
 */
export function loadRefusal(
  {
    agents,
    gate,
    readiness: { state, reason },
  }: Pick<ServerParts, "agents" | "gate" | "readiness">,
  caller: Caller,
  agentName: string | null,
): Refusal | null {
  if (state === "starting" || state === "broken") {
    const details = { retryAfterSeconds: NOT_READY_RETRY_SECONDS };
    return { code: "not_ready", message: `Cannot start the turn: ${reason}`, details };
  }
  const { tenant, id: callerId, priority } = caller;
  const isPriority = priority === "high";
  const party = { tenant, callerId, isPriority, agentName: servedName(agents, agentName) };
  const shed = gate.shedEarly(party, monotonicMs());
  return shed === null ? null : shedRefusal(shed);
}

/**
 * The name of an agent that is served, else none: what is told to operators is none of a client's
 * words.
 */
function servedName(agents: ServerParts["agents"], agentName: string | null): string {
  if (agentName === null) return agents.keys().next().value ?? "";
  return agents.has(agentName) ? agentName : "";
}

/**
 * Whether a request, of which the body is not read yet, goes on with a turn rather than starting
 * one. That costs no memory, so the load is no reason to refuse it.
 */
export function isContinuation(
  { turns }: Pick<ServerParts, "turns">,
  { headers, params }: Pick<FastifyRequest, "headers" | "params">,
  caller: Caller,
): boolean {
  if (typeof headers["last-event-id"] === "string") return true;
  const { agent } = params as { readonly agent?: string };
  const keyHash = keyHashOf(headers);
  return keyHash !== null && agent !== undefined && turns.knowsKey(caller, agent, keyHash);
}
