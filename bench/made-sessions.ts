/**
 * Sessions by the thousand, as a server makes them, without a turn for each.
 *
 * @module
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { openDataDirectory } from "../src/session/data-directory.ts";
import { FileSessions } from "../src/session/file-sessions.ts";
import { DirectoryArchive, StoreArchive } from "../src/session/session-archive.ts";
import { SessionLocks } from "../src/session/session-locks.ts";
import { openObjectStore } from "../src/session/stores/open-object-store.ts";
import type { RunningServer } from "./processes.ts";
import type { SessionStore } from "./session-stores.ts";
import { timeTurn } from "./turn-client.ts";

const WRITES_AT_ONCE = 32;
/** What `plimsoll` calls whoever asks without a key. */
const TENANT = "default";

export interface RealTranscript {
  readonly sessionId: string;
  readonly text: string;
}

/** Runs a turn, and reads what Claude Code wrote down of it. */
export async function realTranscript(
  started: RunningServer,
  dataDirectory: string,
): Promise<RealTranscript> {
  {
    await using server = started;
    await timeTurn({ url: server.url, agentName: "hello", input: "Good morning" });
  }
  const names = await readdir(dataDirectory, { recursive: true });
  const name = names.find((each) => each.endsWith(".jsonl"));
  if (name === undefined) throw new Error("the turn left no transcript");
  const text = await readFile(join(dataDirectory, name), "utf8");
  return { text, sessionId: name.replace(/^.*\/|\.jsonl$/g, "") };
}

export interface MadeSessions {
  readonly dataDirectory: string;
  readonly count: number;
  readonly transcript: RealTranscript;
  /** When the last turn of each of them, by its number, was; now without it. */
  readonly lastTurnAtMs?: (index: number) => number;
}

/**
 * Those of the threads `thread-0`, `thread-1` and so on, with the transcript of the real turn under
 * each one's own id.
 */
export async function makeSessions(made: MadeSessions, signal: AbortSignal): Promise<void> {
  const { dataDirectory, count: all, transcript, lastTurnAtMs = () => Date.now() } = made;
  const { text, sessionId } = transcript;
  const data = await openDataDirectory(dataDirectory, Date.now());
  const sessions = new FileSessions({
    dataDirectory,
    maxPerTenant: all,
    locks: new SessionLocks(),
  });
  const make = async (index: number) => {
    const target = { by: "thread", threadId: `thread-${index}`, expectsHistory: false } as const;
    const input = { tenant: TENANT, agentName: "hello", target };
    const session = await sessions.open(input, Date.now());
    const project = join(session.directories.config, "projects", "work");
    mkdirSync(project, { recursive: true });
    const own = text.replaceAll(sessionId, session.sessionId);
    writeFileSync(join(project, `${session.sessionId}.jsonl`), own);
    const ref = { tenant: TENANT, sessionId: session.sessionId };
    const totals = { costUsd: 0.01, byModel: [] };
    await sessions.finish(ref, { totals, endedAtMs: lastTurnAtMs(index) });
  };
  for (let first = 0; first < all; first += WRITES_AT_ONCE) {
    signal.throwIfAborted();
    const count = Math.min(WRITES_AT_ONCE, all - first);
    await Promise.all(Array.from({ length: count }, (_, index) => make(first + index)));
  }
  await data[Symbol.asyncDispose]();
}

const STORE_TIME_MS = 60_000;

/** All sessions of a data directory that no server has, as `plimsoll sessions copy` does. */
export async function copyToStore(
  dataDirectory: string,
  { url, environment }: Pick<SessionStore, "url" | "environment">,
  signal: AbortSignal,
): Promise<void> {
  const { PLIMSOLL_SESSIONS_STORE: _url, ...credentials } = environment;
  // Where the driver looks for them.
  Object.assign(process.env, credentials);
  await using store = await openObjectStore({ url: new URL(url), timeoutMs: STORE_TIME_MS });
  const [from, to] = [new DirectoryArchive(dataDirectory), new StoreArchive(store)];
  const records = [...(await from.all()).records];
  const copy = async (): Promise<void> => {
    for (let record = records.pop(); record !== undefined; record = records.pop()) {
      signal.throwIfAborted();
      const { record: own, ...transcripts } = await from.transcripts(record);
      await to.put(own, transcripts, false);
    }
  };
  await Promise.all(Array.from({ length: WRITES_AT_ONCE }, copy));
}
