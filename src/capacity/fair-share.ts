/**
 * No one may hold every permit while others ask. A gate that never queues does not see who waits;
 * but whoever was shed was told when to come back, and is expected then. As long as someone is
 * expected who holds less than an equal share, whoever holds more leaves room for them:
 *
 *     tenants     equal shares of what there is for turns
 *     callers     equal shares of what their tenant may have
 *
 * What there is are bytes, and where there is a ceiling, turns at once: a share is one of each.
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

/** One permit that is held. */
export interface Holding extends Party {
  readonly bytes: number;
  /** None of a session that rests: its process has no turn. */
  readonly turns: 0 | 1;
}

/** Something that turns need and that is shared, in whole bytes or turns. */
export interface Room {
  readonly of: "bytes" | "turns";
  /** What the turn that is asked for takes. */
  readonly asked: number;
  /** What there is for turns in all, what is held included. */
  readonly total: number;
  /** What is left for another turn. */
  readonly left: number;
}

export interface ShareInput {
  readonly party: Party;
  readonly holdings: readonly Holding[];
  /** All that bind. */
  readonly rooms: readonly Room[];
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
    const isNear = (party: Party) => isOneTenant(party, input.party);
    const near = {
      ...input,
      others: others.filter(({ party }) => isNear(party)),
      holdings: input.holdings.filter(isNear),
    };
    return input.rooms.some(
      (room) =>
        exceedsAs((party) => party.tenant, room, { ...input, others }) ||
        exceedsAs(keyOf, room, near),
    );
  }

  #forgetLate(nowMs: number): void {
    for (const [key, { untilMs }] of this.#expected) {
      if (untilMs < nowMs) this.#expected.delete(key);
    }
  }
}

/** @param nameOf Whom an equal share is for. */
function exceedsAs(
  nameOf: (party: Party) => string,
  room: Room,
  { party, others, holdings }: Omit<ShareInput, "rooms"> & { readonly others: readonly Expected[] },
): boolean {
  const own = nameOf(party);
  const held = new Map<string, number>([[own, 0]]);
  for (const { party: other } of others) held.set(nameOf(other), 0);
  for (const holding of holdings) {
    const name = nameOf(holding);
    held.set(name, (held.get(name) ?? 0) + holding[room.of]);
  }
  const share = room.total / held.size;
  const ownHeld = held.get(own) ?? 0;
  if (ownHeld + room.asked <= share) return false;
  let kept = 0;
  for (const { party: other, turns, bytes } of others) {
    const name = nameOf(other);
    if (name === own) continue;
    const before = held.get(name) ?? 0;
    const needed = room.of === "bytes" ? bytes : 1;
    // Whole turns within the share, or what is left of all shares would be of use to no one. One
    // turn is everyone's, however small the shares are; but of those who have none, none waits for
    // another, or all of them would.
    const isFirst = before === 0 && ownHeld > 0;
    const due = Math.max(Math.floor((share - before) / needed), isFirst ? 1 : 0);
    kept += Math.min(turns, due) * needed;
  }
  return kept > 0 && room.asked + kept > room.left;
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
