/**
 * The engine of a server: everything a turn needs, without a door for callers. HTTP is one door
 * (`serve.ts`), the terminal another (`cli/chat.ts`).
 *
 * @module
 */

import type { AgentProcess } from "../agent-process/agent-process.ts";
import { type Containment, detectContainment } from "../agent-process/containment.ts";
import { AgentProcesses } from "../agent-process/registry.ts";
import { countStrays, sweepStrays } from "../agent-process/strays.ts";
import { writeToolShell } from "../agent-process/tool-shell.ts";
import type { AgentDefinition } from "../agent/definition.ts";
import type { GateDecision } from "../capacity/shed.ts";
import type { MemoryLimit } from "../capacity/memory-limit.ts";
import { isTextPinned, TEXT_NOT_PINNED } from "../capacity/pinned-text.ts";
import { readMemoryAccount } from "../capacity/memory-pressure.ts";
import type { TurnGate } from "../capacity/gate.ts";
import { turnCeilingBytes } from "../capacity/turn-ceiling.ts";
import type { Config } from "../config/config.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import { openDataDirectory, type DataDirectory } from "../session/data-directory.ts";
import type { SessionLocks } from "../session/session-locks.ts";
import type { SessionRef } from "../session/session-id.ts";
import type { Sessions } from "../session/sessions.ts";
import type { SingleSession } from "../session/single-session.ts";
import type { LogDestination, Logger } from "../telemetry/log.ts";
import { startTelemetry, type Telemetry } from "../telemetry/start.ts";
import type { KeptProcesses } from "../turn/kept-processes.ts";
import { LiveTurns } from "../turn/live-turns.ts";
import { runTurn, type TurnDeps } from "../turn/run-turn.ts";
import type { ServedAgent } from "../turn/served-agent.ts";
import { TurnStarts } from "../turn/turn-starts.ts";
import { type WarmReason, warmSession } from "../turn/warm-session.ts";
import { bindSession } from "./bind-session.ts";
import { CapacityReport } from "./capacity-report.ts";
import { FeedBook } from "./feed-book.ts";
import { GuardLink } from "./guard-link.ts";
import { openFootprintFile } from "./footprint-file.ts";
import { openKeptProcesses, type KeptDeps } from "./open-kept.ts";
import { type GateListeners, openGate, type OpenGate } from "./open-gate.ts";
import { openSessions, type ReplicaDirectory, type Sweeper } from "./open-sessions.ts";
import { prepareAgents } from "./prepare-agents.ts";
import { sdkVersion } from "./sdk-version.ts";
import { ShedLog } from "./shed-log.ts";

export interface EngineOptions {
  readonly config: Config;
  readonly agents: readonly AgentDefinition[];
  /** Where the log goes; the standard output without it. */
  readonly logDestination?: LogDestination;
  /** Serves one session if its agent says so; a person's chats are many all the same. */
  readonly mayBind?: boolean;
}

export interface Engine {
  readonly capacity: OpenGate;
  readonly containment: Containment;
  readonly report: CapacityReport;
  /** What is told to whoever watches. */
  readonly book: FeedBook;
  readonly telemetry: Telemetry;
  readonly data: DataDirectory;
  readonly processes: AgentProcesses;
  readonly agents: ReadonlyMap<string, ServedAgent>;
  readonly locks: SessionLocks;
  readonly sessions: Sessions;
  readonly sweeper: Sweeper;
  readonly others: ReplicaDirectory | null;
  /** The one session that is served; null where there are many. */
  readonly single: SingleSession | null;
  readonly kept: KeptProcesses;
  readonly turns: LiveTurns;
  readonly starts: TurnStarts;
  /** Starts a process for the next turn of a session, see `turn/warm-session.ts`. */
  readonly warm: (ref: SessionRef) => Promise<WarmReason>;
}

/**
 * Starts the engine, lets `use` work with it, and takes it apart again.
 *
 * The `await using` lines are also the shutdown plan, read from the bottom up: end the turns, stop
 * the scripted models, end the agent processes, give the data directory back, send the last
 * telemetry.
 *
 * @throws {AppError} `data_directory_in_use`, `storage_failed`, `store_unusable`,
 *   `store_unavailable`, `agent_invalid`, `config_invalid`, and what `use` throws.
 */
