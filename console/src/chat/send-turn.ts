/**
 * Sending what the user said, once: the turn is started with an `Idempotency-Key`, so however often
 * it is sent it never runs twice, and with `Prefer: respond-async`, so it outlives this page.
 *
 * @module
 */

import { type ApiError, getJson, toApiError } from "../access/api.ts";
import type { ShownFile } from "./conversation.ts";

export interface Message {
  /** Names the request for the server, and the message on this page. */
  readonly key: string;
  readonly text: string;
  readonly files: readonly ShownFile[];
}

/** Where it goes: on in a session that exists, or to the thread, which begins one where there is none. */
export interface Target {
  readonly agent: string;
  readonly threadId: string;
  /**
   * Of one that is known to be there, so that it is said when it is gone. Null before the first turn,
   * and for an `ephemeral` agent, whose turns have nothing to name but the thread.
   */
  readonly sessionId: string | null;
}

/** What its next turn has to name: the id of a kept session is made of its thread (UUIDv5). */
export function staysIn(target: Target, sessionId: string): Target {
  return sessionId[14] === "5" ? { ...target, sessionId } : target;
}

export type Sent = Accepted | { readonly is: "refused"; readonly error: ApiError };

interface Accepted {
  readonly is: "accepted";
  readonly turnId: string;
  readonly sessionId: string;
  readonly threadId: string;
}

export type InputPart =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image" | "document"; readonly mediaType: string; readonly base64: string };

export interface TurnBody {
  readonly input: string | readonly InputPart[];
  readonly threadId?: string;
  readonly sessionId?: string;
}

/** The body of the request, as a copied `curl` has it, too. */
export function turnBodyOf(target: Target, { text, files }: Message): TurnBody {
  const { sessionId, threadId } = target;
  const session = sessionId === null ? { threadId } : { sessionId };
  const parts = files.flatMap(({ mediaType, base64 }): InputPart[] => {
    if (base64 === null) return [];
    return [{ type: mediaType.startsWith("image/") ? "image" : "document", mediaType, base64 }];
  });
  if (parts.length === 0) return { input: text, ...session };
  const words: InputPart[] = text.trim() === "" ? [] : [{ type: "text", text }];
  return { input: [...parts, ...words], ...session };
}

export function turnsPathOf(agent: string): string {
  return `/v1/agents/${encodeURIComponent(agent)}/turns`;
}

/** Aborting it throws; a network that fails is a refusal, since one may try again. */
export async function sendTurn(
  target: Target,
  message: Message,
  signal: AbortSignal,
): Promise<Sent> {
  try {
    const accepted = await getJson<Omit<Accepted, "is">>(turnsPathOf(target.agent), {
      method: "POST",
      headers: {
        accept: "application/json",
        "idempotency-key": `"${message.key}"`,
        prefer: "respond-async",
      },
      body: turnBodyOf(target, message),
      signal,
    });
    return { is: "accepted", ...accepted };
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    return { is: "refused", error: toApiError(thrown) };
  }
}

export const RETRY_LIMITS = {
  /** Times that a message is sent, the first one and those by itself. */
  tries: 12,
  /** Longest that is waited for a single one: the most that `capacity.maxRetryAfter` can be. */
  waitMs: 3_600_000,
  /** First wait for a server that does not say how long; doubled each time, up to `backoffMs`. */
  firstBackoffMs: 1_000,
  backoffMs: 15_000,
} as const;

/** Refusals that end by themselves: for load, and by a server that is away or just not ready. */
const PASSING = new Set([
  "at_capacity",
  "too_many_streams",
  "draining",
  "too_many_bodies",
  "not_ready",
  "unreachable",
]);

/**
 * How long to wait until a refused message is sent again, in milliseconds; null where nothing will
 * change by waiting, or it has been tried often enough.
 *
 * @param tries How often it was sent.
 */
export function waitAfter(
  { code, retryAfterSeconds }: Pick<ApiError, "code" | "retryAfterSeconds">,
  tries: number,
): number | null {
  if (!PASSING.has(code) || tries >= RETRY_LIMITS.tries) return null;
  const { firstBackoffMs, backoffMs, waitMs } = RETRY_LIMITS;
  if (retryAfterSeconds !== null) {
    return Math.min(Math.max(retryAfterSeconds * 1000, firstBackoffMs), waitMs);
  }
  return Math.min(firstBackoffMs * 2 ** (tries - 1), backoffMs);
}
