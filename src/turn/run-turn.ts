/**
 * The way of a turn, from the session to the outcome. Read this first.
 *
 *     lock ─▶ permit ─▶ claim, session ─▶ process ─▶ events … ─▶ tree gone ─▶ outcome
 *     409 421 429 503   404 409 410 503   502
 *
 * @module
 */

import type { AgentProcesses } from "../agent-process/registry.ts";
import type { AgentDefinition } from "../agent/definition.ts";
import { postureFault } from "../agent/sdk-options.ts";
import type { CpuMeter } from "../capacity/cpu-meter.ts";
import type { FootprintBook } from "../capacity/footprint.ts";
import type { TurnGate } from "../capacity/gate.ts";
import type { Permit } from "../capacity/permit.ts";
import type { StartLane } from "../capacity/start-lane.ts";
import type { Config } from "../config/config.ts";
import { AppError } from "../lib/errors.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import { settlesWithin } from "../lib/settles-within.ts";
import { soleClaim, type SessionClaim, type Sessions } from "../session/sessions.ts";
import { countedOf } from "../session/session-process.ts";
import { NO_TOTALS } from "../session/session-record.ts";
import { type SessionRef, sessionRefOf } from "../session/session-id.ts";
import type { SessionLocks } from "../session/session-locks.ts";
import type { Telemetry } from "../telemetry/start.ts";
import { admitTurn } from "./admit-turn.ts";
import type { AgentRun, AgentRunEnd } from "./agent-turn.ts";
import { footprintSampleOf } from "./footprint-sample.ts";
import { observeTurn, type ObservedTurn } from "./observed-turn.ts";
import type { KeptProcesses, TakenProcess } from "./kept-processes.ts";
import { checkHasNotRun } from "./kept-turn.ts";
import { OwnedProcess } from "./owned-process.ts";
import { endBeforeStart, runAgent } from "./run-agent.ts";
import type { ServedAgent } from "./served-agent.ts";
import { releaseWhenIdle, takeStartSlot } from "./start-slot.ts";
import { TurnHold } from "./turn-hold.ts";
import type { TellTurn } from "./turn-view.ts";
import type { TurnStarts } from "./turn-starts.ts";
import { TurnProcess, type TurnAtWork } from "./turn-process.ts";
import { openSession, type TurnSession } from "./turn-session.ts";
import type { TurnEvent, TurnOutcome, TurnRequest } from "./turn.ts";
import { deadlineIn } from "./watch.ts";

export interface TurnDeps {
  readonly agents: ReadonlyMap<string, ServedAgent>;
  readonly locks: SessionLocks;
  readonly sessions: Sessions;
  readonly gate: TurnGate;
  readonly lane: StartLane;
  /** Learns how much CPU turns take. */
  readonly cpu: Pick<CpuMeter, "turnEnded">;
  /** Learns whether the processes of turns start. */
  readonly starts: Pick<TurnStarts, "worked" | "failed">;
  /** Learns what turns hold. */
  readonly footprints: Pick<FootprintBook, "learn">;
  /** The most memory that a turn of the agent may have, with all its tools. */
  readonly ceilingBytesOf: (agent: AgentDefinition) => number;
  readonly processes: AgentProcesses;
  readonly kept: KeptProcesses;
  readonly telemetry: Telemetry;
  readonly config: Pick<Config, "capacity" | "agentProcess" | "telemetry">;
  readonly dataDirectory: string;
  /** The program that Bash tools are run through; null where there is none. */
  readonly toolShell: string | null;
  /** Hears of what its events do not tell. */
  readonly tell: TellTurn;
}

