/**
 * What becomes of turns whose end a session store has not heard of at once, and of sessions on hold
 * that it does not have.
 *
 * @module
 */

/** What an operator may want to know of. */
export type StoreNotice =
  /** What a turn says cannot be uploaded now, mostly as the store does not answer. It goes on. */
  | { readonly what: "unavailable"; readonly sessionId: string; readonly error: unknown }
  /** A turn has ended that the store has not heard of. */
  | { readonly what: "kept"; readonly sessionId: string; readonly error: unknown }
  /**
   * A turn that the store cannot hear of, for what is wrong with its session, here or there. It still
   * waits.
   */
  | { readonly what: "stuck"; readonly sessionId: string; readonly error: unknown }
  /** The store has now heard of a turn that was kept. */
  | { readonly what: "delivered"; readonly sessionId: string }
  /**
   * The store never hears of a turn: others went on without it, or the copy is damaged. What it said
   * is in `superseded/`.
   */
  | { readonly what: "superseded"; readonly sessionId: string }
  /** The store has another session of a thread than the one on hold here, which lies in `held/` now. */
  | { readonly what: "held"; readonly sessionId: string };
