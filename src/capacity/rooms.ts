/**
 * What a turn that asks has to share with others: memory, and turns at once where there is a ceiling.
 * Pure.
 *
 * @module
 */

import type { Room } from "./fair-share.ts";
import type { Demand } from "./permit.ts";

export interface ShareableRoom {
  /** What the turn is predicted to hold. */
  readonly askedBytes: number;
  /** What turns hold and are promised. */
  readonly heldBytes: number;
  /** For another turn; what is reserved for others is no room to have a share of. */
  readonly leftBytes: number;
  readonly inflight: number;
  /** Infinity for no ceiling. */
  readonly maxTurns: number;
}

/** The rooms of which nobody is to have more than a share while others are expected. */
export function roomsFor({ process, resting }: Demand, room: ShareableRoom): readonly Room[] {
  const rooms: Room[] = [];
  // A session at rest keeps its memory, whether or not it has a turn: it is nobody's to wait for.
  if (resting === undefined) {
    // The process that the turn would go on in could be evicted for others.
    const left = Math.max(0, room.leftBytes + (process?.currentBytes ?? 0));
    rooms.push({ of: "bytes", asked: room.askedBytes, total: room.heldBytes + left, left });
  }
  const { inflight, maxTurns } = room;
  if (maxTurns === Infinity) return rooms;
  return [...rooms, { of: "turns", asked: 1, total: maxTurns, left: maxTurns - inflight }];
}