/**
 * Runs a turn, yielding its events.
 *
 * Whatever was taken is given back when the generator ends, however it ends, and before
 * `turn_ended`: who reads that may start the session's next turn. The one exception are processes
 * that even the kernel cannot end: as long as they live, permit and session stay taken.
 *
 * @throws {AppError} Before the first event: `agent_not_found`, `invalid_request` (a thread id that
 *   does not fit), `other_session`, `session_busy`, `turn_cut_off`, `idempotency_key_reused`,
 *   `at_capacity`, `draining`, `session_not_found`, `session_gone`, `session_unreadable`,
 *   `transcript_too_large`, `too_many_sessions`, `storage_full`, `storage_failed`,
 *   `store_unavailable`. Later failures are the
 *   outcome in `turn_ended`, but for a disk that fails as an ephemeral session is removed.
 * @param signal Its reason becomes the outcome; see {@link runAgent}.
 * @returns Whether anything of it has run: else the same request may be asked for again.
 */
export async function* runTurn(
  request: TurnRequest,
  deps: TurnDeps,
  signal: AbortSignal,
): AsyncGenerator<TurnEvent, boolean, undefined> {
  const { outcome, hasRun } = yield* runToOutcome(request, deps, signal);
  yield { type: "turn_ended", outcome };
  return hasRun;
}

/** All of the turn but its last event; what it has taken is given back as this ends. */
async function* runToOutcome(
  request: TurnRequest,
  deps: TurnDeps,
  stop: AbortSignal,
): AsyncGenerator<TurnEvent, Pick<AgentRunEnd, "outcome" | "hasRun">, undefined> {
  const agent = findAgent(deps.agents, request.agentName);
  const { turnId, agentName, caller, session: target } = request;
  const input = { tenant: caller.tenant, agentName, target };

  // Turns that leave nothing behind cannot get in each other's way.
  const isKept = agent.definition.hosting.pattern !== "ephemeral";
  using hold = new TurnHold();
  const ref = isKept ? sessionRefOf(input) : null;
  if (ref !== null) await takeSession(request, ref, hold, deps);
  const admitted = await admitTurn(request, agent.definition, ref, deps);
  const { permit, taken } = admitted;
  using coming = admitted.coming;
  hold.take(permit);
  holdTaken(taken, hold);
  if (taken === null) deps.processes.expectStart();
  using deadline = deadlineIn(agent.definition.limits.turnTimeMs);
  await using owned = new OwnedProcess(taken, deps.kept, permit);
  await using claim = ref === null ? soleClaim() : await deps.sessions.claim(input, Date.now());
  const signal = AbortSignal.any([stop, claim.lost, deadline.signal]);
  const processStayed = await owned.settle(ref, signal, claim.hasMovedOn);
  await using session = await openSession(agent.definition, request, deps, processStayed);
  const { sessionId, threadId } = session;
  tellAdmitted(request, session, permit, deps);
  yield { type: "turn_started", turnId, sessionId, threadId, agentName };
  yield* shortenedNotice(session);

  const observed = observeTurn(deps.telemetry, request, agent.definition, sessionId);
  tellRepairs(session, claim, observed, deps);
  const over = new AbortController();
  const toolSignal = AbortSignal.any([signal, over.signal]);
  const parts = { request, agent, session, hold, permit, observed, deps, toolSignal };
  let process: TurnProcess;
  try {
    process = await openProcess(owned, parts, signal);
  } catch (thrown) {
    const end = endBeforeStart(thrown, permit.admittedAtMs);
    return { outcome: await conclude(end, owned, parts), hasRun: false };
  }
  const slot = owned.source === "started" ? await takeStartSlot(deps.lane, coming, signal) : null;
  const { connection } = process;
  using starting = slot && releaseWhenIdle(slot, () => connection.process?.tree.cpuNowMs() ?? null);
  process.workFor(turnAtWork(parts));
  deps.tell(turnId, { type: "process_taken", source: owned.source });
  const run = {
    ...agentRunOf(parts),
    connection,
    onStarted: () => processStarted(starting, owned, parts),
  };
  const end = yield* runAgent(run, signal);
  over.abort();
  if (owned.source === "started" && isStartFailure(end)) deps.starts.failed();
  deps.cpu.turnEnded(end.cpuMs, end.outcome.usage.durationMs);
  learnFrom(end, permit, deps);
  const outcome = await conclude(end, owned, parts);
  if (ref !== null && end.stays && outcome === end.outcome) parkProcess(ref, owned, parts);
  return { outcome, hasRun: end.hasRun };
}

