/**
 * What a session is now, as one object in the store: who may write to it, what its transcript is
 * made of, and what is told of it. Pure: each change takes a head and gives the next one, and the
 * store takes that only from whoever knew the last (`session-log.ts`).
 *
 *     free ──taken──▶ leased, fence + 1 ──appended, renewed──▶ leased ──released──▶ free
 *                       └─ not renewed in time: whoever takes it next has a higher fence,
 *                          and every write with the old one is refused
 *
 * So a lease that was judged by a wrong clock costs somebody a turn, never a transcript. And as a store
 * may lose a write that it had acknowledged (a failover, a backup) and then gives a fence once more,
 * each lease has a random id beside it.
 *
 * @module
 */

import { z } from "zod";
import { AppError } from "../../lib/errors.ts";
import { mustNotBeNewer } from "./readable.ts";

const count = z.number().int().nonnegative();

/** Some bytes of a transcript, which is all of them in their order. */
const Piece = z.object({
  name: z.string(),
  bytes: count,
  /** The hash of its bytes, by `hashOf` of `pieces.ts`. */
  hash: z.string(),
});
export type Piece = Readonly<z.infer<typeof Piece>>;

const Lease = z.object({
  /** Id of the server that has it. */
  holder: z.string(),
  /** By the clock of the holder, as the other one. */
  takenAtMs: count,
  expiresAtMs: count,
});
export type Lease = Readonly<z.infer<typeof Lease>>;

const VERSION = 1;

export const SessionHead = z.object({
  version: z.literal(VERSION),
  sessionId: z.string(),
  /** One more with every write: no two heads of a session are ever the same bytes. */
  revision: count,
  /**
   * The number of the last lease that was given; never falls. Who writes with a lower one is refused.
   */
  fence: count,
  /** The id of the last lease, as in {@link LeaseToken}; heads of earlier versions have none. */
  leaseId: z.string().optional(),
  lease: Lease.nullable(),
  /** By the path of the transcript: "" is the session's own, others are of subagents. */
  pieces: z.record(z.string(), z.array(Piece)),
  /** What its owner keeps of it beside the transcript; of no meaning here. */
  record: z.unknown(),
  /** Its place in the list of its owner; null while it is in none. */
  listedAtMs: count.nullable(),
  /** Present once it was deleted: nothing else of it is left. */
  deletedAtMs: count.optional(),
  /**
   * The revision in which something that was said was last taken away, or replaced by something else:
   * what was read before does not go on in this one. Merging pieces does no such thing.
   */
  changedInRevision: count.optional(),
});
export type SessionHead = Readonly<z.infer<typeof SessionHead>>;

/** What the holder of a lease shows with each write. */
export interface LeaseToken {
  readonly fence: number;
  /** Undefined for a lease that an earlier version has taken: the fence alone counts then. */
  readonly leaseId?: string | undefined;
}

/** The token of the last lease that was given. */
export function tokenOf({ fence, leaseId }: SessionHead): LeaseToken {
  return { fence, leaseId };
}

/** Whether nobody has taken the session since, nor deleted it. */
export function isHeldBy(head: SessionHead, { fence, leaseId }: LeaseToken): boolean {
  if (head.fence !== fence || head.deletedAtMs !== undefined) return false;
  return head.leaseId === leaseId || head.leaseId === undefined || leaseId === undefined;
}

/** The head of a session that was never written. */
export function newHead(sessionId: string): SessionHead {
  return {
    version: 1,
    sessionId,
    revision: 0,
    fence: 0,
    lease: null,
    pieces: {},
    record: null,
    listedAtMs: null,
  };
}

/** Undefined for bytes that are no head. @throws {AppError} `session_newer` */
export function parseHead(body: Buffer): SessionHead | undefined {
  let value: unknown;
  try {
    value = JSON.parse(body.toString("utf8"));
  } catch {
    // Damage of any kind is one case to the caller of this function.
    return undefined;
  }
  mustNotBeNewer(value, VERSION);
  return SessionHead.safeParse(value).data;
}

/** Whether somebody else may be writing to it. */
export function isLeasedElsewhere(
  { lease }: SessionHead,
  { holder, nowMs, judgedAtMs = nowMs, graceMs = 0 }: Omit<LeaseTerms, "leaseTimeMs">,
): boolean {
  if (lease === null || lease.holder === holder) return false;
  return lease.expiresAtMs + graceMs > judgedAtMs;
}

