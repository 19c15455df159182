/**
 * From a decoded request to a turn that is read: one that is started, or the one that runs or ran
 * under the same key.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { AppError } from "../lib/errors.ts";
import { type EventPlace, FIRST_PLACE, placeOf } from "../protocol/event-id.ts";
import type { LiveTurn, TurnReader } from "../turn/live-turn.ts";
import type { TurnRequest } from "../turn/turn.ts";
import { isContinuation, loadRefusal } from "./load-refusal.ts";
import type { RequestContext } from "./route.ts";
import type { ServerParts } from "./server-parts.ts";

export type Asked = Pick<TurnRequest, "agentName" | "session" | "input" | "key">;

/** A reader, and how far its client had come. */
export interface Attached {
  readonly reader: TurnReader;
  readonly place: EventPlace;
}

/**
 * Resolves when the turn is admitted: from then on it ends by itself, read or not. Null when the
 * client has read it to its end.
 *
 * @param gone The reader leaves when it aborts.
 * @param lastEventId What the client has read of the turn.
 */
export async function askForTurn(
  parts: ServerParts,
  context: RequestContext,
  gone: AbortSignal,
  asked: Asked,
  lastEventId?: string,
): Promise<Attached | null> {
  const { request, reply, caller } = context;
  const { traceparent, tracestate } = request.headers;
  const wanted: TurnRequest = {
    turnId: randomUUID(),
    caller,
    ...asked,
    ...(typeof traceparent === "string" && { traceparent }),
    ...(typeof tracestate === "string" && { tracestate }),
  };
  const known = parts.turns.known(wanted);
  if (known !== null) {
    void reply.headers({ "x-turn-id": known.request.turnId, "idempotent-replayed": "true" });
    return attach(known, gone, lastEventId);
  }
  if (lastEventId !== undefined) throw nothingToGoOnWith(asked);
  if (isContinuation(parts, request, caller)) refuseForLoad(parts, context);
  const reader = await parts.turns.start(wanted, gone);
  void reply.header("x-turn-id", reader.turn.request.turnId);
  return { reader, place: FIRST_PLACE };
}

/**
 * Reads a turn that is there. Null when the client has read it to its end.
 *
 * @throws {AppError} `invalid_request` for an event id that is not the turn's, and what
 *   {@link LiveTurn.attach} throws.
 */
export async function attach(
  turn: LiveTurn,
  gone: AbortSignal,
  lastEventId?: string,
): Promise<Attached | null> {
  const place = placeOf(lastEventId, turn.request.turnId);
  const { journal } = turn;
  if (journal.isClosed && place.after > 0 && place.after === journal.lastId) return null;
  const reader = await turn.attach(gone, place.after).admitted();
  return { reader, place };
}

/** What the client has read, as browsers and AG-UI clients say it; undefined for nothing. */
export function lastEventIdOf({ request }: RequestContext): string | undefined {
  const id = request.headers["last-event-id"];
  return typeof id === "string" && id !== "" ? id : undefined;
}

/** A request that goes on with something must not start it anew. */
function nothingToGoOnWith({ key }: Asked): AppError {
  if (key === undefined) {
    const needed = "Last-Event-ID goes with the Idempotency-Key of the turn";
    return new AppError("invalid_request", `Cannot go on with a turn: ${needed}`);
  }
  return new AppError("turn_not_found", "Cannot go on with the turn: none of this key is known");
}

/** It was let past the gate as if it had a turn, and has none. */
function refuseForLoad(parts: ServerParts, { caller }: RequestContext): void {
  const refusal = loadRefusal(parts, caller);
  if (refusal !== null) throw new AppError(refusal.code, refusal.message, refusal.details);
}
