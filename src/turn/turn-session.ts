/**
 * The session of one turn: kept for the next one, or thrown away with the turn, as the agent's
 * hosting pattern says.
 *
 * @module
 */

import type { AgentDefinition } from "../agent/definition.ts";
import { toAppError } from "../lib/errors.ts";
import { openEphemeralSession } from "../session/ephemeral-session.ts";
import type { FileSessions, OpenSession } from "../session/file-sessions.ts";
import type { SessionInput } from "../session/session-id.ts";
import type { AgentRunEnd } from "./sdk.ts";
import type { TurnOutcome } from "./turn.ts";

export interface TurnSession extends OpenSession, AsyncDisposable {
  /**
   * Keeps what the turn left for the next one. Never rejects: a turn whose end cannot be kept has
   * failed, whatever the model said.
   */
  finish(end: AgentRunEnd): Promise<TurnOutcome>;
}

export async function openSession(
  agent: AgentDefinition,
  input: SessionInput,
  { sessions, dataDirectory }: { readonly sessions: FileSessions; readonly dataDirectory: string },
): Promise<TurnSession> {
  if (agent.hosting.pattern === "ephemeral") {
    const session = await openEphemeralSession(dataDirectory, input);
    return Object.assign(session, { finish: async ({ outcome }: AgentRunEnd) => outcome });
  }
  const session = await sessions.open(input, Date.now());
  return {
    ...session,
    async finish({ totals, outcome }) {
      const ref = { tenant: input.tenant, sessionId: session.sessionId };
      try {
        await sessions.finish(ref, { totals, endedAtMs: Date.now() });
        return outcome;
      } catch (thrown) {
        const { code, message } = toAppError(thrown);
        return { status: "failed", code, message, usage: outcome.usage };
      }
    },
    async [Symbol.asyncDispose]() {},
  };
}
