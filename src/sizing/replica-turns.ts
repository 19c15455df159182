/**
 * How many turns of a measured agent a replica of some size carries: by memory as its gate will
 * decide, with the same arithmetic, and by CPU. Pure.
 *
 * @module
 */

import { WINDOW_SAMPLES } from "../capacity/footprint.ts";
import {
  type FootprintModel,
  poolBytes,
  predictBytes,
  settledModel,
} from "../capacity/footprint-model.ts";
import { turnsThatFit, weigh } from "../capacity/load-line.ts";
import { SafetyReserve } from "../capacity/safety-reserve.ts";
import type { Profile } from "./profile.ts";

export interface ReplicaSize {
  readonly memoryBytes: number;
  /** Cores, possibly a fraction. */
  readonly cpus: number;
  /**
   * Whether at its memory limit the kernel ends all of it at once, as on Kubernetes: its gate keeps
   * more free then, for the memory guard to be first.
   */
  readonly killsAll?: boolean;
}

/** What the turns are like that a replica has to carry. */
export interface TurnMix {
  /** How long a turn lasts, on average. */
  readonly turnMs: number;
  /** What a turn carries, the transcript that it resumes: the mean, and its standard deviation. */
  readonly carriedBytes: number;
  readonly carriedDeviationBytes: number;
  /** Open sessions without a turn. */
  readonly idleSessions: number;
}

export interface ReplicaTurns {
  /** In flight at most; at least 1, if a turn fits at all. */
  readonly turns: number;
  readonly binds: "memory" | "cpu";
  readonly memoryTurns: number;
  readonly cpuTurns: number;
  readonly loadLineBytes: number;
  /** Predicted for a turn that carries as much as most do. */
  readonly turnBytes: number;
  /** In use before the first turn, with what the server may still grow by. */
  readonly serverBytes: number;
}

/**
 * A replica whose CPU is busier than this on average starts turns late: starts come in bursts, and
 * each takes half a second of a core.
 */
export const CPU_TARGET_RATIO = 0.7;

/** 0 turns where not even one fits below the load line: such a replica works one turn at a time,
 * by the rule that an idle replica always admits, and is no size to plan for. */
export function replicaTurns(profile: Profile, size: ReplicaSize, mix: TurnMix): ReplicaTurns {
  const { memoryBytes, cpus, killsAll = false } = size;
  const reserve = new SafetyReserve({
    settingBytes: null,
    cores: cpus,
    limitBytes: () => memoryBytes,
  });
  reserve.sawMapped(profile.server.sharedTextBytes);
  if (killsAll) reserve.kernelKillsAll();
  const { idleBytes, idleSessionBytes, inflightTurnBytes, growthBytes = 0 } = profile.server;
  const serverBytes = idleBytes + growthBytes + idleSessionBytes * mix.idleSessions;
  const load = weigh({
    limitBytes: memoryBytes,
    safetyReserveBytes: reserve.bytes,
    usedBytes: serverBytes,
    promisedBytes: 0,
    poolBytes: 0,
  });
  const model = modelOf(profile, mix);
  const turnBytes = predictBytes(model, mix.carriedBytes) + inflightTurnBytes;
  const memoryTurns = turnsThatFit(load, {
    inflight: 0,
    turnBytes,
    maxTurns: null,
    isIdle: false,
    poolBytesWith: (more) => poolOf(model, more),
  });
  const cpuTurns = turnsByCpu(profile, size, mix);
  const turns = Math.min(memoryTurns, cpuTurns);
  const binds = memoryTurns <= cpuTurns ? "memory" : "cpu";
  const { loadLineBytes } = load;
  return { turns, binds, memoryTurns, cpuTurns, loadLineBytes, turnBytes, serverBytes };
}

/** The turns that use the target share of the CPU; one in any case, however slow. */
function turnsByCpu(profile: Profile, { cpus }: ReplicaSize, { turnMs }: TurnMix): number {
  const { cpuMs: serverCpuMs, cores: serverCores } = serverTurnOf(profile);
  const { cpuMs: fixedMs, durationMs } = fixedPartOf(profile);
  const cpuMs =
    fixedMs +
    answerCoresOf(profile) * Math.max(0, turnMs - durationMs) +
    serverCpuMs +
    serverCores * turnMs;
  if (cpuMs === 0) return Infinity;
  const turnsAtOnce = (CPU_TARGET_RATIO * cpus * Math.max(turnMs, cpuMs)) / cpuMs;
  // 0.7 × 2 is a little less than 1.4.
  return Math.max(1, Math.floor(turnsAtOnce + 1e-9));
}

/** The part of a CPU that a turn uses while it answers, and the server for it. */
export function streamCoresOf(profile: Profile): number {
  return answerCoresOf(profile) + serverTurnOf(profile).cores;
}

function answerCoresOf(profile: Profile): number {
  const { cpuMs, duration } = profile.turn;
  const fixed = fixedPartOf(profile);
  return Math.max(0, cpuMs - fixed.cpuMs) / Math.max(1, duration.meanMs - fixed.durationMs);
}

/** What a turn takes whose answer is next to nothing; a start alone, where that was not measured. */
function fixedPartOf({ start, turn }: Profile): { cpuMs: number; durationMs: number } {
  if (turn.short !== undefined) return turn.short;
  const cpuMs = Math.min(start.cpuMs, turn.cpuMs);
  return { cpuMs, durationMs: cpuMs };
}

function serverTurnOf({ server }: Profile): { cpuMs: number; cores: number } {
  return server.turn ?? { cpuMs: 0, cores: 0 };
}

/**
 * The least memory, in whole steps, that carries so many turns, whatever the CPUs; as much as
 * {@link MOST_BYTES} if no replica is so large.
 */
export function leastMemoryBytes(
  profile: Profile,
  mix: TurnMix,
  turns: number,
  stepBytes: number,
  place: Omit<ReplicaSize, "memoryBytes"> = { cpus: 1 },
): number {
  let [low, high] = [0, Math.ceil(MOST_BYTES / stepBytes)];
  while (low + 1 < high) {
    const middle = Math.floor((low + high) / 2);
    const size = { ...place, memoryBytes: middle * stepBytes };
    if (replicaTurns(profile, size, mix).memoryTurns >= turns) high = middle;
    else low = middle;
  }
  return high * stepBytes;
}

/** No replica needs more, nor is there one. */
const MOST_BYTES = 2 ** 40;

/** What a replica will have learned of such turns when it has seen many. */
export function modelOf(profile: Profile, mix: TurnMix): FootprintModel {
  const { peak, bytesPerCarriedByte } = profile.turn;
  const { meanBytes, mostBytes, deviationBytes } = peak;
  const model = settledModel({
    count: WINDOW_SAMPLES,
    meanBytes,
    mostBytes,
    deviationBytes,
    bytesPerCarriedByte,
  });
  const carried = bytesPerCarriedByte * mix.carriedDeviationBytes;
  return { ...model, deviationBytes: Math.hypot(model.deviationBytes, carried) };
}

/** {@link poolBytes} of so many turns alike, in constant time. */
export function poolOf(model: FootprintModel, turns: number): number {
  const { errorBytes, deviationBytes } = model;
  return poolBytes([
    {
      ...model,
      errorBytes: errorBytes * turns,
      deviationBytes: deviationBytes * Math.sqrt(turns),
    },
  ]);
}
