/**
 * What a reload of the page must not lose: which conversation it is, and what of it is on its way.
 * All else is with the server. In the storage of the tab, so two tabs have two conversations.
 *
 * @module
 */

import { type CallerName, isSameCaller } from "../access/session.ts";
import type { Message, Target } from "./send-turn.ts";

export interface Saved {
  /** Whose it is: nobody else may see it, and still less send it. */
  readonly owner: CallerName;
  readonly target: Target;
  /** That the conversation is in, as far as is known. */
  readonly sessionId: string | null;
  /** Asked, and not accepted yet. */
  readonly outbox: Message | null;
  /** Runs, as far as this page knows. */
  readonly turnId: string | null;
}

type Store = Pick<Storage, "getItem" | "setItem" | "removeItem">;

const KEY = "plimsoll:chat";

/** Null for nothing, and for what another version has left. What is not this owner's is removed. */
export function readSaved(store: Store, owner: CallerName): Saved | null {
  try {
    const saved = JSON.parse(store.getItem(KEY) ?? "null") as Partial<Saved> | null;
    if (saved?.owner === undefined || !isSameCaller(saved.owner, owner)) {
      store.removeItem(KEY);
      return null;
    }
    const { target, sessionId = null, outbox = null, turnId = null } = saved;
    if (typeof target?.agent !== "string" || typeof target.threadId !== "string") return null;
    return { owner, target, sessionId, outbox, turnId };
  } catch {
    return null;
  }
}

/** Files may be more than a tab can keep: then the message is kept without them, as not sent. */
export function save(store: Store, saved: Saved): void {
  try {
    store.setItem(KEY, JSON.stringify(saved));
  } catch {
    saveWithout(store, saved);
  }
}

function saveWithout(store: Store, saved: Saved): void {
  try {
    store.setItem(KEY, JSON.stringify({ ...saved, outbox: null }));
  } catch {
    store.removeItem(KEY);
  }
}
