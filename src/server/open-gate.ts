/**
 * The gate of a server, with the figures it decides on.
 *
 * @module
 */

import { availableParallelism, totalmem } from "node:os";
import { readCpuLimit, type CpuLimit } from "../capacity/cpu-limit.ts";
import { TurnGate } from "../capacity/gate.ts";
import { readMemoryLimit, type MemoryLimit } from "../capacity/memory-limit.ts";
import { StartLane } from "../capacity/start-lane.ts";
import { staticWeights } from "../capacity/weights.ts";
import type { Config } from "../config/config.ts";

export interface OpenGate {
  readonly memoryLimit: MemoryLimit;
  readonly cpuLimit: CpuLimit;
  readonly lane: StartLane;
  readonly gate: TurnGate;
}

export function openGate({ capacity }: Pick<Config, "capacity">): OpenGate {
  const memoryLimit = readMemoryLimit({
    explicitBytes: capacity.memoryLimitBytes,
    totalMemoryBytes: totalmem(),
  });
  const cpuLimit = readCpuLimit({ cpuCount: availableParallelism() });
  const lane = new StartLane({ cpus: cpuLimit.cpus, maxWaitMs: capacity.startWaitMs });
  const weights = staticWeights({ limit: memoryLimit, ...capacity });
  const gate = new TurnGate({ ...capacity, weights, lane });
  return { memoryLimit, cpuLimit, lane, gate };
}