export async function withEngine<Result>(
  options: EngineOptions,
  use: (engine: Engine) => Promise<Result>,
): Promise<Result> {
  const { config, logDestination } = options;
  const book = new FeedBook();
  const guardLink = new GuardLink(config);
  const capacity = openGate({
    config,
    agents: options.agents,
    sdkVersion: sdkVersion(),
    pressure: () => guardLink.pressure,
  });
  const { gate, lane, cpu, footprints } = capacity;
  using memoryLimit = capacity.memoryLimit;
  const report = new CapacityReport(capacity, guardLink);

  await using telemetry = await startTelemetry(config.telemetry, {
    capacityNumbers: () => report.numbers(),
    ...(logDestination !== undefined && { logDestination }),
  });
  const { log } = telemetry;
  capacity.listen(gateListeners({ ...capacity, guardLink, telemetry, book }));
  guardLink.listen({ telemetry, gate, book });
  for (const note of memoryNotes(memoryLimit.current)) log.info({ note }, "About the memory limit");
  await using data = await openDataDirectory(config.dataDirectory, Date.now());
  await cleanUpAfterLastRun(data, telemetry);
  using single = options.mayBind === true ? await bindSession(options.agents, data.path) : null;
  const learned = { dataDirectory: data.path, book: footprints, log };
  await using _footprints = await openFootprintFile(learned);
  const { serverId } = data;
  await using containment = await detectContainment({ ...config.agentProcess, serverId });
  heedContainment(containment, capacity.reserve, log);
  await using processes = openAgentProcesses({ config, data, containment, telemetry, guardLink });
  guardLink.watch(processes);
  guardLink.setLimit(memoryLimit.current, capacity.reserve);
  await using prepared = await prepareAgents(options.agents, config.agentEnvironment);

  const toolShell = await writeToolShell(data.runDirectory);
  const { agents } = prepared;
  const place = { toolShell, dataDirectory: data.path, ceilingBytesOf: ceilingOf(gate) };
  const { tell } = book;
  const keptDeps = { agents, gate, lane, processes, telemetry, config, tell, ...place };
  await using kept = openKeptProcesses(config, keptDeps, () => single?.isTaken !== true);
  guardLink.useCache(kept);
  const forgetTurns = (ref: SessionRef) => turns.forget(ref);
  await using opened = await openSessions({ config, data, telemetry, single, kept, forgetTurns });
  const { locks, sessions, sweeper, others } = opened;
  const starts = new TurnStarts();
  const turnDeps: TurnDeps = { ...keptDeps, kept, locks, sessions, cpu, footprints, starts };
  await using turns = openTurns(config, turnDeps);
  report.watch({
    agentNames: [...agents.keys()],
    containment,
    processes,
    kept,
    countStrays: () => countStrays(serverId, processes.live),
  });
  const parts = { book, capacity, containment, report, telemetry, data, processes, locks, others };
  const warm = (ref: SessionRef) => warmSession(ref, turnDeps);
  return await use({ ...parts, agents, sessions, sweeper, single, kept, turns, starts, warm });
}

function heedContainment(
  { killsAll, notes }: Containment,
  reserve: OpenGate["reserve"],
  log: Telemetry["log"],
): void {
  if (killsAll) reserve.kernelKillsAll();
  for (const note of notes) log.info({ note }, "About containment");
  const { note } = reserve;
  if (note !== null) log.warn({ note }, "About the memory limit");
}

function memoryNotes({ notes, group }: MemoryLimit): readonly string[] {
  // Where no group has a limit, the kernel drops what this machine needs least.
  return group === null || isTextPinned() ? notes : [...notes, TEXT_NOT_PINNED];
}

function ceilingOf(gate: TurnGate): KeptDeps["ceilingBytesOf"] {
  return ({ limits: { turnMemoryBytes } }) => {
    const { limitBytes, safetyReserveBytes } = gate.snapshot(monotonicMs());
    return turnCeilingBytes({ limitBytes, safetyReserveBytes, turnMemoryBytes });
  };
}

/** In constant time, and nothing is made for it: refusals come by the thousand. */
function tellDecision(decision: GateDecision, shedLog: ShedLog, book: FeedBook): void {
  const nowMs = monotonicMs();
  shedLog.decided(decision.reason !== null, decision.text, nowMs);
  book.decided(decision, nowMs);
}

