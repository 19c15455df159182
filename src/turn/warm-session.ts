/**
 * A process that resumes a session before its turn comes, for a client that says one will: a user
 * has opened the conversation. It is cache: started only where nobody else needs the memory or the
 * start, and ended like any resident that lingers.
 *
 *     there? ─▶ session ─▶ may it start? ─▶ its copy ─▶ still? ─▶ (kept, starting) ─▶ at rest ─▶ a turn,
 *      yes      404 410      no: why                   no: why                                   or ended
 *
 * A spare cannot do it: Claude Code reads the transcript as it starts, so whoever resumes has to be
 * started for that session.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import type { AgentDefinition } from "../agent/definition.ts";
import type { StartSlot } from "../capacity/start-lane.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import { parseSessionRef, type SessionRef } from "../session/session-id.ts";
import { sessionPathsOf } from "../session/session-paths.ts";
import { readyToResume, type Resumable, resumableOf } from "../session/session-process.ts";
import type { SessionHeat } from "./residents.ts";
import type { TurnDeps } from "./run-turn.ts";
import type { ServedAgent } from "./served-agent.ts";
import { TurnProcess } from "./turn-process.ts";

/** What becomes of a hint, with what that means to whoever gave it. */
export const WARM_REASONS = {
  started: "a process that resumes the session is being started",
  already_warm: "a process of the session is there, or is starting",
  busy: "a turn of the session runs, or its last process is not yet gone",
  no_room:
    "others need the memory or the start, `capacity.maxResidents` are there and must stay, or as many " +
    "sessions as may be are being brought here from the store",
  too_soon:
    "a process that was started for the session ended without a turn less than 10 s ago, or " +
    "those of eight sessions of its tenant did",
  not_kept: "the pattern of its agent is not `hybrid`, or the agent is not served any more",
  nothing_to_resume: "no message of the session was written yet",
} as const;
export type WarmReason = keyof typeof WARM_REASONS;

/** Whether the next turn of the session finds a process. */
export function isWarm(reason: WarmReason): boolean {
  return reason === "started" || reason === "already_warm";
}

/** What a hint is judged by. */
export interface HintFacts extends SessionHeat {
  /** A turn has the session, or it is being deleted. */
  readonly isLocked: boolean;
  /** Left by turns, by what is kept, and by what will be held by those that were started ahead. */
  readonly roomBytes: number;
  readonly predictedBytes: number;
  /** Whether a process can start without anybody waiting for it. */
  readonly hasIdleSlot: boolean;
}

/** What becomes of a hint for a session that there is something to resume of. Pure. */
export function judgeHint(facts: HintFacts): WarmReason {
  if (facts.isKept) return "already_warm";
  if (facts.isLocked || facts.isLeaving) return "busy";
  if (facts.wasInVain) return "too_soon";
  const hasRoom = facts.hasPlace && facts.roomBytes >= facts.predictedBytes;
  return hasRoom && facts.hasIdleSlot ? "started" : "no_room";
}

/**
 * Starts a process for the session's next turn, if nothing speaks against it. Does not wait for it:
 * a turn that comes meanwhile does, in `owned-process.ts`.
 *
 * @throws {AppError} `session_not_found`, `session_gone`, `other_session`, `storage_failed`.
 */
export async function warmSession(ref: SessionRef, deps: TurnDeps): Promise<WarmReason> {
  const { agents, gate, kept, lane, locks, sessions, dataDirectory } = deps;
  const { residents } = kept;
  const own = parseSessionRef(ref);
  // Whoever repeats himself does not reach the disk.
  if (residents.heatOf(own).isKept) return "already_warm";
  const { agentName, isBusy, transcriptBytes } = await sessions.read(own, Date.now());
  const agent = agents.get(agentName);
  // The memory of a long-running session is committed: only a turn that is admitted can do that.
  if (agent?.definition.hosting.pattern !== "hybrid") return "not_kept";
  // Also on another replica: what there is of it here is of an earlier turn, or nothing yet.
  if (isBusy || locks.isLocked(own)) return "busy";
  const judge = (carriedBytes: number) => {
    const predictedBytes = gate.predictBytes(agentName, carriedBytes);
    const reason = judgeHint({
      ...residents.heatOf(own),
      isLocked: locks.isLocked(own),
      roomBytes: gate.spareRoomBytes(monotonicMs()),
      predictedBytes,
      hasIdleSlot: lane.hasIdleSlot,
    });
    return { predictedBytes, reason };
  };
  // Before it is brought here: a hint that comes to nothing fills no disk.
  const early = judge(transcriptBytes).reason;
  if (early !== "started") return early;
  if (!(await sessions.refresh(own))) return "no_room";
  const resumable = await resumableOf(dataDirectory, own);
  if (resumable === null) return "nothing_to_resume";

  // From here on without a wait: two hints, or a hint and a turn, are one after the other.
  const { predictedBytes, reason } = judge(resumable.transcriptBytes);
  const slot = reason === "started" ? lane.tryEnter() : null;
  if (slot === null) return reason;
  const process = newProcess(own, agent, resumable, deps);
  const ready = start(process, own, slot, deps);
  // Whoever waits for it hears of it; but perhaps nobody does.
  ready.catch(() => {});
  const leavesAtMs = monotonicMs() + stayMsOf(agent.definition, deps);
  const warming = { ready, predictedBytes };
  residents.park({ ref: own, process, permit: null, leavesAtMs, warming });
  return reason;
}

function stayMsOf({ hosting }: AgentDefinition, { config }: TurnDeps): number {
  return hosting.stayMs > 0 ? hosting.stayMs : config.capacity.warmTimeMs;
}

function newProcess(
  ref: SessionRef,
  agent: ServedAgent,
  { transcriptId }: Resumable,
  deps: TurnDeps,
): TurnProcess {
  const { name: agentName } = agent.definition;
  return new TurnProcess({
    ...deps,
    processId: `warmed-${randomUUID()}`,
    agent,
    transcriptId,
    isNew: false,
    directories: sessionPathsOf(deps.dataDirectory, ref),
    spareDirectories: null,
    telemetryEnvironment: deps.telemetry.agentEnvironment({ agentName }),
  });
}

/** Rejects when there is no process for the turn, which then starts its own. */
async function start(
  { connection, agentName: agent }: TurnProcess,
  ref: SessionRef,
  slot: StartSlot,
  { dataDirectory, telemetry: { log, metrics }, config }: TurnDeps,
): Promise<void> {
  using _slot = slot;
  const { sessionId } = ref;
  try {
    const session = await readyToResume(dataDirectory, ref);
    if (session === null) throw new Error("there is nothing to resume any more");
    const { repairedLines } = session;
    if (repairedLines > 0) {
      metrics.sessionRepaired("torn_line");
      log.warn({ sessionId, repairedLines }, "Repaired a transcript");
    }
    await connection.warm(session, config.agentProcess.startTimeoutMs);
  } catch (err) {
    // One that was given up as it started has not failed.
    if (!connection.isEnded) log.warn({ agent, sessionId, err }, "Cannot start a process ahead");
    throw err;
  }
}
