/**
 * Sessions by the thousand, as a server makes them, without a turn for each.
 *
 * @module
 */

import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FileSessions } from "../../session/file-sessions.ts";
import { SessionLocks } from "../../session/session-locks.ts";

const WRITES_AT_ONCE = 32;
/** What `plimsoll` calls whoever asks without a key. */
const TENANT = "default";

export interface RealTranscript {
  readonly sessionId: string;
  readonly text: string;
}

/** What Claude Code wrote down of a turn. @throws {Error} When there was none. */
export async function readRealTranscript(dataDirectory: string): Promise<RealTranscript> {
  const names = await readdir(dataDirectory, { recursive: true });
  const name = names.find((each) => each.endsWith(".jsonl"));
  if (name === undefined) throw new Error("the turn left no transcript");
  const text = await readFile(join(dataDirectory, name), "utf8");
  return { text, sessionId: name.replace(/^.*\/|\.jsonl$/g, "") };
}

export interface MadeSessions {
  readonly dataDirectory: string;
  readonly agentName: string;
  readonly count: number;
  readonly transcript: RealTranscript;
  /** The tenant of each session, by its number; whoever asks without a key is without it. */
  readonly tenantOf?: (index: number) => string;
  /** When the last turn of each of them was, and when it began; now without it. */
  readonly lastTurnAtMs?: (index: number) => number;
  readonly begunAtMs?: (index: number) => number;
}

/** The thread of the session with this number. */
export function madeThreadOf(index: number): string {
  return `thread-${index}`;
}

/**
 * Makes the sessions of the threads `thread-0`, `thread-1` and so on, with the transcript of the real
 * turn under each one's own id. A server may have the directory, as long as it has none of these
 * threads.
 */
export async function makeSessions(made: MadeSessions, signal: AbortSignal): Promise<void> {
  const { dataDirectory, agentName, count: all, transcript } = made;
  const { lastTurnAtMs = Date.now, begunAtMs = Date.now, tenantOf = () => TENANT } = made;
  const { text, sessionId } = transcript;
  const locks = new SessionLocks();
  const sessions = new FileSessions({ dataDirectory, maxPerTenant: Infinity, locks });
  const make = async (index: number) => {
    const tenant = tenantOf(index);
    const target = { by: "thread", threadId: madeThreadOf(index), expectsHistory: false } as const;
    const session = await sessions.open({ tenant, agentName, target }, begunAtMs(index));
    const project = join(session.directories.config, "projects", "work");
    await mkdir(project, { recursive: true });
    const own = text.replaceAll(sessionId, session.sessionId);
    await writeFile(join(project, `${session.sessionId}.jsonl`), own);
    const ref = { tenant, sessionId: session.sessionId };
    const totals = { costUsd: 0.01, byModel: [] };
    await sessions.finish(ref, { totals, endedAtMs: lastTurnAtMs(index) });
  };
  for (let first = 0; first < all; first += WRITES_AT_ONCE) {
    signal.throwIfAborted();
    const count = Math.min(WRITES_AT_ONCE, all - first);
    await Promise.all(Array.from({ length: count }, (_, index) => make(first + index)));
  }
}
