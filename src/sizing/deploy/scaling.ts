/**
 * When to add replicas: on turns in flight against the turns that fit, at the point where Erlang's
 * formula says that the target is shed. Not on CPU or on requests a second, which say nothing of how
 * full a gate is. Pure.
 *
 * @module
 */

import { METRICS } from "../../telemetry/names.ts";
import { trafficAt } from "../erlang.ts";
import { leastFleet } from "../plan.ts";
import { MOST_REPLICAS } from "../workload.ts";
import type { Premises } from "./premises.ts";
import { figure, percent, type ReplicaRoom } from "./room.ts";

/** The HPA, also that of KEDA, leaves a tenth above and below the target alone. */
const TOLERANCE = 1.1;

export interface Scaling {
  readonly min: number;
  readonly minWhy: string;
  readonly max: number;
  readonly maxWhy: string;
  /** Turns in flight, of those that fit, at which a replica is added. */
  readonly targetRatio: number;
  readonly targetWhy: string;
  /** In PromQL: how many replicas the turns in flight would fill. */
  readonly query: string;
  readonly queryWhy: string;
}

/**
 * Null where there can be one replica only.
 *
 * @param selector Of PromQL, with braces, or empty.
 * @param mostReplicas That the platform has.
 */
export function scalingOf(
  premises: Premises,
  room: ReplicaRoom,
  selector: string,
  mostReplicas: number = MOST_REPLICAS,
): Scaling | null {
  if (!premises.isShared) return null;
  const { workload, profile } = premises;
  const { replicas } = room.fleet;
  const min = Math.min(workload.minReplicas, replicas);
  const size = { ...room.size, memoryBytes: room.size.memoryBytes - room.filesBytes };
  const twice = leastFleet(profile, { ...workload, users: workload.users * 2 }, size);
  const wanted = Math.max(replicas, twice?.replicas ?? MOST_REPLICAS);
  const max = Math.min(wanted, mostReplicas);
  const forTwice = `replicas for twice the users of the plan, ${figure(workload.users * 2)}`;
  return {
    min,
    minWhy: `minReplicas of the workload: with fewer, a deployment or a crash stops all`,
    max,
    maxWhy:
      `${max < wanted ? "the most there is here, less than " : ""}${forTwice}; ` +
      `the busiest hour of the plan needs ${replicas}`,
    ...targetOf(premises, room, min),
    ...queryOf(premises, selector),
  };
}

function targetOf(
  { workload, isLongRunning }: Premises,
  { fleet }: ReplicaRoom,
  min: number,
): Pick<Scaling, "targetRatio" | "targetWhy"> {
  const isPooled = workload.balancing === "pooled";
  const turns = isPooled ? fleet.replica.turns * min : fleet.replica.turns;
  const shed = workload.shedTargetRatio;
  const busyRatio = (trafficAt(turns, shed) * (1 - shed)) / turns;
  const { serverBytes, turnBytes, loadLineBytes } = fleet.replica;
  const heldBytes = serverBytes + busyRatio * fleet.replica.turns * turnBytes;
  const ratio = isLongRunning ? heldBytes / loadLineBytes : busyRatio;
  const targetRatio = Math.max(1, Math.floor((ratio * 1000) / TOLERANCE)) / 1000;
  const gate = isPooled ? `${turns} turns of ${min} replicas together` : `a gate of ${turns} turns`;
  const busy = `${gate} sheds ${percent(shed)} when it is ${percent(busyRatio)} busy (Erlang B)`;
  const memory = isLongRunning ? `, with ${percent(ratio)} of the load line committed then` : "";
  return {
    targetRatio,
    targetWhy: `${busy}${memory}; less a tenth, which the HPA leaves alone`,
  };
}

function queryOf(
  { isLongRunning }: Premises,
  selector: string,
): Pick<Scaling, "query" | "queryWhy"> {
  const [used, room] = isLongRunning
    ? [nameOf("committedBytes"), nameOf("loadLineBytes")]
    : [nameOf("turnsInFlight"), nameOf("turnsThatFit")];
  return {
    query: `sum(${used}${selector}) / clamp_min(avg(${room}${selector}), 1)`,
    queryWhy: isLongRunning
      ? "how many replicas the memory in use would fill: long-running sessions hold it between turns"
      : "how many replicas the turns in flight would fill: all of them, by those that fit in one",
  };
}

/** The name of a metric as Prometheus has it: gauges get no suffix. */
function nameOf(metric: keyof typeof METRICS): string {
  return METRICS[metric].name.replaceAll(".", "_");
}
