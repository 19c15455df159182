/**
 * The agent processes of a server that are kept while no turn runs in them.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import type { StartSlot } from "../capacity/start-lane.ts";
import type { Config } from "../config/config.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import { openSpareDirectories } from "../session/spare-directories.ts";
import { KeptProcesses } from "../turn/kept-processes.ts";
import type { TurnDeps } from "../turn/run-turn.ts";
import type { StartingSpare } from "../turn/spares.ts";
import { TurnProcess } from "../turn/turn-process.ts";

export type KeptDeps = Omit<
  TurnDeps,
  "kept" | "sessions" | "locks" | "cpu" | "footprints" | "starts"
>;

/**
 * From now on they make room for turns, and spares are started where there is some left.
 *
 * @param newSessionsMayCome Spares are for them alone.
 */
export function openKeptProcesses(
  config: Config,
  deps: KeptDeps,
  newSessionsMayCome: () => boolean,
): KeptProcesses {
  const { agents, gate, lane, telemetry, dataDirectory } = deps;
  const wanted = Array.from(
    agents.values(),
    ({ definition: { name, hosting } }) => [name, hosting.spares] as const,
  ).filter(([, count]) => count > 0);
  const kept = new KeptProcesses({
    dataDirectory,
    maxResidents: config.capacity.maxResidents,
    startTimeoutMs: config.agentProcess.startTimeoutMs,
    wanted: new Map(wanted),
    start: (agentName, slot) => startSpare(agentName, slot, config, deps),
    tryEnter: (bytes) => {
      const mayStart = newSessionsMayCome() && gate.spareRoomBytes(monotonicMs()) >= bytes;
      return mayStart ? lane.tryEnter() : null;
    },
    onEnded: (kind, reason) => telemetry.metrics.keptProcessEnded(kind, reason),
    onFailed: (agent, err) => telemetry.log.warn({ agent, err }, "Cannot start a spare"),
  });
  gate.useCache(kept);
  kept.spares.open();
  return kept;
}

/** Its start counts as one; that of a turn which comes meanwhile waits for it. */
async function startSpare(
  agentName: string,
  slot: StartSlot,
  { agentProcess: { startTimeoutMs } }: Config,
  deps: KeptDeps,
): Promise<StartingSpare> {
  let process: TurnProcess;
  try {
    process = await makeSpare(agentName, deps);
  } catch (error) {
    slot[Symbol.dispose]();
    throw error;
  }
  return { process, ready: park(process, slot, startTimeoutMs) };
}

async function makeSpare(agentName: string, deps: KeptDeps): Promise<TurnProcess> {
  const agent = deps.agents.get(agentName);
  if (agent === undefined) throw new Error("a spare is wanted for an agent that is not served");
  const directories = await openSpareDirectories(deps.dataDirectory);
  return new TurnProcess({
    ...deps,
    processId: `spare-${randomUUID()}`,
    agent,
    transcriptId: directories.transcriptId,
    isNew: true,
    directories,
    spareDirectories: directories,
    telemetryEnvironment: deps.telemetry.agentEnvironment({ agentName }),
  });
}

async function park({ connection }: TurnProcess, slot: StartSlot, timeoutMs: number) {
  using _slot = slot;
  await connection.park(timeoutMs);
}
