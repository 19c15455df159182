/**
 * The conversation of this tab. It goes on while other views are looked at.
 *
 * @module
 */

import { signal } from "@preact/signals";
import { readSaved } from "./saved.ts";
import type { Target } from "./send-turn.ts";
import { openTalk, type Talk } from "./talk.ts";

/** Null before the chat was first looked at. */
export const talk = signal<Talk | null>(null);

/** Goes to a conversation; to where one is already, it changes nothing. */
export function goTo(target: Target): void {
  const now = talk.peek();
  const at = now?.target.peek();
  if (at?.agent === target.agent && at.threadId === target.threadId) return;
  now?.[Symbol.dispose]();
  talk.value = openTalk(target, sessionStorage);
}

/** Begins a conversation of which nobody knows yet. */
export function beginNew(agent: string): void {
  goTo({ agent, threadId: crypto.randomUUID(), sessionId: null });
}

/** Where the tab was before it was loaded again. */
export function savedTarget(): Target | null {
  return readSaved(sessionStorage)?.target ?? null;
}
