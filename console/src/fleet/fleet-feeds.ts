/**
 * Which replicas are listened to now. A browser opens six connections to an origin, and the page
 * needs some for other things: so few feeds are open at a time, and where there are more replicas
 * they are looked at in turns. Pure but for the timer.
 *
 * @module
 */

/** Feeds of other replicas that are open at a time. */
export const MOST_OPEN = 3;
/** How long each is listened to where they take turns. */
export const TURN_MS = 4000;

/** Of so many replicas, those of this round: all where they are few. */
export function openOf<T>(replicas: readonly T[], round: number): readonly T[] {
  if (replicas.length <= MOST_OPEN) return replicas;
  return Array.from(
    { length: MOST_OPEN },
    (_, index) => replicas[(round * MOST_OPEN + index) % replicas.length] as T,
  );
}
