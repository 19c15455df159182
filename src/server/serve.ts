/**
 * Puts the rooms together into one server, and takes them apart again.
 *
 * @module
 */

import { totalmem } from "node:os";
import type { FastifyInstance } from "fastify";
import type { AgentDefinition } from "../agent/definition.ts";
import { AgentProcesses } from "../agent-process/registry.ts";
import { countStrays, sweepStrays } from "../agent-process/strays.ts";
import { writeToolShell } from "../agent-process/tool-shell.ts";
import { TurnGate } from "../capacity/gate.ts";
import { readMemoryLimit, type MemoryLimit } from "../capacity/memory-limit.ts";
import type { Config } from "../config/config.ts";
import { buildApp } from "../http/app.ts";
import type { Readiness } from "../http/server-parts.ts";
import { AppError } from "../lib/errors.ts";
import { openDataDirectory, type DataDirectory } from "../session/data-directory.ts";
import { FileSessions } from "../session/file-sessions.ts";
import { SessionLocks } from "../session/session-locks.ts";
import type { LogDestination } from "../telemetry/log.ts";
import { startTelemetry, type Telemetry } from "../telemetry/start.ts";
import { LiveTurns } from "../turn/live-turns.ts";
import { runTurn } from "../turn/run-turn.ts";
import { CapacityReport } from "./capacity-report.ts";
import { checkReadiness } from "./check-readiness.ts";
import { prepareAgents } from "./prepare-agents.ts";

export interface ServeOptions {
  readonly config: Config;
  readonly agents: readonly AgentDefinition[];
  readonly version: string;
  /** Where the log goes; the standard output without it. */
  readonly logDestination?: LogDestination;
}

export interface ServeSignals {
  /** Drains the server: running turns may end within `drain.grace`. */
  readonly stop: AbortSignal;
  /** Ends the grace early. */
  readonly hurry: AbortSignal;
}

/** A server that listens. It takes turns once `ready` has resolved with null. */
export interface ListeningServer {
  /** Base address, e.g. `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly memoryLimit: MemoryLimit;
  readonly gate: TurnGate;
  /** Resolves with null when turns are taken, or with what is in the way. */
  readonly ready: Promise<string | null>;
  /** The last resort before the process exits: kills every agent process and does not wait. */
  readonly killNow: () => void;
}

/**
 * Serves until `stop` aborts, then drains. Resolves when nothing of the server is left.
 *
 * Each `await using` line is also the shutdown plan, read from the bottom up: stop listening, end
 * the agent processes, give the data directory back, send the last telemetry.
 *
 * @throws {AppError} `data_directory_in_use`, `storage_failed`, `agent_invalid`, `cannot_listen`.
 */
export async function serve(
  options: ServeOptions,
  signals: ServeSignals,
  onListening: (server: ListeningServer) => void,
): Promise<void> {
  const { config, version } = options;
  const memoryLimit = readMemoryLimit({
    explicitBytes: config.capacity.memoryLimitBytes,
    totalMemoryBytes: totalmem(),
  });
  const gate = new TurnGate({ limit: memoryLimit, ...config.capacity });
  const report = new CapacityReport(gate, memoryLimit);

  await using telemetry = await startTelemetry(config.telemetry, {
    capacityNumbers: () => report.numbers(),
    ...(options.logDestination !== undefined && { logDestination: options.logDestination }),
  });
  await using data = await openDataDirectory(config.dataDirectory, Date.now());
  await cleanUpAfterLastRun(data, telemetry);
  await using processes = openAgentProcesses(config, data, telemetry);
  await using prepared = await prepareAgents(options.agents, config.agentEnvironment);

  const locks = new SessionLocks();
  const { maxPerTenant } = config.sessions;
  const sessions = new FileSessions({ dataDirectory: data.path, maxPerTenant, locks });
  const toolShell = await writeToolShell(data.runDirectory);
  const { agents } = prepared;
  const turnDeps = { agents, locks, sessions, gate, processes, telemetry, config, toolShell };
  const turns = new LiveTurns({
    start: (request, signal) => runTurn(request, { ...turnDeps, dataDirectory: data.path }, signal),
    maxStreamsPerCaller: config.http.maxStreamsPerCaller,
    streamBufferBytes: config.http.streamBufferBytes,
  });
  report.watch({ processes, turns, countStrays: () => countLeftovers(data, processes) });

  const readiness: Readiness = { state: "starting", reason: "the server is starting" };
  const capacity = () => report.view();
  const parts = { config, version, agents, turns, gate, sessions, telemetry, readiness, capacity };
  await using app = await buildApp(parts);
  const url = await listen(app, config.listen);
  const ready = checkReadiness({ config, data, agents, processes, readiness }, signals.stop);
  telemetry.log.info({ url, memoryLimit, agents: [...agents.keys()] }, "Listening");
  onListening({ url, memoryLimit, gate, ready, killNow: () => processes.killAllNow() });

  await aborted(signals.stop);
  readiness.state = "draining";
  readiness.reason = "the server is shutting down";
  gate.drain();
  telemetry.log.info({ turns: turns.size }, "Draining");
  await turns.drain(config.drain.graceMs, signals.hurry);
  await ready;
  telemetry.log.info("Stopped");
}

/** What a run that was killed has left: its processes, and a mark that it did not end well. */
async function cleanUpAfterLastRun(data: DataDirectory, telemetry: Telemetry): Promise<void> {
  const { lastRun, serverId } = data;
  if (lastRun.ended === "unclean") {
    telemetry.metrics.uncleanEndsFound(1);
    telemetry.log.warn({ lastRun }, "The last run of this server did not end cleanly");
  }
  const killed = await sweepStrays(serverId);
  telemetry.metrics.straysKilled(killed);
  if (killed > 0) telemetry.log.warn({ killed }, "Killed processes that the last run left behind");
}

function openAgentProcesses(
  config: Config,
  { serverId }: DataDirectory,
  { metrics, log }: Telemetry,
): AgentProcesses {
  return new AgentProcesses({
    serverId,
    ...config.agentProcess,
    onExit: (_agent, exit) => metrics.agentProcessExited(exit),
    onNotice: (notice) => log.warn(notice),
  });
}

/** Processes that carry our mark though their turn is over. */
function countLeftovers({ serverId }: DataDirectory, processes: AgentProcesses): number {
  const ofTurns = Array.from(processes.live, ({ tree }) => tree.members.length);
  return Math.max(0, countStrays(serverId) - ofTurns.reduce((sum, count) => sum + count, 0));
}

async function listen(app: FastifyInstance, { host, port }: Config["listen"]): Promise<string> {
  try {
    return await app.listen({ host, port });
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "unknown";
    throw new AppError("cannot_listen", `Cannot listen on ${host}:${port}: ${code}`, { cause });
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}
