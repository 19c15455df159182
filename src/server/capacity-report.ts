/**
 * The numbers of the load line, for `/capacity` and `/metrics`: read when asked.
 *
 * @module
 */

import type { Containment } from "../agent-process/containment.ts";
import type { AgentProcesses } from "../agent-process/registry.ts";
import type { GateSnapshot } from "../capacity/gate-snapshot.ts";
import { readMemoryAccount, readMemoryPressure } from "../capacity/memory-pressure.ts";
import type { CapacityView, CpuView } from "../http/server-parts.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { CapacityNumbers } from "../telemetry/metrics.ts";
import type { KeptProcesses } from "../turn/kept-processes.ts";
import type { GuardLink } from "./guard-link.ts";
import type { OpenGate } from "./open-gate.ts";

/** What runs in the server; nothing until it is watched. */
export interface WatchedServer {
  readonly agentNames: readonly string[];
  readonly containment: Containment;
  readonly processes: AgentProcesses;
  readonly kept: Pick<KeptProcesses, "summary">;
  readonly countStrays: () => number;
}

export class CapacityReport {
  readonly #capacity: OpenGate;
  readonly #guard: Pick<GuardLink, "level" | "status">;
  #server: WatchedServer | null = null;

  constructor(capacity: OpenGate, guard: Pick<GuardLink, "level" | "status">) {
    this.#capacity = capacity;
    this.#guard = guard;
  }

  /** From now on its processes are part of the report. */
  watch(server: WatchedServer): void {
    this.#server = server;
  }

  view(): CapacityView {
    const { gate, memoryLimit, meter, footprints } = this.#capacity;
    const nowMs = monotonicMs();
    const snapshot = gate.snapshot(nowMs);
    const limit = memoryLimit.current;
    const cpu = this.#cpu();
    const { agentNames = [], containment } = this.#server ?? {};
    const { kind = "guard", text = "", killsAll = false } = containment ?? {};
    return {
      ...snapshot,
      ...shownTimes(snapshot, nowMs),
      memory: meter.read(limit),
      account: { ...readMemoryPressure({ limit }), ...readMemoryAccount({ limit }) },
      binds: bindsOf(snapshot, cpu),
      cpu,
      containment: { kind, text, killsAll },
      guard: { level: this.#guard.level, text: this.#guard.status?.reason ?? "the guard is off" },
      kept: this.#server?.kept.summary() ?? NONE_KEPT,
      footprints: Object.fromEntries(agentNames.map((name) => [name, footprints.describe(name)])),
      turns: this.#turns(nowMs),
    };
  }

  numbers(): CapacityNumbers {
    const { gate, lane } = this.#capacity;
    const kept = this.#server?.kept.summary();
    const snapshot = gate.snapshot(monotonicMs());
    return {
      turnsInFlight: snapshot.inflight,
      turnsThatFit: snapshot.turnsThatFit,
      memoryLimitBytes: snapshot.limitBytes,
      loadLineBytes: snapshot.loadLineBytes,
      memoryUsedBytes: snapshot.usedBytes,
      committedBytes: snapshot.committedBytes,
      promisedBytes: snapshot.promisedBytes,
      poolBytes: snapshot.poolBytes,
      headroomBytes: snapshot.headroomBytes,
      guardLevel: this.#guard.level,
      startsWaiting: lane.waiting,
      residents: kept?.residents ?? 0,
      spares: kept?.spares ?? 0,
      liveStrays: this.#server?.countStrays() ?? 0,
      shed: snapshot.shed,
    };
  }

  #cpu(): CpuView {
    const { cpu, lane } = this.#capacity;
    return {
      cpus: cpu.limit.cpus,
      source: cpu.limit.source,
      perTurn: cpu.cpusPerTurn,
      turnsThatFit: cpu.turnsThatFit,
      starting: lane.starting,
      startsAtOnce: lane.slots,
      startsWaiting: lane.waiting,
      meanStartMs: Math.round(lane.meanStartMs),
    };
  }

  #turns(nowMs: number): CapacityView["turns"] {
    const { processes } = this.#server ?? {};
    return Array.from(processes?.live ?? [], (agent) => {
      const { processId } = agent;
      const facts = processes?.guard.factsOf(processId) ?? null;
      return {
        processId,
        turnId: facts?.turnId ?? null,
        kind: facts?.kind ?? null,
        ageMs: Math.round(nowMs - agent.startedAtMs),
        bytes: agent.currentBytes,
        peakBytes: agent.peakBytes,
        predictedBytes: facts?.kind === "turn" ? facts.predictedBytes : null,
        ceilingBytes: facts?.ceilingBytes ?? null,
      };
    });
  }
}

/** What sets how many turns there can be. */
function bindsOf({ turnsThatFit, maxTurns }: GateSnapshot, cpu: CpuView): CapacityView["binds"] {
  if ((cpu.turnsThatFit ?? Infinity) < turnsThatFit) return "cpu";
  return maxTurns !== null && turnsThatFit >= maxTurns ? "maxTurns" : "memory";
}

/** The gate's clock says nothing to people, nor do parts of a millisecond. */
function shownTimes(
  { lastDecision, oldestTurnMs }: GateSnapshot,
  nowMs: number,
): Pick<GateSnapshot, "lastDecision" | "oldestTurnMs"> {
  const atMs = Math.round(Date.now() - nowMs + (lastDecision?.atMs ?? 0));
  return {
    lastDecision: lastDecision === null ? null : { atMs, text: lastDecision.text },
    oldestTurnMs: oldestTurnMs === null ? null : Math.round(oldestTurnMs),
  };
}

const NONE_KEPT = {
  residents: 0,
  longRunning: 0,
  longRunningBytes: 0,
  spares: 0,
  evictableBytes: 0,
};
