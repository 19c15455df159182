/**
 * The SDK's own `SessionStore` on any object store: for programs that call the SDK themselves, and
 * want their sessions where the server keeps its own. The server does not need it: it uploads the
 * transcripts of its turns itself, under a lease (`shared-sessions.ts`).
 *
 * As the SDK's contract says: entries come back in the order of their writing, those with a uuid
 * that was there already do not come twice, and two writers at once lose nothing.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type {
  SessionKey,
  SessionStore,
  SessionStoreEntry,
  SessionSummaryEntry,
} from "@anthropic-ai/claude-agent-sdk";
import { z } from "zod";
import { AppError, hasCode } from "../../lib/errors.ts";
import { monotonicMs } from "../../lib/monotonic-clock.ts";
import { INDEX, indexNameOf, type LogKey, ownerOf, parseIndexName } from "./names.ts";
import type { ObjectStore } from "./object-store.ts";
import { chunksOf, writeStartOf } from "./pieces.ts";
import {
  begun,
  transcriptBytesOf,
  changed,
  checkFree,
  deleted,
  piecesOf,
  type SessionHead,
  taken,
} from "./session-head.ts";
import { type KnownHead, SessionLog, type Tail } from "./session-log.ts";

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const PAGE = 1000;
const HEADS_AT_ONCE = 32;
/** What the SDK wants to know of a session without reading it; its own business. */
const Summary = z.object({ data: z.record(z.string(), z.unknown()) });

/** So long a deletion keeps everybody off: a head is deleted whatever it has become. */
const DELETION_TIME_MS = 60_000;
/** Mostly a deletion is over in a moment. */
const TRY_PAUSE_MS = 50;
const MAX_TRIES = 100;

type Change = (head: SessionHead) => SessionHead;
type ProjectSession = Pick<SessionKey, "projectKey" | "sessionId">;

export class SdkSessionStore implements SessionStore {
  readonly #store: ObjectStore;
  readonly #log: SessionLog;

  constructor(store: ObjectStore) {
    this.#store = store;
    this.#log = new SessionLog(store);
  }

  /** @throws {AppError} `store_unavailable`: the SDK tries again, and gives up. */
  async append(key: SessionKey, entries: SessionStoreEntry[]): Promise<void> {
    if (entries.length === 0) return;
    const { foldSessionSummary } = await import("@anthropic-ai/claude-agent-sdk");
    const own = logKeyOf(key);
    const path = pathOf(key);
    const lines = entries.map((entry) => `${JSON.stringify(entry)}\n`).join("");
    const atMs = Date.now();
    // First, so that no session is in no list; one of its two places is wrong for a moment.
    await this.#store.put(indexNameOf(own, atMs), Buffer.alloc(0), "any");
    let listedAtMs: number | null = null;
    const tail = { path, fromBytes: null, chunks: chunksOf(Buffer.from(lines)) };
    const head = await this.#append(own, tail, (appended) => {
      listedAtMs = appended.listedAtMs;
      const mtime = Math.max(atMs, listedAtMs ?? 0);
      if (path !== "") return { ...appended, listedAtMs: mtime };
      const before = summaryOf(appended, key.sessionId);
      const { data } = foldSessionSummary(before, key, entries, { mtime });
      return { ...appended, record: { data }, listedAtMs: mtime };
    });
    await this.#unlist(own, listedAtMs, head.listedAtMs);
    if (head.listedAtMs !== atMs) await this.#unlist(own, atMs, head.listedAtMs);
    await this.#merge(own, head, path);
  }

  /** Null for one that was never written. @throws {AppError} `store_unavailable`, `session_gone`. */
  async load(key: SessionKey): Promise<SessionStoreEntry[] | null> {
    const own = logKeyOf(key);
    const path = pathOf(key);
    const head = await this.#log.read(own);
    if (head?.pieces[path] === undefined) return null;
    const chunks: Buffer[] = [];
    for await (const chunk of this.#log.load(own, head, path)) chunks.push(chunk);
    return entriesIn(Buffer.concat(chunks).toString("utf8"));
  }

  async listSessions(projectKey: string): Promise<{ sessionId: string; mtime: number }[]> {
    const listed = await this.#listed(projectKey);
    return listed.map(({ sessionId, atMs }) => ({ sessionId, mtime: atMs }));
  }

  async listSessionSummaries(projectKey: string): Promise<SessionSummaryEntry[]> {
    const listed = await this.#listed(projectKey);
    const summaries: SessionSummaryEntry[] = [];
    for (let first = 0; first < listed.length; first += HEADS_AT_ONCE) {
      const some = listed.slice(first, first + HEADS_AT_ONCE);
      const heads = await Promise.all(some.map((key) => this.#log.read(key)));
      for (const head of heads) {
        const summary = head === null ? undefined : summaryOf(head, head.sessionId);
        if (summary !== undefined) summaries.push(summary);
      }
    }
    return summaries;
  }

  /** The whole session, or one of its subagents' transcripts. */
  async delete(key: SessionKey): Promise<void> {
    const own = logKeyOf(key);
    const path = pathOf(key);
    if (path !== "") {
      await this.#log.append(own, null, [], (head) => withoutPath(head, path));
      return;
    }
    const head = await this.#log.read(own);
    if (head === null) return;
    const beganAtMs = monotonicMs();
    try {
      await this.#log.update(own, (now) => beingForgotten(now, randomUUID()));
    } catch (thrown) {
      // Another one is at it.
      if (hasCode(thrown, "session_busy")) return;
      throw thrown;
    }
    await this.#unlist(own, head.listedAtMs, null);
    await this.#log.clear(own);
    // Stood still for long: somebody may begin it anew, or have done so.
    if (monotonicMs() - beganAtMs < DELETION_TIME_MS / 2) await this.#log.forget([own]);
  }

  /** @throws {AppError} `session_busy`: its deletion does not end, or was cut short a moment ago. */
  async #append(key: LogKey, tail: Tail, change: Change): Promise<SessionHead> {
    const then: Change = (head) => change(stillThere(head));
    for (let tries = 1; ; tries += 1) {
      try {
        const known = await this.#begun(key);
        return (await this.#log.append(key, null, [tail], then, known)).head;
      } catch (thrown) {
        // It was deleted since: what is written for it may have gone with it. Or it is just being so.
        const isDeleted = hasCode(thrown, "session_gone") || hasCode(thrown, "session_busy");
        if (!isDeleted || tries === MAX_TRIES) throw thrown;
        await delay(TRY_PAUSE_MS);
      }
    }
  }

  /**
   * One that was deleted begins anew before anything is written for it: that would be cleared by
   * whoever finds it deleted.
   */
  async #begun(key: LogKey): Promise<KnownHead> {
    const known = await this.#log.know(key);
    if (known.head.deletedAtMs === undefined) return known;
    await this.#log.clear(key);
    const begin: Change = (head) => {
      if (head.deletedAtMs === undefined) return head;
      if (head.fence !== known.head.fence) throw wasDeleted();
      checkFree(head, { holder: "", leaseTimeMs: 0, nowMs: Date.now() });
      return { ...begun(head, null), lease: null };
    };
    return this.#log.update(key, begin, known);
  }

  async listSubkeys(key: ProjectSession): Promise<string[]> {
    const head = await this.#log.read(logKeyOf(key));
    return Object.keys(head?.pieces ?? {}).filter((path) => path !== "");
  }

  /** The newest first, each once. */
  async #listed(projectKey: string): Promise<(LogKey & { atMs: number })[]> {
    const prefix = `${INDEX}${ownerOf("project", projectKey)}/`;
    const listed = new Map<string, LogKey & { atMs: number }>();
    for (let after: string | undefined; ;) {
      const page = { prefix, limit: PAGE, ...(after !== undefined && { after }) };
      const names = await this.#store.list(page);
      for (const name of names) {
        const found = parseIndexName(name);
        // A write that was cut short has left its old place.
        if (found !== undefined && !listed.has(found.sessionId)) listed.set(found.sessionId, found);
      }
      if (names.length < PAGE) return [...listed.values()];
      after = names.at(-1);
    }
  }

  async #unlist(key: LogKey, atMs: number | null, nowAtMs: number | null): Promise<void> {
    if (atMs === null || atMs === nowAtMs) return;
    // One that stays is told from the right one by its age.
    await this.#store.delete([indexNameOf(key, atMs)]).catch(() => {});
  }

  /** Merges small pieces. It is of no consequence when that fails: the next append does it. */
  async #merge(key: LogKey, head: SessionHead, path: string): Promise<void> {
    const endBytes = transcriptBytesOf(head, path);
    const fromBytes = writeStartOf(head, path);
    if (fromBytes === endBytes) return;
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of this.#log.load(key, head, path, fromBytes)) chunks.push(chunk);
      const merged = Buffer.concat(chunks).subarray(0, endBytes - fromBytes);
      const tail = { path, fromBytes, ifBytes: endBytes, chunks: chunksOf(merged) };
      await this.#log.append(key, null, [tail]);
    } catch {
      // Pieces that stay small are a little slower to read.
    }
  }
}