/** @throws {AppError} `session_busy` while another server has it, with the time that it ends at. */
export function checkFree(head: SessionHead, terms: LeaseTerms): void {
  if (isLeasedElsewhere(head, terms)) throw busyElsewhere(head, terms);
}

export interface LeaseTerms {
  /** Id of the server that asks. */
  readonly holder: string;
  readonly nowMs: number;
  readonly leaseTimeMs: number;
  /** By which leases of others are judged, if that is another time than now; see `lease-clock.ts`. */
  readonly judgedAtMs?: number;
  /** Until when they are. */
  readonly graceEndsAtMs?: number;
  /** For so long after its end a lease is respected that was not given back; not at all, if absent. */
  readonly graceMs?: number;
}

/**
 * Gives the session to a server, with a fence that nobody had before. A server takes over from
 * itself at once: no two run on one data directory, so the one before is dead.
 *
 * @param leaseId Random.
 * @throws {AppError} `session_busy` while another has it.
 */
export function taken(head: SessionHead, terms: LeaseTerms, leaseId: string): SessionHead {
  checkFree(head, terms);
  const { holder, nowMs, leaseTimeMs } = terms;
  const lease = { holder, takenAtMs: nowMs, expiresAtMs: nowMs + leaseTimeMs };
  return { ...head, fence: head.fence + 1, leaseId, lease };
}

/** @throws {AppError} `session_taken_over` */
export function renewed(head: SessionHead, token: LeaseToken, expiresAtMs: number): SessionHead {
  requireHeld(head, token);
  // One that was given back already need not be kept.
  return head.lease === null ? head : { ...head, lease: { ...head.lease, expiresAtMs } };
}

/** Lets the session go; that of somebody else is left alone, and the head is the same. */
export function released(head: SessionHead, token: LeaseToken): SessionHead {
  return isHeldBy(head, token) && head.lease !== null ? { ...head, lease: null } : head;
}

/** What is added to one transcript. */
export interface Addition {
  /** Which transcript, as in {@link SessionHead.pieces}. */
  readonly path: string;
  /**
   * How many bytes come before it: the end of a piece. Those after it are in `added` again, be it
   * that many small pieces become one or that they are others now. Null for the end, wherever it is.
   */
  readonly fromBytes: number | null;
  /** Nothing is to be done unless the transcript has so many bytes now: where others write, too. */
  readonly ifBytes?: number;
  readonly added: readonly Piece[];
  /** Whether `added` says all that these do, which it replaces, and perhaps more; no, if absent. */
  readonly beginsWith?: (replaced: readonly Piece[]) => boolean;
}

/**
 * The head with these additions, or the same one if it has them already: a write whose answer was
 * lost may be tried again. A transcript of which no piece is left is none any more.
 *
 * @param token Null for an owner without leases.
 * @throws {AppError} `session_taken_over`; `store_unavailable` for a head that lacks what comes before.
 */
export function appended(
  head: SessionHead,
  token: LeaseToken | null,
  additions: readonly Addition[],
): SessionHead {
  if (token !== null) requireHeld(head, token);
  const pieces = new Map(Object.entries(head.pieces));
  let hasChanged = false;
  let isOther = false;
  for (const { path, fromBytes, ifBytes, added, beginsWith } of additions) {
    const storedBytes = transcriptBytesOf(head, path);
    if (ifBytes !== undefined && ifBytes !== storedBytes) continue;
    const stored = piecesOf(head, path);
    const before = piecesBefore(stored, fromBytes ?? storedBytes);
    const after = stored.slice(before.length);
    if (isSame(after, added)) continue;
    if (before.length + added.length > 0) pieces.set(path, [...before, ...added]);
    else pieces.delete(path);
    hasChanged = true;
    isOther ||= after.length > 0 && beginsWith?.(after) !== true;
  }
  if (!hasChanged) return head;
  const after = { ...head, pieces: Object.fromEntries(pieces) };
  return isOther ? changed(after) : after;
}

/** Says that this one has taken away, or replaced, something that the one before said. */
export function changed(head: SessionHead): SessionHead {
  return { ...head, changedInRevision: head.revision + 1 };
}

/** Whether a head still says all that an earlier one did: who has read a part of that may read on. */
export function goesOnFrom(now: SessionHead, earlier: SessionHead): boolean {
  return now.deletedAtMs === undefined && (now.changedInRevision ?? 0) <= earlier.revision;
}

function isSame(some: readonly Piece[], others: readonly Piece[]): boolean {
  return (
    some.length === others.length &&
    some.every(({ bytes, hash }, at) => bytes === others[at]?.bytes && hash === others[at].hash)
  );
}

