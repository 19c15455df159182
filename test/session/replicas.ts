/**
 * Replicas in one process, each with a data directory of its own, over a store in memory, and turns
 * of theirs, that write the lines that Claude Code would.
 */

import { appendFile, mkdir, readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { Pacer } from "../../src/lib/pacer.ts";
import { openDataDirectory } from "../../src/session/data-directory.ts";
import { FileSessions } from "../../src/session/file-sessions.ts";
import { type SessionInput, sessionRefOf } from "../../src/session/session-id.ts";
import { transcriptIfAny } from "../../src/session/session-lookup.ts";
import { SessionLocks } from "../../src/session/session-locks.ts";
import type { OpenSession, SessionClaim } from "../../src/session/sessions.ts";
import { SharedSessions } from "../../src/session/shared-sessions.ts";
import type { StoreNotice } from "../../src/session/store-notice.ts";
import type { ObjectStore } from "../../src/session/stores/object-store.ts";
import { cleanAfterTest, temporaryDirectory, TOTALS, userLine } from "./fixture.ts";
import { MemoryObjects } from "./stores/memory-objects.ts";

export const LEASE_MS = 60_000;

export interface Replica {
  readonly name: string;
  readonly data: string;
  readonly sessions: SharedSessions;
  readonly locks: SessionLocks;
  readonly notices: StoreNotice["what"][];
  /** What a server started again on the same directory has. */
  restarted(): Promise<Replica>;
}

export interface ReplicaOptions {
  readonly leaseTimeMs?: number;
  readonly maxPerTenant?: number;
  readonly maxIdleMs?: number;
  readonly outboxBytes?: number;
}

export async function replica(
  name: string,
  store: ObjectStore,
  options: ReplicaOptions = {},
  data?: string,
): Promise<Replica> {
  const directory = data ?? join(await temporaryDirectory(), "data");
  if (data === undefined) {
    const opened = await openDataDirectory(directory, 1);
    cleanAfterTest(async () => opened[Symbol.asyncDispose]());
  }
  const locks = new SessionLocks();
  const notices: StoreNotice["what"][] = [];
  const maxPerTenant = Number.MAX_SAFE_INTEGER;
  const sessions = new SharedSessions({
    store,
    local: new FileSessions({ dataDirectory: directory, maxPerTenant, locks }),
    dataDirectory: directory,
    locks,
    holder: name,
    leaseTimeMs: LEASE_MS,
    maxPerTenant: 100,
    maxIdleMs: null,
    outboxBytes: 2 ** 20,
    beforeDelete: async () => {},
    onNotice: ({ what }) => notices.push(what),
    ...options,
  });
  await sessions.resume();
  cleanAfterTest(async () => sessions[Symbol.asyncDispose]());
  const restarted = () => replica(name, store, options, directory);
  return { name, data: directory, sessions, locks, notices, restarted };
}

export async function replicas(options: ReplicaOptions = {}) {
  const store = new MemoryObjects();
  const [one, two] = [await replica("one", store, options), await replica("two", store, options)];
  return { store, one, two };
}

/** A turn that is under way. */
export interface Turn extends AsyncDisposable {
  readonly session: OpenSession;
  readonly claim: SessionClaim;
  /** What the transcript says, as Claude Code would read it as it starts. */
  readonly history: readonly string[];
  say(text: string): Promise<void>;
  finish(nowMs?: number): Promise<void>;
}

let turns = 0;

export async function begin(at: Replica, input: SessionInput, atMs?: number): Promise<Turn> {
  const ref = sessionRefOf(input);
  const lock = at.locks.lock(ref);
  try {
    await at.sessions.transcriptBytes(input, atMs ?? Date.now());
    const nowMs = atMs ?? Date.now();
    const claim = await at.sessions.claim(input, nowMs);
    try {
      const session = await at.sessions.open(input, nowMs);
      const found = await transcriptIfAny(at.data, ref);
      const { config } = session.directories;
      const file = found?.path ?? join(config, "projects", "own", `${session.transcriptId}.jsonl`);
      const history = await wordsIn(file);
      return {
        session,
        claim,
        history,
        async say(text) {
          turns += 1;
          await mkdir(dirname(file), { recursive: true });
          await appendFile(file, userLine(text, `uuid-${turns}`));
        },
        async finish(endedAtMs = Date.now()) {
          await at.sessions.finish(ref, { totals: TOTALS, endedAtMs });
        },
        async [Symbol.asyncDispose]() {
          await claim[Symbol.asyncDispose]();
          lock[Symbol.dispose]();
        },
      };
    } catch (thrown) {
      await claim[Symbol.asyncDispose]();
      throw thrown;
    }
  } catch (thrown) {
    lock[Symbol.dispose]();
    throw thrown;
  }
}

export async function takeTurn(
  at: Replica,
  input: SessionInput,
  text: string,
): Promise<readonly string[]> {
  await using turn = await begin(at, input);
  await turn.say(text);
  await turn.finish();
  return turn.history;
}

export async function wordsIn(file: string): Promise<string[]> {
  const text = await readFile(file, "utf8").catch(() => "");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => (JSON.parse(line) as { message: { content: string } }).message.content);
}

export function required<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error("Expected a value: there was none");
  return value;
}

/** Of all files, however deep; nothing where there is no such directory. */
export async function allTextIn(directory: string): Promise<string> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(
    () => [],
  );
  const files = entries.filter((entry) => entry.isFile());
  const texts = files.map(({ parentPath, name }) => readFile(join(parentPath, name), "utf8"));
  return (await Promise.all(texts)).join("\n");
}

/** Of a sweep that need not be gentle. */
export const pace = () => ({ pacer: new Pacer(1), signal: new AbortController().signal });

export async function saidIn(at: Replica, input: SessionInput): Promise<string[]> {
  const { messages } = await at.sessions.transcript(sessionRefOf(input), Date.now());
  return messages.flatMap(({ parts }) =>
    parts.flatMap((part) => (part.type === "text" ? part.text : [])),
  );
}

/** Ends the turn, having said "during", at a store that does not answer from then on. */
export async function endDuringOutage(store: MemoryObjects, turn: Turn): Promise<void> {
  await turn.say("during");
  store.faultOf = () => "before";
  await turn.finish();
  await turn[Symbol.asyncDispose]();
}
