/**
 * How often one address may try keys at the login. A key has 256 random bits and cannot be found so;
 * this is for keys that somebody has thought of himself.
 *
 * @module
 */

import { isIP } from "node:net";
import { TokenBucket } from "../../lib/token-bucket.ts";

/** Failures of one address. */
const FAILURES = { atOnce: 10, perSecond: 0.1 };
/** Addresses that are remembered; the one that has failed longest ago is forgotten. */
const MAX_ADDRESSES = 1_000;

export class FailedLogins {
  /** The one that has failed last is the last. */
  readonly #byParty = new Map<string, TokenBucket>();

  /** Seconds until it may try again; null if it may now. */
  waitSeconds(address: string | undefined, nowMs: number): number | null {
    const failures = this.#byParty.get(partyOf(address));
    return failures === undefined || failures.has(nowMs) ? null : 1 / FAILURES.perSecond;
  }

  count(address: string | undefined, nowMs: number): void {
    const party = partyOf(address);
    const failures = this.#byParty.get(party) ?? new TokenBucket(FAILURES);
    failures.take(nowMs);
    this.#byParty.delete(party);
    this.#byParty.set(party, failures);
    const [oldest] = this.#byParty.keys();
    if (oldest !== undefined && this.#byParty.size > MAX_ADDRESSES) this.#byParty.delete(oldest);
  }
}

/**
 * Who is at an address: of IPv6 its first half, as whoever has one has all that differ in the other.
 */
function partyOf(address = ""): string {
  if (isIP(address) !== 6 || address.includes(".")) return address;
  const [head = "", tail] = address.split("::");
  const before = head.split(":").filter((group) => group !== "");
  const after = (tail ?? "").split(":").filter((group) => group !== "");
  const zeros = tail === undefined ? 0 : 8 - before.length - after.length;
  return [...before, ...Array<string>(zeros).fill("0"), ...after].slice(0, 4).join(":");
}
