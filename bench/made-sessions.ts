/**
 * Sessions by the thousand, as a server makes them, without a turn for each.
 *
 * @module
 */

import { openDataDirectory } from "../src/session/data-directory.ts";
import { DirectoryArchive, StoreArchive } from "../src/session/session-archive.ts";
import { openObjectStore } from "../src/session/stores/open-object-store.ts";
import {
  type MadeSessions,
  makeSessions as makeThem,
  type RealTranscript,
  readRealTranscript,
} from "../src/sizing/measure/made-sessions.ts";
import type { RunningServer } from "./processes.ts";
import type { SessionStore } from "./session-stores.ts";
import { timeTurn } from "./turn-client.ts";

const COPIES_AT_ONCE = 32;

/** Runs a turn, and reads what Claude Code wrote down of it. */
export async function realTranscript(
  started: RunningServer,
  dataDirectory: string,
): Promise<RealTranscript> {
  {
    await using server = started;
    await timeTurn({ url: server.url, agentName: "hello", input: "Good morning" });
  }
  return readRealTranscript(dataDirectory);
}

/** In a data directory that no server has, or ever had. */
export async function makeSessions(
  made: Omit<MadeSessions, "agentName">,
  signal: AbortSignal,
): Promise<void> {
  await using _data = await openDataDirectory(made.dataDirectory, Date.now());
  await makeThem({ ...made, agentName: "hello" }, signal);
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
  await Promise.all(Array.from({ length: COPIES_AT_ONCE }, copy));
}