function processStarted(
  starting: Disposable | null,
  { source }: OwnedProcess,
  { request, deps }: TurnParts,
): void {
  starting?.[Symbol.dispose]();
  if (source === "started") deps.starts.worked();
  deps.tell(request.turnId, { type: "process_started" });
}

/** Keeps what came of the turn, and tells it to whoever watches. Never rejects. */
async function conclude(
  end: AgentRunEnd,
  { source: processSource }: OwnedProcess,
  { request, session, observed, permit, deps }: TurnParts,
): Promise<TurnOutcome> {
  const outcome = await session.finish(end);
  const { peakBytes, toolOomKills: toolsKilled } = end;
  const toolsEnded = end.toolsEndedForMemory - toolsKilled;
  deps.tell(request.turnId, { type: "turn_measured", peakBytes, toolsEnded, toolsKilled });
  observed.ended({ ...end, outcome, predictedBytes: permit.bytes, processSource });
  return outcome;
}

function tellAdmitted(
  { turnId, agentName, caller }: TurnRequest,
  { sessionId, threadId }: TurnSession,
  { admittedAtMs, bytes: predictedBytes, demand: { carriedBytes } }: Permit,
  { tell }: TurnDeps,
): void {
  tell(turnId, {
    type: "turn_admitted",
    agent: agentName,
    tenant: caller.tenant,
    caller: caller.id,
    sessionId,
    threadId,
    startedAtMs: Math.round(Date.now() - (monotonicMs() - admittedAtMs)),
    predictedBytes,
    carriedBytes,
  });
}

/** The process is the turn's already, and may outlive one that is refused after all. */
function holdTaken(taken: TakenProcess | null, hold: TurnHold): void {
  const process = taken?.process.connection.process ?? null;
  if (process !== null) hold.outlive(process);
}

/** The process for the turn, as soon as there is room for it. */
async function openProcess(
  owned: OwnedProcess,
  parts: TurnParts,
  signal: AbortSignal,
): Promise<TurnProcess> {
  const { agent, session, permit, observed } = parts;
  await settlesWithin(permit.roomFreed, agent.definition.limits.turnTimeMs, signal);
  const onRefused = (err: unknown) =>
    observed.log.warn({ err }, "A spare could not be claimed: the turn starts its own process");
  return owned.open(session, signal, () => newProcess(parts), onRefused);
}

/** Keeps the process for the session's next turn. */
function parkProcess(
  ref: SessionRef,
  owned: OwnedProcess,
  { agent, hold, permit }: TurnParts,
): void {
  const { pattern, stayMs } = agent.definition.hosting;
  hold.letStay();
  // What lingers is cache; else the memory is the session's as long as its process stays.
  const resting = pattern === "hybrid" ? null : hold.handOver(permit);
  owned.park(ref, { stayMs, permit: resting });
}

/** Said to whoever reads the turn: the agent may have forgotten something. */
function* shortenedNotice({ shortened }: TurnSession): Generator<TurnEvent, void, undefined> {
  if (shortened === null) return;
  const data = { ...shortened };
  yield { type: "notice", name: "transcript_shortened", data };
}

function findAgent(agents: TurnDeps["agents"], name: string): ServedAgent {
  const agent = agents.get(name);
  if (agent !== undefined) return agent;
  throw new AppError("agent_not_found", "Cannot start the turn: no agent has this name");
}

