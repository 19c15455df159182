/**
 * What turns and callers do with sessions, wherever they are kept: in the data directory of the
 * one replica (`file-sessions.ts`), or in a store that several share (`shared-sessions.ts`).
 *
 *     lock ─▶ claim ─▶ open ─▶ (a turn) ─▶ finish ─▶ unlock
 *
 * The lock is this replica's own (`session-locks.ts`), a claim holds on all of them. Whoever calls
 * `claim`, `open` or `finish` holds the lock of the session.
 *
 * @module
 */

import type { TranscriptLimit } from "../agent/definition.ts";
import type { StoredSession } from "./retention.ts";
import type { SessionInput, SessionRef } from "./session-id.ts";
import type { SessionPage, SessionQuery } from "./session-list.ts";
import type { Shortened } from "./shorten-transcript.ts";
import type { SessionDirectories } from "./session-paths.ts";
import type { SessionRecord, SessionTotals } from "./session-record.ts";
import type { Tallied } from "./session-tally.ts";
import type { TranscriptRepair } from "./transcript-file.ts";
import type { Transcript } from "./transcript.ts";
import type { TreeSize } from "./tree-size.ts";
import type { TurnKey } from "../turn/turn.ts";
import type { KeptTurn, TurnAnswer } from "./turn-keys.ts";

export interface OpenSession extends TranscriptRepair {
  readonly sessionId: string;
  readonly threadId: string;
  /** Claude Code's own id of the session. */
  readonly transcriptId: string;
  /** True: start it under that id (SDK `sessionId`). False: continue it (SDK `resume`). */
  readonly isNew: boolean;
  readonly directories: SessionDirectories;
  /** What is continued; 0 for a new session. */
  readonly transcriptBytes: number;
  /** What was done so that the agent can carry it; null if nothing. */
  readonly shortened: Shortened | null;
}

export interface OpenOptions {
  /** The turn goes on in a process that is there: what that has is left alone. */
  readonly processStayed?: boolean;
  /** How much of a transcript may be resumed; without it there is no limit. */
  readonly transcript?: TranscriptLimit;
}

export interface TurnEnd {
  /** What this turn alone has used; null when the agent process ended without a result. */
  readonly totals: SessionTotals | null;
  readonly endedAtMs: number;
  /** A process of the session lives on, and has its scratch directory. */
  readonly processStays?: boolean;
  /** Somebody cancelled the turn, and waits for its end: what takes long is done behind it. */
  readonly isAwaited?: boolean;
  /** What came of a turn that has a key. */
  readonly keyed?: { readonly key: TurnKey; readonly answer: TurnAnswer };
}

export interface ScanOptions {
  /** Whether what all files of a session take is measured, which is dear; else its transcript alone. */
  readonly withDiskUsage: boolean;
}

export interface SessionSummary extends Omit<
  SessionRecord,
  "version" | "tenant" | "transcriptId" | "keptTurns"
> {
  /** Whether a turn of it is running now. */
  readonly isBusy: boolean;
}

/** What is told of a session. What was said to whom is the business of those who asked. */
export function summaryOf(record: SessionRecord, isBusy: boolean): SessionSummary {
  const { version: _version, tenant: _tenant, transcriptId: _transcriptId, ...rest } = record;
  const { keptTurns: _keptTurns, ...shown } = rest;
  return { ...shown, isBusy };
}

/** A session that no other replica can use. Disposing lets it go, if `finish` has not. */
export interface SessionClaim extends AsyncDisposable {
  /**
   * What is here of it has to be made anew: others had turns of it, which a process that stayed here
   * has missed, or a file of it was removed, or cut, since its last turn.
   */
  readonly hasMovedOn: boolean;
  /** An earlier turn never gave it back: its replica was killed, or the store away. */
  readonly wasLeft: boolean;
  /** Aborts when the session was taken over: nothing of the turn can be kept. Its reason is why. */
  readonly lost: AbortSignal;
}

/**
 * The claim of what nobody else can use: a session of this replica alone, or none. A new one each
 * time: a signal remembers for ever what `AbortSignal.any` has made of it (Node 20, 240 bytes a turn).
 */
export function soleClaim(): SessionClaim {
  return {
    hasMovedOn: false,
    wasLeft: false,
    lost: new AbortController().signal,
    async [Symbol.asyncDispose]() {},
  };
}

export interface Sessions {
  /**
   * Keeps all other replicas from the session until the claim is disposed.
   *
   * @throws {AppError} `session_busy`, `session_not_found`, `session_gone`, `too_many_sessions`,
   *   `store_unavailable`, `session_unreadable`.
   */
  claim(input: SessionInput, nowMs: number): Promise<SessionClaim>;