type LimitParts = Pick<OpenGate, "gate" | "reserve"> & {
  readonly guardLink: GuardLink;
  readonly telemetry: Telemetry;
};

function gateListeners(parts: LimitParts & { readonly book: FeedBook }): GateListeners {
  const { log } = parts.telemetry;
  const shedLog = new ShedLog(log);
  return {
    onLimitRead: (limit, before) => limitWasRead(limit, before, parts),
    onCpuChange: ({ cpus, source }, before) =>
      log.warn({ cpus, beforeCpus: before.cpus, source }, "The CPU limit has changed"),
    onDecision: (decision) => tellDecision(decision, shedLog, parts.book),
  };
}

/** The limit may be another one now; and the moment is as good as any to look at the text. */
function limitWasRead(limit: MemoryLimit, before: MemoryLimit, parts: LimitParts): void {
  const { gate, reserve, guardLink, telemetry } = parts;
  if (limit.bytes !== before.bytes) {
    const { bytes: limitBytes, source } = limit;
    telemetry.log.warn(
      { limitBytes, beforeBytes: before.bytes, source },
      "The memory limit has changed",
    );
  }
  for (const note of limit.notes.filter((each) => !before.notes.includes(each))) {
    telemetry.log.warn({ note }, "About the memory limit");
  }
  // Below 0 nobody looks, and nothing is known to be short.
  const isWell = guardLink.level <= 0;
  if (gate.inflight > 0 && isWell) {
    reserve.sawMapped(readMemoryAccount({ limit }).mappedFileBytes.value);
  }
  guardLink.setLimit(limit, reserve);
  // Only now: what is kept free below the limit may be another too.
  if (limit.bytes !== before.bytes) guardLink.renewCeilings();
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

function openTurns({ http, journal }: Config, deps: TurnDeps): LiveTurns {
  return new LiveTurns({
    start: (request, signal) => runTurn(request, deps, signal),
    maxStreamsPerCaller: http.maxStreamsPerCaller,
    maxReaders: journal.maxReaders,
    journal,
    tell: deps.tell,
    clientWaitMsOf: (name) => {
      const agent = deps.agents.get(name);
      // A turn of no agent is about to be refused. Null is a word of its own.
      return agent === undefined ? 0 : agent.definition.hosting.clientWaitMs;
    },
  });
}

function openAgentProcesses(options: {
  readonly config: Config;
  readonly data: DataDirectory;
  readonly containment: Containment;
  readonly telemetry: Telemetry;
  readonly guardLink: GuardLink;
}): AgentProcesses {
  const { config, containment, guardLink } = options;
  const { metrics, log } = options.telemetry;
  const processes: AgentProcesses = new AgentProcesses({
    serverId: options.data.serverId,
    containment,
    guard: guardLink.guardOptions,
    ...config.agentProcess,
    onExit: (agent, exit) => {
      metrics.agentProcessExited(exit);
      guardLink.processEnded(exit);
      if (exit.survivors > 0) void logSurvivors(agent, processes, log);
    },
    onAbandoned: (agent) =>
      log.warn(
        survivorsOf(agent, processes),
        "Processes outlive the server: even SIGKILL has not ended them",
      ),
    onNotice: (notice) => log.warn(notice),
  });
  return processes;
}

async function logSurvivors(
  agent: AgentProcess,
  processes: AgentProcesses,
  log: Logger,
): Promise<void> {
  const sinceMs = Date.now();
  const survivors = survivorsOf(agent, processes);
  log.warn(
    survivors,
    "Processes outlived SIGKILL: the permit and the session of their turn stay taken",
  );
  await agent.treeGone;
  const { turnId, processId } = survivors;
  log.info(
    { turnId, processId, afterMs: Date.now() - sinceMs },
    "Processes that outlived SIGKILL are gone",
  );
}

/** @param processes Whose guard knows which turn a process that was kept works for. */
function survivorsOf({ processId, tree }: AgentProcess, { guard }: AgentProcesses) {
  const turnId = guard.factsOf(processId)?.turnId ?? null;
  return { turnId, processId, pids: tree.members.map(({ pid }) => pid) };
}
