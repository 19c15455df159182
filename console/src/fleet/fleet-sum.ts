/**
 * What several replicas carry together. Pure.
 *
 * @module
 */

import type { CapacityEvent } from "../feed/capacity.ts";
import type { History } from "../feed/history.ts";
import { windowOf } from "../history/window.ts";
import { bytesText, countText } from "../ui/format.ts";

/** Of one replica; without a capacity nothing is known of it yet. */
export interface ReplicaFigures {
  readonly name: string;
  readonly isDown: boolean;
  readonly capacity: CapacityEvent | null;
  /** In the last five minutes. */
  readonly shed: number;
}

const MINUTES = 5;

export function shedLately(history: History, nowMs: number): number {
  return windowOf(history, MINUTES, nowMs).shed.reduce<number>(
    (sum, count) => sum + (count ?? 0),
    0,
  );
}

/** Replicas that are down carry nothing. */
export function fleetText(replicas: readonly ReplicaFigures[]): string {
  const up = replicas.filter(({ isDown, capacity }) => !isDown && capacity !== null);
  const sumOf = (figure: (event: CapacityEvent) => number) =>
    up.reduce((sum, { capacity }) => sum + (capacity === null ? 0 : figure(capacity)), 0);
  const inflight = sumOf(({ capacity }) => capacity.inflight);
  const fit = sumOf(({ capacity, readiness }) =>
    readiness.state === "ready" ? Math.max(0, capacity.turnsThatFit - capacity.inflight) : 0,
  );
  const committedBytes = sumOf(({ capacity }) => capacity.committedBytes);
  const lineBytes = sumOf(({ capacity }) => capacity.loadLineBytes);
  return (
    `${countText(up.length, "replica")} of ${replicas.length}: ` +
    `${countText(inflight, "turn")} in flight, ${fit} more ${fit === 1 ? "fits" : "fit"}; ` +
    `${bytesText(committedBytes)} of ${bytesText(lineBytes)} committed.`
  );
}

/** Who sheds, the most first. */
export function shedText(replicas: readonly ReplicaFigures[]): string {
  const shedding = replicas
    .filter(({ shed }) => shed > 0)
    .sort((one, other) => other.shed - one.shed);
  if (shedding.length === 0) return `Nobody has shed a turn in the last ${MINUTES} minutes.`;
  const parts = shedding.map(({ name, shed }) => `${name} ${shed.toLocaleString("en")}`);
  return `Shed in the last ${MINUTES} minutes: ${parts.join(", ")}.`;
}
