/**
 * From a request to a permit: what the turn will carry is looked up, then the gate is asked once.
 *
 * @module
 */

import type { TurnGate } from "../capacity/gate.ts";
import type { Demand, Permit } from "../capacity/permit.ts";
import { shedError } from "../capacity/shed-error.ts";
import type { FileSessions } from "../session/file-sessions.ts";
import type { SessionRef } from "../session/session-id.ts";
import type { InputPart, TurnRequest } from "./turn.ts";

export interface AdmissionDeps {
  readonly gate: TurnGate;
  readonly sessions: Pick<FileSessions, "transcriptBytes">;
}

/**
 * Asks the gate for a turn.
 *
 * @param session Of which the transcript is resumed; null for a turn that resumes nothing.
 * @throws {AppError} `at_capacity`, `draining`.
 */
export async function admitTurn(
  request: TurnRequest,
  session: SessionRef | null,
  { gate, sessions }: AdmissionDeps,
): Promise<Permit> {
  const transcriptBytes = session === null ? 0 : await sessions.transcriptBytes(session);
  const { agentName, caller, input } = request;
  const demand: Demand = {
    tenant: caller.tenant,
    callerId: caller.id,
    isPriority: caller.priority === "high",
    agentName,
    carriedBytes: transcriptBytes + inputBytes(input),
  };
  const decision = gate.tryAdmit(demand, Date.now());
  if (!decision.admitted) throw shedError(decision.shed);
  return decision.permit;
}

function inputBytes(parts: readonly InputPart[]): number {
  let bytes = 0;
  for (const part of parts) bytes += part.type === "text" ? part.text.length : part.base64.length;
  return bytes;
}
