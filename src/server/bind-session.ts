/**
 * Whether a server has but one session, and which, by its agent and by what is on disk.
 *
 * @module
 */

import type { AgentDefinition } from "../agent/definition.ts";
import { DiagnosticsError, placeless } from "../lib/diagnostics.ts";
import { anySessions } from "../session/session-list.ts";
import { SingleSession } from "../session/single-session.ts";

/**
 * Null for a server of many sessions. One that was ended in the middle is bound to the session that
 * it left on its data directory.
 *
 * @throws {AppError} `config_invalid` when the directory has other sessions; `storage_failed`.
 */
export async function bindSession(
  [agent]: readonly AgentDefinition[],
  dataDirectory: string,
): Promise<SingleSession | null> {
  if (agent?.hosting.pattern !== "single-container") return null;
  const [begun = null, ...others] = await anySessions(dataDirectory, 2);
  if (others.length > 0 || (begun !== null && begun.agentName !== agent.name)) {
    const message = "needs a data directory of its own: other sessions are in this one";
    const remedy = "Give it another `data.directory`, or delete what is there";
    const diagnostic = placeless(agent.file, message, remedy, "hosting.pattern");
    throw new DiagnosticsError("config_invalid", [diagnostic]);
  }
  return new SingleSession({ begun, idleMs: agent.hosting.stayMs });
}