/** Deleted, and leased to whoever takes away what is left of it, the head last. */
function beingForgotten(head: SessionHead, leaseId: string): SessionHead {
  const terms = { holder: leaseId, leaseTimeMs: DELETION_TIME_MS, nowMs: Date.now() };
  return taken(head.deletedAtMs === undefined ? deleted(head, terms) : head, terms, leaseId);
}

function stillThere(head: SessionHead): SessionHead {
  if (head.deletedAtMs === undefined) return head;
  throw wasDeleted();
}

function wasDeleted(): AppError {
  return new AppError("session_gone", "Cannot write to the session: it was deleted meanwhile");
}

function logKeyOf({ projectKey, sessionId }: ProjectSession): LogKey {
  const canonical = sessionId.toLowerCase();
  if (!UUID.test(canonical)) {
    throw new AppError("session_not_found", "Cannot use the session: its id is no UUID");
  }
  return { owner: ownerOf("project", projectKey), sessionId: canonical };
}

function pathOf({ subpath }: SessionKey): string {
  if (subpath === "") throw new Error("an empty subpath names no transcript");
  return subpath ?? "";
}

function summaryOf(head: SessionHead, sessionId: string): SessionSummaryEntry | undefined {
  const parsed = Summary.safeParse(head.record);
  if (!parsed.success || head.listedAtMs === null) return undefined;
  return { sessionId, mtime: head.listedAtMs, data: parsed.data.data };
}

function withoutPath(head: SessionHead, path: string): SessionHead {
  if (piecesOf(head, path).length === 0) return head;
  const { [path]: _deleted, ...pieces } = head.pieces;
  return changed({ ...head, pieces });
}

function entriesIn(text: string): SessionStoreEntry[] {
  const seen = new Set<string>();
  const entries: SessionStoreEntry[] = [];
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const entry = JSON.parse(line) as SessionStoreEntry;
    if (entry.uuid !== undefined && seen.has(entry.uuid)) continue;
    if (entry.uuid !== undefined) seen.add(entry.uuid);
    entries.push(entry);
  }
  return entries;
}
