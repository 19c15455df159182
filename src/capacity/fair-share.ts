/**
 * No one may hold every permit while others ask. A gate that never queues does not see who waits;
 * but whoever was shed was told when to come back, and is expected then. As long as someone is
 * expected who holds less than an equal share, whoever holds more leaves room for them:
 *
 *     tenants     equal shares of what there is for turns
 *     callers     equal shares of what their tenant may have
 *
 * A share nobody asks for is anyone's: the room kept is what the expected turns need, no more, and
 * it is kept until they were admitted or did not come.
 *
 * @module
 */

/** Who asks for a turn, or holds one. */
export interface Party {
  readonly tenant: string;
  readonly callerId: string;
}

/** One turn that is held. */
export interface Holding extends Party {
  readonly bytes: number;
}

export interface ShareInput {
  readonly party: Party;
  /** What the turn that is asked for is predicted to hold. */
  readonly predictedBytes: number;
  readonly holdings: readonly Holding[];
  /** What there is for turns in all, those held included. */
  readonly roomBytes: number;
  /** What is left for another turn. */
  readonly headroomBytes: number;
  readonly nowMs: number;
}

interface Expected {
  readonly party: Party;
  /** Turns of theirs that were shed and have not been admitted since. */
  turns: number;
  /** The most that one of them was predicted to hold. */
  bytes: number;
  untilMs: number;
}

/** How long after the time they were told callers are still expected. */
const LATENESS_MS = 3_000;
/** Callers remembered; beyond, the first come are forgotten, and only their share is. */
const MAX_EXPECTED = 1_000;

export class FairShare {
  /** By tenant and caller, in the order in which they were shed. */
  readonly #expected = new Map<string, Expected>();

  /** Somebody was shed, and told to come back at `dueMs`. */
  shed(party: Party, predictedBytes: number, dueMs: number): void {
    const key = keyOf(party);
    const untilMs = dueMs + LATENESS_MS;
    const known = this.#expected.get(key);
    if (known !== undefined) {
      known.turns += 1;
      known.bytes = Math.max(known.bytes, predictedBytes);
      known.untilMs = Math.max(known.untilMs, untilMs);
      return;
    }
    this.#expected.set(key, { party, turns: 1, bytes: predictedBytes, untilMs });
    if (this.#expected.size <= MAX_EXPECTED) return;
    const [oldest] = this.#expected.keys();
    if (oldest !== undefined) this.#expected.delete(oldest);
  }

  /** Somebody was admitted, whether or not expected. */
  admitted(party: Party): void {
    const key = keyOf(party);
    const known = this.#expected.get(key);
    if (known === undefined) return;
    known.turns -= 1;
    if (known.turns === 0) this.#expected.delete(key);
  }

  /** Whether this turn would take room that is kept for others. */
  exceeds(input: ShareInput): boolean {
    this.#forgetLate(input.nowMs);
    const others = [...this.#expected.values()].filter(({ party }) => !isSame(party, input.party));
    if (others.length === 0) return false;
    return (
      this.#exceedsAs((party) => party.tenant, others, input) ||
      this.#exceedsAs(
        keyOf,
        others.filter(({ party }) => isOneTenant(party, input.party)),
        {
          ...input,
          holdings: input.holdings.filter((held) => isOneTenant(held, input.party)),
        },
      )
    );
  }

  /** @param nameOf Whom an equal share is for. */
  #exceedsAs(
    nameOf: (party: Party) => string,
    others: readonly Expected[],
    { party, predictedBytes, holdings, roomBytes, headroomBytes }: ShareInput,
  ): boolean {
    const own = nameOf(party);
    const held = new Map<string, number>([[own, 0]]);
    for (const { party: other } of others) held.set(nameOf(other), 0);
    for (const holding of holdings) {
      const name = nameOf(holding);
      held.set(name, (held.get(name) ?? 0) + holding.bytes);
    }
    const shareBytes = roomBytes / held.size;
    if ((held.get(own) ?? 0) + predictedBytes <= shareBytes) return false;
    let keptBytes = 0;
    for (const { party: other, turns, bytes } of others) {
      const name = nameOf(other);
      if (name === own) continue;
      const before = held.get(name) ?? 0;
      // Whole turns within the share, or what is left of all shares would be of use to no one; but
      // one turn is everyone's, however small the shares are.
      const due = Math.max(Math.floor((shareBytes - before) / bytes), before === 0 ? 1 : 0);
      keptBytes += Math.min(turns, due) * bytes;
    }
    return keptBytes > 0 && predictedBytes + keptBytes > headroomBytes;
  }

  #forgetLate(nowMs: number): void {
    for (const [key, { untilMs }] of this.#expected) {
      if (untilMs < nowMs) this.#expected.delete(key);
    }
  }
}

function keyOf({ tenant, callerId }: Party): string {
  return `${tenant}\n${callerId}`;
}

function isSame(a: Party, b: Party): boolean {
  return a.tenant === b.tenant && a.callerId === b.callerId;
}

function isOneTenant(a: Party, b: Party): boolean {
  return a.tenant === b.tenant;
}