/** @throws {AppError} `store_unavailable` where no piece ends there: the store has lost what it had. */
function piecesBefore(pieces: readonly Piece[], endBytes: number): readonly Piece[] {
  let bytes = 0;
  const before: Piece[] = [];
  for (const piece of pieces) {
    if (bytes >= endBytes) break;
    before.push(piece);
    bytes += piece.bytes;
  }
  if (bytes !== endBytes) throw doesNotFollow();
  return before;
}

/**
 * For whoever alone may write: what is not written to now must be what it was.
 *
 * @throws {AppError} `store_unavailable` where it is not: the store has lost what it had.
 */
export function requireSame(
  now: SessionHead,
  before: SessionHead,
  writtenPaths: ReadonlySet<string>,
): void {
  for (const path of new Set([...pathsOf(before), ...pathsOf(now)])) {
    if (writtenPaths.has(path)) continue;
    if (!isSame(piecesOf(now, path), piecesOf(before, path))) throw doesNotFollow();
  }
}

/**
 * Leaves nothing but the memory that there was one. The fence moves on: nobody who had the session
 * can write to it any more.
 *
 * @throws {AppError} `session_busy` while a server has it.
 */
export function deleted(head: SessionHead, terms: LeaseTerms): SessionHead {
  checkFree(head, terms);
  const { nowMs } = terms;
  const { sessionId, revision, fence } = head;
  return { ...newHead(sessionId), revision, fence: fence + 1, deletedAtMs: nowMs };
}

/** A new life of a session that was deleted, or never was; its numbers go on. */
export function begun(head: SessionHead, record: unknown): SessionHead {
  const { sessionId, revision, fence, leaseId, lease } = head;
  return changed({ ...newHead(sessionId), revision, fence, leaseId, lease, record });
}

/** When the session of a head was last used, be it by a turn that did not come to an end. */
export function lastUseOf({ listedAtMs, lease }: SessionHead): number {
  return Math.max(listedAtMs ?? 0, lease?.takenAtMs ?? 0);
}

/** Bytes of all transcripts of a session. */
export function allBytesOf(head: SessionHead): number {
  return Object.values(head.pieces).reduce((sum, pieces) => sum + sizeOf(pieces), 0);
}

/** Whether there is a session: one that its owner began, and nobody deleted. */
export function hasSession({ record, deletedAtMs }: SessionHead): boolean {
  return record !== null && deletedAtMs === undefined;
}

/** Bytes of one transcript of a session. */
export function transcriptBytesOf(head: SessionHead, path = ""): number {
  return sizeOf(piecesOf(head, path));
}

/** None of a transcript that is not there; the name may be one that every object knows. */
export function piecesOf({ pieces }: SessionHead, path: string): readonly Piece[] {
  return Object.hasOwn(pieces, path) ? (pieces[path] ?? []) : [];
}

/** The paths of the transcripts that something is stored of. */
export function pathsOf({ pieces }: SessionHead): readonly string[] {
  return Object.keys(pieces).filter((path) => (pieces[path] ?? []).length > 0);
}

function sizeOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { bytes }) => sum + bytes, 0);
}

function requireHeld(head: SessionHead, token: LeaseToken): void {
  if (isHeldBy(head, token)) return;
  throw new AppError(
    "session_taken_over",
    "Cannot write to the session: another replica has taken it over",
  );
}

/** A store that fails over may lose what it acknowledged: read once more, it says what it lacks. */
function doesNotFollow(): AppError {
  return new AppError(
    "store_unavailable",
    "Cannot write to the session: what is added does not follow what is stored",
  );
}

function busyElsewhere({ lease }: SessionHead, terms: LeaseTerms): AppError {
  const { nowMs, graceEndsAtMs = nowMs, graceMs = 0 } = terms;
  const endsAtMs = lease?.expiresAtMs ?? nowMs;
  // One that is over and still respected is so for a while; before, its holder may yet let it go.
  const isOver = endsAtMs <= nowMs;
  const expiresAtMs = isOver ? Math.max(graceEndsAtMs, endsAtMs + graceMs) : endsAtMs;
  const until = isOver ? `, until ${new Date(expiresAtMs).toISOString()}` : "";
  const message = `Cannot use the session: another replica has it${until}`;
  return new AppError("session_busy", message, {
    retryAfterSeconds: Math.max(1, Math.ceil((expiresAtMs - nowMs) / 1000)),
    extensions: { expiresAt: new Date(expiresAtMs).toISOString() },
  });
}
