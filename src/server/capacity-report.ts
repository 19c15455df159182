/**
 * The numbers of the load line, for `/capacity` and `/metrics`: read when asked.
 *
 * @module
 */

import type { AgentProcesses } from "../agent-process/registry.ts";
import type { TurnGate } from "../capacity/gate.ts";
import type { MemoryLimit } from "../capacity/memory-limit.ts";
import { readMemoryUse } from "../capacity/memory-reading.ts";
import type { CapacityView } from "../http/server-parts.ts";
import type { CapacityNumbers } from "../telemetry/metrics.ts";

/** What runs in the server; nothing until it is watched. */
export interface WatchedServer {
  readonly processes: AgentProcesses;
  readonly countStrays: () => number;
}

export class CapacityReport {
  readonly #gate: TurnGate;
  readonly #limit: MemoryLimit;
  #server: WatchedServer | null = null;

  constructor(gate: TurnGate, limit: MemoryLimit) {
    this.#gate = gate;
    this.#limit = limit;
  }

  /** From now on its processes are part of the report. */
  watch(server: WatchedServer): void {
    this.#server = server;
  }

  view(): CapacityView {
    const nowMs = Date.now();
    const memory = readMemoryUse({ limit: this.#limit });
    return { ...this.#gate.snapshot(nowMs), memory, turns: this.#turns(nowMs) };
  }

  numbers(): CapacityNumbers {
    const gate = this.#gate.snapshot(Date.now());
    return {
      turnsInFlight: gate.inflight,
      turnsThatFit: gate.turnsThatFit,
      memoryLimitBytes: gate.limitBytes,
      loadLineBytes: gate.loadLineBytes,
      memoryUsedBytes: readMemoryUse({ limit: this.#limit }).bytes,
      committedBytes: gate.committedBytes,
      headroomBytes: gate.headroomBytes,
      liveStrays: this.#server?.countStrays() ?? 0,
      shed: gate.shed,
    };
  }

  #turns(nowMs: number): CapacityView["turns"] {
    return Array.from(this.#server?.processes.live ?? [], (agent) => ({
      turnId: agent.turnId,
      ageMs: Math.max(0, nowMs - agent.startedAtMs),
      bytes: agent.currentBytes,
      peakBytes: agent.peakBytes,
    }));
  }
}
