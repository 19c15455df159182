/**
 * The gate of a server, with the figures it decides on.
 *
 * @module
 */

import { availableParallelism, totalmem } from "node:os";
import { readPrivateBytes } from "../agent-process/proc.ts";
import type { AgentDefinition } from "../agent/definition.ts";
import { type CpuLimit, cpuLimitReader } from "../capacity/cpu-limit.ts";
import { CpuMeter } from "../capacity/cpu-meter.ts";
import { FootprintBook } from "../capacity/footprint.ts";
import { TurnGate } from "../capacity/gate.ts";
import { LimitWatch } from "../capacity/limit-watch.ts";
import { type MemoryLimit, memoryLimitReader } from "../capacity/memory-limit.ts";
import { MemoryMeter } from "../capacity/memory-reading.ts";
import { SafetyReserve } from "../capacity/safety-reserve.ts";
import type { GateDecision } from "../capacity/shed.ts";
import { StartLane } from "../capacity/start-lane.ts";
import { MeasuredWeights, staticWeights, type Weights } from "../capacity/weights.ts";
import type { Config } from "../config/config.ts";

export interface GateOptions {
  readonly config: Pick<Config, "capacity">;
  readonly agents: readonly AgentDefinition[];
  /** The version of Claude Code: another one holds another amount of memory. */
  readonly sdkVersion: string;
  /** Why memory is short, in words; null while it is not. */
  readonly pressure: () => string | null;
  /** Directory that stands for `/`; limits are read below it. */
  readonly root?: string;
}

/** Who hears of what the gate decides, and of the limits that it decides on. */
export interface GateListeners {
  readonly onLimitRead: (limit: MemoryLimit, before: MemoryLimit) => void;
  /** Told of another CPU quota, before the memory limit that was read with it. */
  readonly onCpuChange: (limit: CpuLimit, before: CpuLimit) => void;
  readonly onDecision: (decision: GateDecision) => void;
}

export interface OpenGate {
  readonly memoryLimit: LimitWatch;
  readonly meter: MemoryMeter;
  readonly gate: TurnGate;
  readonly lane: StartLane;
  readonly cpu: CpuMeter;
  readonly reserve: SafetyReserve;
  readonly footprints: FootprintBook;
  /** Sets who hears of all from now on. */
  listen(listeners: GateListeners): void;
}

export function openGate(options: GateOptions): OpenGate {
  const { root = "/", pressure } = options;
  const { capacity } = options.config;
  let listeners: GateListeners | null = null;
  const readCpuLimit = cpuLimitReader({ root, cpuCount: availableParallelism });
  const cpu = new CpuMeter(readCpuLimit());
  const lane = new StartLane({
    cpus: capacity.startsAtOnce ?? cpu.limit.cpus,
    maxWaitMs: capacity.startWaitMs,
  });
  const settingBytes = capacity.safetyReserveBytes;
  const limitBytes = () => memoryLimit.current.bytes;
  const reserve = new SafetyReserve({ settingBytes, cores: cpu.limit.cpus, limitBytes });
  const followCpuLimit = (): void => {
    const before = cpu.limit;
    const now = readCpuLimit();
    if (now.cpus === before.cpus && now.source === before.source) return;
    cpu.resize(now);
    reserve.resize(now.cpus);
    if (capacity.startsAtOnce === null) lane.resize(now.cpus);
    if (now.cpus !== before.cpus) listeners?.onCpuChange(now, before);
  };
  const { memoryLimitBytes: explicitBytes } = capacity;
  const memoryLimit = new LimitWatch({
    read: memoryLimitReader({ root, explicitBytes, totalMemoryBytes: totalmem() }),
    onRead: (now, before) => {
      // Both are changed by one resize, and the guard's brake depends on both.
      followCpuLimit();
      listeners?.onLimitRead(now, before);
    },
  });
  const limit = () => memoryLimit.current;
  const footprints = openFootprints(options);
  const meter = new MemoryMeter();
  const measure = (): Weights =>
    new MeasuredWeights({
      limit,
      readUse: (now) => meter.read(now),
      readParentBytes: () => readPrivateBytes(process.pid),
      safetyReserveBytes: () => reserve.bytes,
      footprints,
      agentNames: options.agents.map(({ name }) => name),
    });
  const isStatic = capacity.admission === "static";
  const weights = isStatic ? staticWeights({ ...capacity, limit }) : measure();
  const onDecision = (decision: GateDecision) => listeners?.onDecision(decision);
  const gate = new TurnGate({ ...capacity, weights, lane, pressure, onDecision });
  const listen = (those: GateListeners): void => {
    listeners = those;
  };
  return { memoryLimit, meter, gate, lane, cpu, reserve, footprints, listen };
}

/** What the footprints of an agent depend on: another Claude Code holds another amount of memory. */
export function footprintVersion(
  { version }: Pick<AgentDefinition, "version">,
  sdkVersion: string,
): string {
  return `${sdkVersion} ${version}`;
}

function openFootprints({ config, agents, sdkVersion }: GateOptions): FootprintBook {
  const versions = new Map(
    agents.map((agent) => [agent.name, footprintVersion(agent, sdkVersion)]),
  );
  const starting = new Set(agents.filter(startsPrograms).map(({ name }) => name));
  return new FootprintBook({
    priorBytes: config.capacity.turnReserveBytes,
    versionOf: (agentName) => versions.get(agentName) ?? null,
    startsPrograms: (agentName) => starting.has(agentName),
  });
}

/** A shell runs what the model says; a server of MCP is there as long as the turn. */
function startsPrograms({ tools }: AgentDefinition): boolean {
  const hasProgram = Object.values(tools.mcp).some(({ type }) => type === "stdio");
  return hasProgram || tools.builtin.includes("Bash");
}
