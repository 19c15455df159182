/**
 * The conversation of this tab. It goes on while other views are looked at.
 *
 * @module
 */

import { signal } from "@preact/signals";
import { session } from "../access/session.ts";
import { newId } from "./new-id.ts";
import { readSaved } from "./saved.ts";
import type { Target } from "./send-turn.ts";
import { openTalk, type Talk } from "./talk.ts";

/** Null before the chat was first looked at. */
export const talk = signal<Talk | null>(null);

/** Goes to a conversation; nowhere before it is known who one is. Where one is already, one stays. */
export function goTo(target: Target): void {
  const owner = session.peek()?.caller ?? null;
  if (owner === null) return;
  const now = talk.peek();
  const at = now?.target.peek();
  if (at?.agent === target.agent && at.threadId === target.threadId) return;
  now?.[Symbol.dispose]();
  talk.value = openTalk(target, owner, sessionStorage);
}

/** Begins a conversation of which nobody knows yet. */
export function beginNew(agent: string): void {
  goTo({ agent, threadId: newId(), sessionId: null });
}

/** Where the tab was before it was loaded again. */
export function savedTarget(): Target | null {
  const owner = session.peek()?.caller ?? null;
  return owner === null ? null : (readSaved(sessionStorage, owner)?.target ?? null);
}
