/**
 * Connecting to a thread over AG-UI: what was said in it, and the run that goes on in it.
 *
 * @module
 */

import { PROTOCOL_VERSION, type Message } from "@ag-ui/core";
import { AppError } from "../../lib/errors.ts";
import { AGUI_ENDING, AGUI_MEDIA_TYPES, negotiateAgui } from "../../protocol/agui.ts";
import {
  type AguiConnect,
  decodeAguiConnect,
  namedAsIn,
  storedRun,
  thoughtsAsIn,
  withSnapshot,
} from "../../protocol/agui-connect.ts";
import { type AguiFrame, encodeAgui } from "../../protocol/agui-encode.ts";
import { aguiMessagesOf, isSaid } from "../../protocol/agui-messages.ts";
import { isOfAnotherTurn } from "../../protocol/event-id.ts";
import { SSE_HEARTBEAT } from "../../protocol/sse.ts";
import { sessionRefOf, type SessionRef } from "../../session/session-id.ts";
import type { SessionMessage } from "../../session/message.ts";
import { eventsExpired } from "../../turn/journal.ts";
import type { LiveTurn } from "../../turn/live-turn.ts";
import { clientGone } from "../client-gone.ts";
import type { RequestContext } from "../route.ts";
import type { ServerParts } from "../server-parts.ts";
import { attach, lastEventIdOf } from "../turn-asking.ts";
import { notAcceptable, reporter, sendAguiEvents, sendAguiFrames } from "../turn-stream.ts";

export async function connectAgent(
  parts: ServerParts,
  context: RequestContext,
  agentName: string,
): Promise<unknown> {
  const { request, reply, caller } = context;
  const format = negotiateAgui(request.headers.accept);
  if (format === null) throw notAcceptable(Object.values(AGUI_MEDIA_TYPES).join(" or "));
  if (!parts.agents.has(agentName)) throw noAgent();
  const asked = decodeAguiConnect(request.body);
  const { threadId } = asked.run;
  const target = { by: "thread", threadId, expectsHistory: false } as const;
  const ref = sessionRefOf({ tenant: caller.tenant, agentName, target });
  const gone = clientGone(reply, format === "sse" ? SSE_HEARTBEAT : null);
  const turn = parts.turns.ofSession(ref);
  const lastEventId = lastEventIdOf(context);
  // The last one of an earlier run says nothing of this one, which has to be sent whole.
  const goesOn =
    turn !== undefined &&
    lastEventId !== undefined &&
    !isOfAnotherTurn(lastEventId, turn.request.turnId);
  if (goesOn) {
    const found = await attach(turn, gone, lastEventId);
    return sendAguiEvents(parts, context, found, { run: asked.run, format, gone });
  }
  if (turn === undefined || turn.endedAtMs !== null) {
    const passed = await followElsewhere(parts, context, ref, gone);
    if (passed !== null) return passed;
  }
  const stored = await storedOf(parts, ref, gone);
  const { messages, isBusy } = stored;
  const frames =
    turn === undefined || wasFollowed(turn, stored)
      ? storedRun(
          asked.run,
          PROTOCOL_VERSION,
          namedAsIn(aguiMessagesOf(messages), asked.messages),
          isBusy ? elsewhere() : null,
        )
      : await framesOf(parts, { asked, turn, stored: messages, gone });
  return sendAguiFrames(parts, context, frames, { format, gone });
}

/** Null where no other replica can be asked for the run: what is stored is there all the same. */
async function followElsewhere(
  { forwarder, telemetry }: ServerParts,
  context: RequestContext,
  ref: SessionRef,
  gone: AbortSignal,
): Promise<unknown> {
  if (forwarder === null) return null;
  try {
    return await forwarder.ofSession(context, ref, { gone, ending: AGUI_ENDING });
  } catch (err) {
    if (!(err instanceof AppError)) throw err;
    telemetry.log.info({ err, requestId: context.request.id }, "Cannot follow a run elsewhere");
    return null;
  }
}

