/**
 * From a decoded request to a turn that is read: one that is started, or the one that runs or ran
 * under the same key.
 *
 * @module
 */

import { AppError, hasCode } from "../lib/errors.ts";
import { replayedTurnOf, type ReplayedTurn } from "../turn/kept-turn.ts";
import { eventsExpired } from "../turn/journal.ts";
import { type EventPlace, FIRST_PLACE, eventPlaceOf } from "../protocol/event-id.ts";
import { sessionRefOf } from "../session/session-id.ts";
import { refOf } from "../turn/live-turns.ts";
import { LiveTurn, type TurnReader } from "../turn/live-turn.ts";
import { newTurnId } from "../turn/turn-id.ts";
import type { TurnRequest } from "../turn/turn.ts";
import type { Forwarding } from "./forwarder.ts";
import { clientGone } from "./client-gone.ts";
import { isContinuation, loadRefusal } from "./load-refusal.ts";
import type { RequestContext } from "./route.ts";
import type { ServerParts } from "./server-parts.ts";

export type Asked = Pick<TurnRequest, "agentName" | "session" | "input" | "key">;

/** A reader, and how far its client had come. */
export interface Attached {
  readonly is: "read";
  readonly reader: TurnReader;
  readonly place: EventPlace;
}

/** A turn that ran before, and of which only the end is left. */
export interface Ended {
  readonly is: "ended";
  readonly turn: ReplayedTurn;
}

/** The client has read the turn to its end. */
export interface Read {
  readonly is: "done";
}

export interface AskOptions {
  /** The reader leaves when it aborts. */
  readonly gone: AbortSignal;
  /** What the client has read of the turn. */
  readonly lastEventId?: string | undefined;
  /** The client wants one answer, so it can do with the end alone. */
  readonly isWhole?: boolean;
}

/** Resolves when the turn is admitted: from then on it ends by itself, read or not. */
export async function askForTurn(
  parts: ServerParts,
  context: RequestContext,
  asked: Asked,
  options: AskOptions,
): Promise<Attached | Ended | Read> {
  const { gone, lastEventId } = options;
  const wanted = requestOf(parts, context, asked);
  const known = await findTurn(parts, context, wanted);
  if (known === null) {
    if (lastEventId !== undefined) throw nothingToGoOnWith(asked);
    const reader = await startTurn(parts, context, wanted, gone);
    return { is: "read", reader, place: FIRST_PLACE };
  }
  if (!(known instanceof LiveTurn)) {
    if (lastEventId !== undefined) throw eventsExpired();
    return { is: "ended", turn: known };
  }
  const end = await endOf(known, options);
  return end === null ? attach(known, gone, lastEventId) : { is: "ended", turn: end };
}

/**
 * Asks for a turn for a client that does not read it: it runs on when the client is gone.
 *
 * @returns The turn, once it is admitted; of one that ran before perhaps only the end.
 */
export async function beginTurn(
  parts: ServerParts,
  context: RequestContext,
  asked: Asked,
  gone: AbortSignal,
): Promise<LiveTurn | ReplayedTurn> {
  const wanted = { ...requestOf(parts, context, asked), outlivesReaders: true };
  const known = await findTurn(parts, context, wanted);
  if (known === null) {
    const reader = await startTurn(parts, context, wanted, gone);
    reader.leave();
    return reader.turn;
  }
  if (known instanceof LiveTurn) await known.whenAdmitted();
  return known;
}

/** What is asked of a turn of another replica, but for its events; null for one of this replica. */
export async function askElsewhere(
  { forwarder }: Pick<ServerParts, "forwarder">,
  context: RequestContext,
): Promise<unknown> {
  if (forwarder === null) return null;
  const gone = clientGone(context.reply, null);
  return forwarder.ofTurn(context, context.param("turnId"), { gone });
}

/**
 * Does what the client asks for; where its turn is known by its key, and runs on another replica, that
 * one is asked in place of being told as busy.
 */
