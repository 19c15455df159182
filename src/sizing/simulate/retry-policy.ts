/**
 * What a client does that was refused. Pure.
 *
 * @module
 */

import type { Random } from "./random.ts";

export const CLIENT_POLICIES = ["give-up", "blind", "backoff", "retry-after"] as const;
export type ClientPolicy = (typeof CLIENT_POLICIES)[number];

export interface ClientTerms {
  readonly policy: ClientPolicy;
  /** The first included. */
  readonly maxAttempts: number;
  /** No attempt is made later than this after the first; infinite for none. */
  readonly patienceMs: number;
  /** Part of the refused who try again, each time. */
  readonly retryRatio: number;
  /** For `blind`: always. For `backoff`: at first, twice as long each time. */
  readonly pauseMs: number;
  readonly longestPauseMs: number;
  /** For `blind`: whether pauses are all alike, or without memory with this mean. */
  readonly spread: "none" | "exponential";
}

/** A client that was refused. */
export interface RefusedClient {
  /** So far. */
  readonly attempts: number;
  readonly sinceFirstMs: number;
  /** What `Retry-After` says; null without an answer. */
  readonly toldSeconds: number | null;
}

/** How long until the next attempt; null for none. */
export function pauseMs(terms: ClientTerms, refused: RefusedClient, random: Random): number | null {
  const { policy, maxAttempts, patienceMs, retryRatio } = terms;
  if (policy === "give-up" || refused.attempts >= maxAttempts) return null;
  if (retryRatio < 1 && random.next() >= retryRatio) return null;
  const waitMs = drawPauseMs(terms, refused, random);
  return refused.sinceFirstMs + waitMs > patienceMs ? null : waitMs;
}

function drawPauseMs(
  terms: ClientTerms,
  { attempts, toldSeconds }: RefusedClient,
  random: Random,
): number {
  switch (terms.policy) {
    case "give-up":
      return Infinity;
    case "blind":
      return terms.spread === "none" ? terms.pauseMs : random.exponential(terms.pauseMs);
    case "backoff":
      // Anywhere up to it ("full jitter"), or those who were refused together come back together.
      return random.next() * Math.min(terms.longestPauseMs, terms.pauseMs * 2 ** (attempts - 1));
    case "retry-after":
      return toldSeconds === null ? terms.pauseMs : 1000 * toldSeconds;
  }
}
