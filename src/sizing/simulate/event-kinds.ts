/**
 * What can happen in a simulation.
 *
 * @module
 */

export const EVENT = {
  /** A turn, or a session, begins; its subject is nobody yet. */
  arrival: 0,
  /** A client asks, again or for the next turn of its session. */
  ask: 1,
  /** A process of a turn is up. */
  started: 2,
  turnEnded: 3,
  /** A process that was kept for a next turn ends. */
  keptLongEnough: 4,
  replicaUp: 5,
  replicaFails: 6,
  /** A draining replica has had its time. */
  drainEnds: 7,
  scale: 8,
  deploy: 9,
  sample: 10,
} as const;