export async function orElsewhere(
  { forwarder }: Pick<ServerParts, "forwarder">,
  context: RequestContext,
  asked: Asked,
  forwarding: Forwarding,
  answer: () => Promise<unknown>,
): Promise<unknown> {
  try {
    return await answer();
  } catch (thrown) {
    const { agentName, session: target, key } = asked;
    if (forwarder === null || key === undefined || !hasCode(thrown, "session_busy")) throw thrown;
    const ref = sessionRefOf({ tenant: context.caller.tenant, agentName, target });
    const passed = await forwarder.ofKey(context, { ref, agentName, key }, forwarding);
    if (passed === null) throw thrown;
    return passed;
  }
}

function requestOf(
  { forwarder }: Pick<ServerParts, "forwarder">,
  { request, caller }: RequestContext,
  asked: Asked,
): TurnRequest {
  const { traceparent, tracestate } = request.headers;
  return {
    turnId: newTurnId(forwarder?.tag ?? null),
    caller,
    ...asked,
    ...(typeof traceparent === "string" && { traceparent }),
    ...(typeof tracestate === "string" && { tracestate }),
  };
}

/** The turn that runs, or ran, under the same key; null for none. */
async function findTurn(
  parts: ServerParts,
  { reply }: RequestContext,
  wanted: TurnRequest,
): Promise<LiveTurn | ReplayedTurn | null> {
  const held = parts.turns.known(wanted);
  const isRecorded = held === null && isKept(parts, wanted);
  const ended = isRecorded ? await replayedTurnOf(wanted, parts.sessions) : null;
  // Once more, because the same request may have begun while the record was read.
  const found = ended ?? held ?? parts.turns.known(wanted);
  if (found === null) return null;
  const turnId = found instanceof LiveTurn ? found.request.turnId : found.turnId;
  void reply.headers({ "x-turn-id": turnId, "idempotent-replayed": "true" });
  return found;
}

async function startTurn(
  parts: ServerParts,
  context: RequestContext,
  wanted: TurnRequest,
  gone: AbortSignal,
): Promise<TurnReader> {
  if (isKept(parts, wanted)) parts.locks.check(refOf(wanted));
  if (isContinuation(parts, context.request, context.caller)) {
    refuseForLoad(parts, context, wanted);
  }
  const reader = await parts.turns.start(wanted, gone);
  void context.reply.header("x-turn-id", reader.turn.request.turnId);
  return reader;
}

/** Ephemeral agents have no record to remember a key in. */
function isKept({ agents }: ServerParts, { agentName }: Asked): boolean {
  const agent = agents.get(agentName);
  return agent !== undefined && agent.definition.hosting.pattern !== "ephemeral";
}

/** The end of a turn whose first events are gone; null where they are needed, or are there. */
async function endOf(
  turn: LiveTurn,
  { gone, lastEventId, isWhole = false }: AskOptions,
): Promise<ReplayedTurn | null> {
  const isThere = turn.journal.firstId === 1;
  if (isThere || lastEventId !== undefined) return null;
  if (isWhole) {
    // Somebody waits for it, so it must not be taken for abandoned.
    for await (const _ of turn.attach(gone, turn.journal.lastId).entries());
  }
  return turn.endedTurn();
}

/**
 * Reads a turn that is there.
 *
 * @throws {AppError} `invalid_request` for an event id that is not the turn's, and what
 *   {@link LiveTurn.attach} throws.
 */
export async function attach(
  turn: LiveTurn,
  gone: AbortSignal,
  lastEventId?: string,
): Promise<Attached | Read> {
  const place = eventPlaceOf(lastEventId, turn.request.turnId);
  // Of one that broke the end is told each time: it has no number, and the client has missed it.
  const isWhole = turn.journal.isClosed && turn.outcome !== null;
  if (isWhole && place.after > 0 && place.after === turn.journal.lastId) return { is: "done" };
  const reader = await turn.attach(gone, place.after).whenAdmitted();
  return { is: "read", reader, place };
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
function refuseForLoad(parts: ServerParts, { caller }: RequestContext, { agentName }: Asked): void {
  const refusal = loadRefusal(parts, caller, agentName);
  if (refusal !== null) throw new AppError(refusal.code, refusal.message, refusal.details);
}
