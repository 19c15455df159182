/**
 * From a request to a permit: what the turn will carry is looked up, then the gate is asked once.
 *
 * @module
 */

import type { TurnGate } from "../capacity/gate.ts";
import type { Demand, Permit } from "../capacity/permit.ts";
import { shedError } from "../capacity/shed-error.ts";
import type { StartLane } from "../capacity/start-lane.ts";
import type { AgentDefinition } from "../agent/definition.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import { threadToBegin } from "../session/ephemeral-session.ts";
import { checkTranscriptSize } from "../session/shorten-transcript.ts";
import type { Sessions } from "../session/sessions.ts";
import type { SessionRef } from "../session/session-id.ts";
import type { KeptProcesses, TakenProcess } from "./kept-processes.ts";
import type { InputPart, TurnRequest } from "./turn.ts";

export interface AdmissionDeps {
  readonly gate: TurnGate;
  readonly sessions: Pick<Sessions, "transcriptBytes">;
  readonly kept: Pick<KeptProcesses, "take" | "putBack">;
  readonly lane: Pick<StartLane, "announce">;
}

export interface AdmittedTurn {
  readonly permit: Permit;
  /** The process that it can go on in, which is its own from now on; null to start one. */
  readonly taken: TakenProcess | null;
  /** Of one that has to start a process: to be disposed as it enters the lane, or when it will not. */
  readonly coming: Disposable | null;
}

/**
 * Asks the gate for a turn: who is refused for what he asks for takes no permit, and no process.
 *
 * @param session Of which the transcript is resumed; null for a turn that resumes nothing.
 * @throws {AppError} `at_capacity`, `draining`, `transcript_too_large`, `session_not_found`, and what
 *   `Sessions.transcriptBytes` throws.
 */
export async function admitTurn(
  request: TurnRequest,
  agent: AgentDefinition,
  session: SessionRef | null,
  { gate, sessions, kept, lane }: AdmissionDeps,
): Promise<AdmittedTurn> {
  const { transcript: limit, turnTimeMs } = agent.limits;
  const { agentName, caller, input } = request;
  const asked = { tenant: caller.tenant, agentName, target: request.session };
  if (session === null) threadToBegin(asked);
  const storedBytes = session === null ? 0 : await sessions.transcriptBytes(asked, Date.now());
  checkTranscriptSize(storedBytes, limit);
  // A larger one is shortened before a process reads it.
  const transcriptBytes = Math.min(storedBytes, limit.maxBytes);
  // From here on without a wait: what is taken is not evicted for the turn itself.
  const taken = kept.take(session, agentName, transcriptBytes > 0);
  const resting = taken?.resident?.permit ?? null;
  const demand: Demand = {
    tenant: caller.tenant,
    callerId: caller.id,
    isPriority: caller.priority === "high",
    agentName,
    turnTimeMs,
    carriedBytes: transcriptBytes + inputBytes(input),
    ...(resting !== null && { resting }),
    ...(taken !== null && resting === null && { process: taken.process }),
  };
  const decision = gate.tryAdmit(demand, monotonicMs());
  if (decision.admitted) {
    taken?.process.admitted({ turnId: request.turnId, predictedBytes: decision.permit.bytes });
    return { permit: decision.permit, taken, coming: taken === null ? lane.announce() : null };
  }
  if (taken !== null) kept.putBack(taken);
  throw shedError(decision.shed);
}

function inputBytes(parts: readonly InputPart[]): number {
  let bytes = 0;
  for (const part of parts) bytes += part.type === "text" ? part.text.length : part.base64.length;
  return bytes;
}