  /**
   * Makes the session ready for a turn: its directories, its record, a transcript without torn
   * lines, and none that is too large. A crash at any point leaves a session that can be opened
   * again.
   *
   * @throws {AppError} `session_not_found` for a session, or a thread with history, that is not
   *   known; `session_gone` when it was deleted or its transcript is lost; `too_many_sessions`,
   *   `transcript_too_large`, `storage_full`, `storage_failed`, `store_unavailable`.
   */
  open(input: SessionInput, nowMs: number, options?: OpenOptions): Promise<OpenSession>;

  /**
   * Size of the transcript that a turn would resume; 0 if there is none. Takes nothing: whoever is
   * refused by `claim` or `open` for what he asks for is refused here, before he costs anything.
   *
   * @throws {AppError} `session_not_found`, `session_gone`, `too_many_sessions`, `session_busy` when
   *   another replica has it; `storage_failed`, `store_unavailable`, `session_unreadable`.
   */
  transcriptBytes(input: SessionInput, nowMs: number): Promise<number>;

  /**
   * Brings what this replica has of the session up to date, so that a process can resume it.
   *
   * @returns False where as many are being brought here as may be at once: then nothing was done.
   */
  refresh(ref: SessionRef): Promise<boolean>;

  /**
   * Records how a turn ended, once its processes are gone or at rest.
   *
   * @throws {AppError} `session_not_found`, `storage_full`, `storage_failed`, `session_taken_over`.
   */
  finish(ref: SessionRef, end: TurnEnd): Promise<void>;

  /**
   * The turn of that key, if it has begun in the session, and the thread it belongs to.
   *
   * @throws {AppError} `session_busy` while it runs on another replica; `storage_failed`,
   *   `store_unavailable`.
   */
  keptTurn(
    ref: SessionRef,
    agentName: string,
    key: Pick<TurnKey, "hash">,
  ): Promise<{ readonly turn: KeptTurn; readonly threadId: string } | undefined>;

  /**
   * Remembers a turn that has a key before anything of it runs, on all replicas. The session is
   * claimed and open.
   *
   * @throws {AppError} `session_busy` when another replica has just run it; `session_not_found`,
   *   `session_taken_over`, `storage_full`, `storage_failed`, `store_unavailable`.
   */
  keepBegun(ref: SessionRef, begun: Omit<KeptTurn, "end">): Promise<void>;

  /** The newest first. @throws {AppError} `invalid_request` for a bad cursor or limit. */
  list(query: SessionQuery): Promise<SessionPage<SessionSummary>>;

  /** @throws {AppError} `session_not_found`, `session_gone`, `other_session`. */
  read(ref: SessionRef, nowMs: number): Promise<SessionSummary>;

  /** What was said in the session. @throws {AppError} `session_not_found`, `session_gone`. */
  transcript(ref: SessionRef, nowMs: number): Promise<Transcript>;

  /**
   * All that was said, as Claude Code has it: lines of JSON (`session-export.ts`). It throws while it
   * is read when the session is deleted meanwhile.
   *
   * @throws {AppError} `session_not_found`, `session_gone`, `other_session`.
   */
  exported(ref: SessionRef, nowMs: number): Promise<AsyncIterable<Buffer>>;

  /**
   * Removes a session and everything in it.
   *
   * @returns What was removed.
   * @throws {AppError} `session_busy`, `session_on_hold`, `session_not_found`, `session_gone`,
   *   `other_session`.
   */
  delete(ref: SessionRef, nowMs: number): Promise<TreeSize>;

  /**
   * Deletes a session that nobody has used since it was looked at.
   *
   * @returns Whether it was removed; false when it had a turn since, or was put on hold.
   * @throws {AppError} As {@link delete}.
   */
  deleteUnused(
    seen: SessionRef & { readonly lastUseAtMs: number },
    nowMs: number,
  ): Promise<boolean>;

  /**
   * Keeps a session from being deleted by anyone, or lets it go again. Turns go on either way.
   *
   * @throws {AppError} `session_busy`, `session_not_found`, `session_gone`, `other_session`.
   */
  hold(ref: SessionRef, isOnHold: boolean, nowMs: number): Promise<SessionSummary>;

  /** Sessions of the tenant. */
  count(tenant: string): Promise<number>;

  /** What is known of all there are without a look at any; null before the first {@link scan}. */
  readonly tallied: Tallied | null;

  /**
   * All there are, of all tenants, a few at a time and in no order. One that was begun or deleted
   * meanwhile may be missing.
   */
  scan(options: ScanOptions): AsyncGenerator<readonly (StoredSession | "unreadable")[]>;
}