interface Connecting {
  readonly asked: AguiConnect;
  readonly turn: LiveTurn;
  readonly stored: readonly SessionMessage[];
  readonly gone: AbortSignal;
}

/** The turn from its first event; or, when that is gone, what is stored and how it stands. */
async function framesOf(
  parts: ServerParts,
  connecting: Connecting,
): Promise<AsyncIterable<AguiFrame>> {
  const { asked, turn, stored, gone } = connecting;
  const { run, messages } = asked;
  const { turnId } = turn.request;
  const stream = { turnId, run, report: reporter(parts, turnId, gone) };
  if (turn.journal.firstId > 1) {
    const whole = namedAsIn(aguiMessagesOf(stored), messages);
    if (turn.endedAtMs !== null) return storedRun(run, PROTOCOL_VERSION, whole);
    return withSnapshot(encodeAgui(expired(), stream), whole);
  }
  const snapshot = [
    ...thoughtsAsIn(turn.journal.held(), messages),
    ...namedAsIn(beforeAnswer(turn, stored), messages),
  ];
  const reader = await turn.attach(gone).whenAdmitted();
  return withSnapshot(encodeAgui(reader.entries(), stream), snapshot);
}

/** What was said before the turn, and what the user said to begin it. */
function beforeAnswer(turn: LiveTurn, stored: readonly SessionMessage[]): Message[] {
  const isBefore = ({ atMs }: SessionMessage) => atMs === null || atMs < turn.startedAtMs;
  const own = stored.filter((message) => !isBefore(message) && isSaid(message));
  const before = aguiMessagesOf([...stored.filter(isBefore), ...own]);
  if (own.length > 0) return before;
  const texts = turn.request.input.flatMap((part) => (part.type === "text" ? [part.text] : []));
  if (texts.length === 0) return before;
  const id = `${turn.request.turnId}:input`;
  return [...before, { id, role: "user", content: texts.join("\n\n") }];
}

/** None for a thread that nobody has talked in, as every new one is. */
async function storedOf(
  { sessions, reads }: ServerParts,
  ref: SessionRef,
  gone: AbortSignal,
): Promise<Stored> {
  try {
    const { isBusy, lastTurnAtMs } = await sessions.read(ref, Date.now());
    using _read = await reads.begin(ref.tenant, gone);
    const { messages } = await sessions.transcript(ref, Date.now());
    return { messages, isBusy, isGone: false, lastTurnAtMs };
  } catch (thrown) {
    const code = thrown instanceof AppError ? thrown.code : null;
    if (code !== "session_not_found" && code !== "session_gone") throw thrown;
    return { messages: [], isBusy: false, isGone: code === "session_gone", lastTurnAtMs: 0 };
  }
}

interface Stored {
  readonly messages: readonly SessionMessage[];
  readonly isBusy: boolean;
  /** It was deleted, here or at another replica. */
  readonly isGone: boolean;
  readonly lastTurnAtMs: number;
}

/** Whether more became of the thread since, or becomes: the last turn here is not its last word. */
function wasFollowed({ endedAtMs }: LiveTurn, stored: Stored): boolean {
  const { isBusy, isGone, lastTurnAtMs } = stored;
  return endedAtMs !== null && (isBusy || isGone || lastTurnAtMs > endedAtMs);
}

/** A client that took the thread for idle would ask the next thing, and be refused. */
function elsewhere(): AppError {
  const state = "it goes on at another replica, or has just begun";
  return new AppError("session_busy", `Cannot follow the run: ${state}`);
}

// eslint-disable-next-line require-yield
async function* expired(): AsyncGenerator<never, void, undefined> {
  throw eventsExpired();
}

function noAgent(): AppError {
  return new AppError("agent_not_found", "Cannot connect to the agent: no agent has this name");
}
