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
  /** Of `blind`: always. Of `backoff`: at first, twice as long each time. */
  readonly pauseMs: number;
  readonly longestPauseMs: number;
  /** Of `blind`: whether pauses are all alike, or without memory with this mean. */
  readonly spread: "none" | "exponential";
}

/**
 * How long until the next attempt; null for none.
 *
 * @param attempts So far.
 * @param sinceFirstMs Since the first of them.
 * @param toldSeconds What `Retry-After` says; null without an answer. Asked only of who listens.
 */
export function pauseMs(
  terms: ClientTerms,
  attempts: number,
  sinceFirstMs: number,
  toldSeconds: () => number | null,
  random: Random,
): number | null {
  const { policy, maxAttempts, patienceMs, retryRatio } = terms;
  if (policy === "give-up" || attempts >= maxAttempts) return null;
  if (retryRatio < 1 && random.next() >= retryRatio) return null;
  const waitMs = drawPauseMs(terms, attempts, toldSeconds, random);
  return sinceFirstMs + waitMs > patienceMs ? null : waitMs;
}

function drawPauseMs(
  terms: ClientTerms,
  attempts: number,
  toldSeconds: () => number | null,
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
    case "retry-after": {
      const seconds = toldSeconds();
      return seconds === null ? terms.pauseMs : 1000 * seconds;
    }
  }
}
