/**
 * Ids of turns. Where replicas find each other, an id says which of them runs the turn, so that any
 * other can pass on who asks for it. Pure but for chance.
 *
 *     018f3c5e-9a7b-8c21-b3d4-0a1b2c3d4e5f     UUIDv8: the last 48 bits are the replica's tag
 *
 * The tag is at the end because ids of events begin as their turn's does, and have to differ
 * (`protocol/event-id.ts`).
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { sha256 } from "../lib/sha256.ts";

const TAG_LENGTH = 12;

/** Of chance alone, in the lower half of the third group and before, are 74 bits. */
const TAGGED_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-([0-9a-f]{12})$/;

/** Of a replica, from the id of its data directory; of 1,000 replicas none are likely to share one. */
export function replicaTagOf(serverId: string): string {
  return sha256(`replica ${serverId}`).slice(0, TAG_LENGTH);
}

/** @param tag Null where no other replica would come to ask. */
export function newTurnId(tag: string | null): string {
  const id = randomUUID();
  return tag === null ? id : `${id.slice(0, 14)}8${id.slice(15, -TAG_LENGTH)}${tag}`;
}

/** The tag of the replica that runs the turn, or did; undefined for an id that has none. */
export function replicaTagIn(turnId: string): string | undefined {
  return TAGGED_ID.exec(turnId)?.[1];
}
