/**
 * The session of one turn: kept for the next one, or thrown away with the turn, as the agent's
 * hosting pattern says.
 *
 * @module
 */

import type { AgentDefinition } from "../agent/definition.ts";
import { toAppError } from "../lib/errors.ts";
import { openEphemeralSession } from "../session/ephemeral-session.ts";
import type { OpenOptions, OpenSession, Sessions } from "../session/sessions.ts";
import type { SessionInput } from "../session/session-id.ts";
import { adoptSpare } from "../session/session-process.ts";
import { storing } from "../session/storage-errors.ts";
import { moveToSession, type SpareDirectories } from "../session/spare-directories.ts";
import type { AgentRunEnd } from "./agent-turn.ts";
import type { TurnKey, TurnOutcome, TurnRequest } from "./turn.ts";

export interface TurnSession extends Omit<OpenSession, "transcriptId">, AsyncDisposable {
  /** Claude Code's own id of the session; another once a spare is adopted. */
  transcriptId: string;
  /**
   * Takes over what a spare has, its transcript's id too; false for a session that has something.
   *
   * @throws {AppError} `storage_full`, `storage_failed`.
   */
  adopt(spare: SpareDirectories): Promise<boolean>;
  /**
   * Keeps what the turn left for the next one. Never rejects: a turn whose end cannot be kept has
   * failed, whatever the model said.
   */
  finish(end: AgentRunEnd): Promise<TurnOutcome>;
}

export interface SessionDeps {
  readonly sessions: Sessions;
  readonly dataDirectory: string;
}

/**
 * Opens the session, and remembers the key of the turn in it.
 *
 * @param processStayed The turn goes on in the process of the last one.
 */
export async function openSession(
  agent: AgentDefinition,
  { turnId, caller, agentName, session: target, key }: TurnRequest,
  deps: SessionDeps,
  processStayed: boolean,
): Promise<TurnSession> {
  const input = { tenant: caller.tenant, agentName, target };
  if (agent.hosting.pattern === "ephemeral") return openPassingSession(input, deps);
  const options = { processStayed, transcript: agent.limits.transcript };
  const session = await openKeptSession(input, deps, options, key);
  if (key !== undefined) {
    const begun = { ...key, turnId, startedAtMs: Date.now() };
    await deps.sessions.keepBegun({ ...input, sessionId: session.sessionId }, begun);
  }
  return session;
}

async function openPassingSession(
  input: SessionInput,
  { dataDirectory }: SessionDeps,
): Promise<TurnSession> {
  const session = await openEphemeralSession(dataDirectory, input);
  const opened: TurnSession = {
    ...session,
    adopt(spare) {
      opened.transcriptId = spare.transcriptId;
      const move = () => moveToSession(spare, session.directories);
      return storing("take a spare for the session", move);
    },
    finish: async ({ outcome }) => outcome,
  };
  return opened;
}

async function openKeptSession(
  input: SessionInput,
  { sessions, dataDirectory }: SessionDeps,
  options: OpenOptions,
  key: TurnKey | undefined,
): Promise<TurnSession> {
  const session = await sessions.open(input, Date.now(), options);
  const ref = { tenant: input.tenant, sessionId: session.sessionId };
  const opened: TurnSession = {
    ...session,
    async adopt(spare) {
      if (!(await adoptSpare(dataDirectory, ref, spare))) return false;
      opened.transcriptId = spare.transcriptId;
      return true;
    },
    async finish({ totals, outcome, hasRun, lastText, stays: processStays }) {
      const keyed = key && { key, answer: { outcome, hasRun, ...lastText } };
      try {
        const isAwaited = outcome.status === "cancelled" && outcome.cause === "cancel_requested";
        const end = { totals, endedAtMs: Date.now(), processStays, isAwaited };
        await sessions.finish(ref, { ...end, ...(keyed !== undefined && { keyed }) });
        return outcome;
      } catch (thrown) {
        const { code, message } = toAppError(thrown);
        return { status: "failed", code, message, usage: outcome.usage };
      }
    },
    async [Symbol.asyncDispose]() {},
  };
  return opened;
}