/** Takes the session, and sees under its lock that no turn of the request's key has run. */
async function takeSession(
  { agentName, key }: TurnRequest,
  ref: SessionRef,
  hold: TurnHold,
  { locks, sessions }: TurnDeps,
): Promise<void> {
  hold.take(locks.lock(ref));
  if (key !== undefined) await checkHasNotRun(ref, agentName, key, sessions);
}

function tellRepairs(
  { repairedLines, wasSetAside }: TurnSession,
  { wasLeft }: SessionClaim,
  { log }: ObservedTurn,
  { telemetry: { metrics } }: TurnDeps,
): void {
  if (repairedLines > 0) metrics.sessionRepaired("torn_line");
  if (wasSetAside) metrics.sessionRepaired("set_aside");
  if (repairedLines > 0 || wasSetAside) {
    log.warn({ repairedLines, wasSetAside }, "Repaired a transcript that was cut off");
  }
  if (!wasLeft) return;
  metrics.sessionRepaired("taken_over");
  log.warn("Took over a session that an earlier turn never gave back");
}

function learnFrom(end: AgentRunEnd, permit: Permit, { footprints }: TurnDeps): void {
  const { bytes: predictedBytes, demand } = permit;
  const { carriedBytes, agentName } = demand;
  const sample = footprintSampleOf({ ...end, predictedBytes, carriedBytes }, Date.now());
  if (sample !== null) footprints.learn(agentName, sample);
}

function isStartFailure({ outcome }: AgentRunEnd): boolean {
  return outcome.status === "failed" && outcome.code === "agent_start_failed";
}

interface TurnParts {
  readonly request: TurnRequest;
  readonly agent: ServedAgent;
  readonly session: TurnSession;
  readonly hold: TurnHold;
  readonly permit: Permit;
  readonly observed: ObservedTurn;
  readonly deps: TurnDeps;
  /** Ends the function tools that still run when the turn is over. */
  readonly toolSignal: AbortSignal;
}

async function newProcess(parts: TurnParts): Promise<TurnProcess> {
  const { request, agent, session, observed, deps } = parts;
  const { tenant } = request.caller;
  const ref = { tenant, sessionId: session.sessionId };
  return new TurnProcess({
    processId: request.turnId,
    agent,
    transcriptId: session.transcriptId,
    isNew: session.isNew,
    // Not as the session is opened: the process before may have been there still.
    counted: session.isNew ? NO_TOTALS : await countedOf(deps.dataDirectory, ref),
    directories: session.directories,
    spareDirectories: null,
    telemetryEnvironment: observed.environment,
    ...deps,
  });
}

function turnAtWork(parts: TurnParts): TurnAtWork {
  const { request, session, hold, permit, observed, toolSignal: signal } = parts;
  const { turnId, agentName, caller } = request;
  const { sessionId } = session;
  return {
    toolContext: { agentName, tenant: caller.tenant, sessionId, turnId, signal },
    predictedBytes: permit.bytes,
    onToolError: (toolName, err) => observed.log.warn({ err, toolName }, "A function tool failed"),
    onProcess: (process) => {
      permit.holder = hold.outlive(process);
    },
  };
}

type TurnTerms = Omit<AgentRun, "connection" | "onStarted">;

function agentRunOf({ request, agent, permit, deps }: TurnParts): TurnTerms {
  const { definition, functionTools } = agent;
  const { startTimeoutMs, endGraceMs } = deps.config.agentProcess;
  return {
    input: request.input,
    needsStructuredOutput: definition.outputSchema !== undefined,
    startTimeoutMs,
    stallTimeMs: definition.limits.stallTimeMs,
    endGraceMs,
    admittedAtMs: permit.admittedAtMs,
    postureFault: (init) => postureFault(definition, functionTools.names, init),
    mayStay: definition.hosting.stayMs > 0,
    onEnding: () => deps.tell(request.turnId, { type: "turn_ending" }),
    onTokens: (tokens) => deps.tell(request.turnId, { type: "tokens_used", ...tokens }),
  };
}
