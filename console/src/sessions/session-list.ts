/**
 * The list of sessions: what is asked of the server, and what of it is shown. Pure but for asking.
 *
 * @module
 */

import { getJson } from "../access/api.ts";
import type { SessionSummary } from "./transcript.ts";

export interface SessionPage {
  readonly sessions: readonly SessionSummary[];
  /** Null on the last page. */
  readonly nextCursor: string | null;
}

export interface SessionQuery {
  /** Empty for all. */
  readonly agent: string;
  /** Exactly as its client has it; empty for all. */
  readonly threadId: string;
}

export const LIST_LIMITS = {
  /** Sessions asked for at a time. */
  page: 50,
  /** Sessions held; who looks further back has to ask more closely. */
  held: 1_000,
} as const;

export function readPage(
  query: SessionQuery,
  cursor: string | null,
  signal: AbortSignal,
): Promise<SessionPage> {
  return getJson<SessionPage>(`/v1/sessions?${listParameters(query, cursor)}`, { signal });
}

function listParameters({ agent, threadId }: SessionQuery, cursor: string | null): URLSearchParams {
  const parameters = new URLSearchParams({ limit: `${LIST_LIMITS.page}` });
  if (agent !== "") parameters.set("agent", agent);
  if (threadId !== "") parameters.set("threadId", threadId);
  if (cursor !== null) parameters.set("cursor", cursor);
  return parameters;
}

/** Those with these words in their names, whatever the case. */
export function found(sessions: readonly SessionSummary[], words: string): SessionSummary[] {
  const all = words.trim().toLowerCase().split(/\s+/);
  return sessions.filter(({ threadId, sessionId, agent }) => {
    const names = `${threadId} ${sessionId} ${agent}`.toLowerCase();
    return all.every((word) => names.includes(word));
  });
}

/** Where the server has a session, whatever its id was taken from. */
export function sessionPathOf(sessionId: string): string {
  return `/v1/sessions/${encodeURIComponent(sessionId)}`;
}

export function isSessionId(text: string): boolean {
  return /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i.test(text.trim());
}
