/** A data directory of its own for each test, and transcripts as Claude Code writes them. */

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach } from "vitest";

import type { AppError, ErrorCode } from "../../src/lib/errors.ts";
import { toAppError } from "../../src/lib/errors.ts";
import { openDataDirectory } from "../../src/session/data-directory.ts";
import type { OpenSession } from "../../src/session/sessions.ts";
import { FileSessions } from "../../src/session/file-sessions.ts";
import type { RetentionLimits } from "../../src/session/retention.ts";
import type { SessionInput } from "../../src/session/session-id.ts";
import { SessionLocks } from "../../src/session/session-locks.ts";
import type { SessionTotals } from "../../src/session/session-record.ts";

/** Nothing has to go. */
export const NO_LIMITS: RetentionLimits = {
  maxAgeMs: null,
  maxIdleMs: null,
  sessionsPerTenant: null,
  bytesPerTenant: null,
  maxBytes: null,
  keepFreeBytes: null,
};

const leftovers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const clean of leftovers.splice(0).toReversed()) await clean();
});

export function cleanAfterTest(clean: () => Promise<void>): void {
  leftovers.push(clean);
}

export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "plimsoll-session-"));
  cleanAfterTest(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

export async function openSessions({ maxPerTenant = 100 } = {}): Promise<{
  data: string;
  locks: SessionLocks;
  sessions: FileSessions;
  /** What a server started again on the same directory would see. */
  reopened: () => FileSessions;
}> {
  const data = join(await temporaryDirectory(), "data");
  const directory = await openDataDirectory(data, 1);
  cleanAfterTest(async () => directory[Symbol.asyncDispose]());
  const locks = new SessionLocks();
  const reopened = (): FileSessions =>
    new FileSessions({ dataDirectory: data, maxPerTenant, locks: new SessionLocks() });
  return {
    data,
    locks,
    sessions: new FileSessions({ dataDirectory: data, maxPerTenant, locks }),
    reopened,
  };
}

export function thread(threadId: string, more: Partial<SessionInput> = {}): SessionInput {
  return {
    tenant: "acme",
    agentName: "helper",
    target: { by: "thread", threadId, expectsHistory: false },
    ...more,
  };
}

export function threadWithHistory(threadId: string, tenant = "acme"): SessionInput {
  return thread(threadId, {
    tenant,
    target: { by: "thread", threadId, expectsHistory: true },
  });
}

export function byId(sessionId: string, more: Partial<SessionInput> = {}): SessionInput {
  return thread("", { target: { by: "session", sessionId }, ...more });
}

export const TOTALS: SessionTotals = {
  costUsd: 0.25,
  byModel: [
    {
      model: "m",
      inputTokens: 10,
      outputTokens: 5,
      cacheReadTokens: 0,
      cacheWriteTokens: 0,
      costUsd: 0.25,
    },
  ],
};

export const QUEUE_LINE = `${JSON.stringify({ type: "queue-operation", operation: "enqueue" })}\n`;

export function userLine(text: string, uuid = "u1", parentUuid: string | null = null): string {
  const message = { role: "user", content: text };
  return `${JSON.stringify({ parentUuid, isSidechain: false, type: "user", message, uuid })}\n`;
}

/** Writes a transcript where Claude Code would, and says where. */
export async function writeTranscript(session: OpenSession, text: string): Promise<string> {
  const { work, config } = session.directories;
  const folder = join(config, "projects", work.replaceAll(/[^a-zA-Z0-9]/g, "-"));
  await mkdir(folder, { recursive: true });
  const file = join(folder, `${session.sessionId}.jsonl`);
  await writeFile(file, text);
  return file;
}

/** A session with one finished turn. */
export async function takeTurn(
  sessions: FileSessions,
  input: SessionInput,
  nowMs: number,
): Promise<OpenSession> {
  const session = await sessions.open(input, nowMs);
  await writeTranscript(session, QUEUE_LINE + userLine("hello"));
  const ref = { tenant: input.tenant, sessionId: session.sessionId };
  await sessions.finish(ref, { totals: TOTALS, endedAtMs: nowMs });
  return session;
}

/** The error the work ends with. */
export async function errorOf(work: Promise<unknown>): Promise<AppError> {
  try {
    await work;
  } catch (thrown) {
    return toAppError(thrown);
  }
  throw new Error("Expected an error: there was none");
}

export async function codeOf(work: Promise<unknown>): Promise<ErrorCode> {
  return (await errorOf(work)).code;
}
