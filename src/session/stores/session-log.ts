/**
 * Sessions in an object store: a head each, and the pieces of its transcripts. Knows nothing of
 * what is in them.
 *
 *     write pieces ─▶ replace the head, if it is still the one that was read ─▶ drop what it lost
 *
 * The head is the session: pieces that it does not name do not exist. A crash between two of these
 * steps leaves pieces that nobody names, which go with the session. Where a write has failed, and may
 * have happened all the same, its pieces go with the next write of the head that has not (`left-pieces.ts`).
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { eachAtOnce } from "../../lib/each-at-once.ts";
import { AppError, hasCode } from "../../lib/errors.ts";
import { standInFor } from "./damaged-head.ts";
import { LeftPieces } from "./left-pieces.ts";
import { headNameOf, type LogKey, prefixOf } from "./names.ts";
import { hashOf } from "./pieces.ts";
import type { ObjectStore, StoredObject } from "./object-store.ts";
import { unreadable } from "./readable.ts";
import {
  type Addition,
  appended,
  goesOnFrom,
  type LeaseToken,
  newHead,
  parseHead,
  type Piece,
  piecesOf,
  type SessionHead,
} from "./session-head.ts";

/** A head as it was read or written: the next write need not read it again. */
export interface KnownHead {
  readonly head: SessionHead;
  /** Null for a session that was never written. */
  readonly version: string | null;
}

/** What follows the bytes that the store has of one transcript. */
export interface Tail {
  readonly path: string;
  /** See `Addition` of `session-head.ts`. */
  readonly fromBytes: number | null;
  readonly ifBytes?: number;
  /** Each becomes a piece. */
  readonly chunks: readonly Buffer[];
}

/** Others replaced the head each time: so many at once do not write to one session. */
const MAX_TRIES = 50;
const TRY_PAUSE_MS = 5;
const DELETED_AT_ONCE = 500;
/** Pieces of one write that are sent at once: where the first are refused, the others are not tried. */
const PIECES_AT_ONCE = 4;

export class SessionLog {
  readonly #store: ObjectStore;
  readonly #left = new LeftPieces();

  constructor(store: ObjectStore) {
    this.#store = store;
  }

  /**
   * Null when there is none.
   *
   * @throws {AppError} `session_unreadable`, `session_newer`, `store_unavailable`.
   */
  async read(key: LogKey): Promise<SessionHead | null> {
    const { head, version } = await this.know(key);
    return version === null ? null : head;
  }

  /** The same, to be written next; a new head where there is none. */
  async know(key: LogKey): Promise<KnownHead> {
    const found = await this.#store.get(headNameOf(key));
    if (found === null) return { head: newHead(key.sessionId), version: null };
    return { head: headIn(found, key), version: found.version };
  }

  /**
   * What is known of a session that is to be replaced whatever its head says; one that is damaged is
   * then known by its version alone, and has a stand-in.
   *
   * @throws {AppError} `session_newer`, `store_unavailable`.
   */
  async knowAnyway(
    key: LogKey,
    nowMs: number,
  ): Promise<KnownHead & { readonly isDamaged: boolean }> {
    const found = await this.#store.get(headNameOf(key));
    if (found === null) return { head: newHead(key.sessionId), version: null, isDamaged: false };
    const { body, version } = found;
    try {
      return { head: headIn(found, key), version, isDamaged: false };
    } catch (thrown) {
      if (!hasCode(thrown, "session_unreadable")) throw thrown;
      return {
        head: standInFor(key.sessionId, body, randomUUID(), nowMs),
        version,
        isDamaged: true,
      };
    }
  }

  /**
   * Replaces the head by what `change` makes of it, however often others come in between.
   *
   * @param change Pure; called again for each newer head. The same head means that nothing is to
   *   be written; what it throws is thrown.
   * @param known Tried first; it need not be the newest.
   * @returns The head there is now.
   * @throws {AppError} `session_unreadable`, `session_newer`; `store_unavailable`: it may have been written then.
   */
  async update(
    key: LogKey,
    change: (head: SessionHead) => SessionHead,
    known?: KnownHead,
  ): Promise<KnownHead> {
    return (await this.#replace(key, change, known)).after;
  }

  async #replace(key: LogKey, change: (head: SessionHead) => SessionHead, known?: KnownHead) {
    const name = headNameOf(key);
    let before = known ?? (await this.know(key));
    for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
      const changed = change(before.head);
      if (changed === before.head) return { before, after: before };
      const head = { ...changed, revision: before.head.revision + 1 };
      const condition = before.version === null ? "absent" : { version: before.version };
      const left = this.#left.of(name);
      const version = await this.#store.put(name, Buffer.from(JSON.stringify(head)), condition);
      if (version !== null) {
        if (left.length > 0) await this.#dropLeft(key, left, head);
        return { before, after: { head, version } };
      }
      await delay(Math.random() * TRY_PAUSE_MS * tries);
      before = await this.know(key);
    }
    throw new AppError("store_unavailable", "Cannot write to the session: too many others do");
  }

  /**
   * Adds to transcripts, whole or not at all.
   *
   * @param then What else becomes of the head in the same step.
   * @throws {AppError} As {@link update}, and `session_taken_over`.
   */
  async append(
    key: LogKey,
    token: LeaseToken | null,
    tails: readonly Tail[],
    then: (head: SessionHead) => SessionHead = (head) => head,
    known?: KnownHead,
  ): Promise<KnownHead> {
    const current = await this.#cleared(key, token, known);
    const additions: Addition[] = [];
    for (const { chunks, ...where } of tails) {
      const added = chunks.map(pieceOf);
      additions.push({ ...where, added, beginsWith: (old) => areBeginningOf(old, chunks) });
    }
    const added = additions.flatMap((addition) => addition.added);
    const writes = tails
      .flatMap(({ chunks }) => chunks)
      .map((chunk, at) => ({ chunk, piece: added[at] as Piece }));
    try {
      await eachAtOnce(writes, PIECES_AT_ONCE, async ({ chunk, piece }) =>
        this.#addPiece(key, chunk, piece),
      );
    } catch (thrown) {
      this.#left.add(headNameOf(key), added);
      throw thrown;
    }
    const change = (head: SessionHead) => then(appended(head, token, additions));
    return (await this.#name(key, added, change, current)).after;
  }

  /**
   * Where a write has failed before, the head is written first: what that one has left goes, and nothing
   * more is left where this cannot be written either.
   */
  async #cleared(key: LogKey, token: LeaseToken | null, known: KnownHead | undefined) {
    if (this.#left.of(headNameOf(key)).length === 0) return known;
    const touch = (head: SessionHead): SessionHead => {
      const held = appended(head, token, []);
      return held.revision === 0 ? held : { ...held };
    };
    return this.update(key, touch, known);
  }

  /**
   * Puts other transcripts in the place of all there are, whole or not at all: nobody sees them
   * before the head is replaced.
   *
   * @param steps What the transcripts are made of, in their order; each chunk becomes a piece.
   * @param then What else becomes of the head; the same head means that all is left as it is.
   * @param known Of one that is damaged.
   * @returns The head that was replaced.
   * @throws {AppError} As {@link update}, and what `then` and `steps` throw.
   */
  async supersede(
    key: LogKey,
    steps: AsyncIterable<Pick<Tail, "path" | "chunks">>,
    then: (head: SessionHead) => SessionHead,
    known?: KnownHead,
  ): Promise<SessionHead> {
    const written = new Map<string, Piece[]>();
    const added = () => [...written.values()].flat();
    try {
      for await (const { path, chunks } of steps) {
        const pieces = written.get(path) ?? [];
        written.set(path, pieces);
        for (const chunk of chunks) {
          const piece = pieceOf(chunk);
          pieces.push(piece);
          await this.#addPiece(key, chunk, piece);
        }
      }
    } catch (thrown) {
      await this.#drop(key, added(), null).catch(() => {});
      throw thrown;
    }
    const change = (head: SessionHead): SessionHead => {
      const next = then(head);
      return next === head ? head : { ...next, pieces: Object.fromEntries(written) };
    };
    return (await this.#name(key, added(), change, known)).before.head;
  }

  /** Replaces the head so that it names these pieces, and removes those that it then does not name. */
  async #name(
    key: LogKey,
    added: readonly Piece[],
    change: (head: SessionHead) => SessionHead,
    known?: KnownHead,
  ) {
    try {
      const replaced = await this.#replace(key, change, known);
      const { before, after } = replaced;
      // What cannot be removed now goes with the session.
      await this.#drop(key, [...allPieces(before.head), ...added], after.head).catch(() => {});
      return replaced;
    } catch (thrown) {
      // It may not be known whether the head names them.
      if (hasCode(thrown, "store_unavailable")) this.#left.add(headNameOf(key), added);
      else await this.#drop(key, added, null).catch(() => {});
      throw thrown;
    }
  }

  /**
   * The bytes of a transcript, piece by piece.
   *
   * @param head As it was read; what others merged since is read by their new names.
   * @throws {AppError} `session_gone` when a piece is lost, or the session was deleted, or says
   *   something else by now; `session_unreadable` when a piece is damaged.
   */
  async *load(
    key: LogKey,
    head: SessionHead,
    path = "",
    fromBytes = 0,
  ): AsyncGenerator<Buffer, void, undefined> {
    let doneBytes = fromBytes;
    let at = head;
    for (;;) {
      const [piece, skipBytes] = pieceAt(piecesOf(at, path), doneBytes);
      if (piece === undefined) return;
      const found = await this.#store.get(prefixOf(key) + piece.name);
      if (found !== null) {
        if (found.body.length !== piece.bytes) throw unreadable("a part of its transcript");
        const body = found.body.subarray(skipBytes);
        doneBytes += body.length;
        yield body;
        continue;
      }
      const now = await this.read(key);
      if (now === null || now.revision === at.revision || !goesOnFrom(now, head)) throw pieceLost();
      at = now;
    }
  }

  /**
   * Removes everything of a deleted session but its head, and looks that nothing is left. Of one
   * that has begun anew it removes nothing: who begins a deleted session clears it before.
   *
   * @throws {AppError} `store_unavailable`, also when something is left; as {@link read}.
   */
  async clear(key: LogKey): Promise<void> {
    for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
      const names = await this.#store.list({ prefix: prefixOf(key), limit: DELETED_AT_ONCE });
      const left = names.filter((name) => name !== headNameOf(key));
      if (left.length === 0) return;
      // After the list: pieces of a new life come after its head, so none of them is in it.
      if ((await this.read(key))?.deletedAtMs === undefined) return;
      await this.#store.delete(left);
      // A long list is many pages, not many tries.
      if (names.length === DELETED_AT_ONCE) tries = 0;
    }
    throw new AppError("store_unavailable", "Cannot delete the session: something of it stays");
  }

  /**
   * Forgets that there were these, which were deleted and cleared. Nobody may begin one anew
   * meanwhile, which a lease keeps off: a store deletes a head whatever it has become.
   */
  async forget(keys: readonly LogKey[]): Promise<void> {
    if (keys.length > 0) await this.#store.delete(keys.map(headNameOf));
  }

  async #addPiece(key: LogKey, chunk: Buffer, { name }: Piece): Promise<void> {
    await this.#store.put(prefixOf(key) + name, chunk, "absent");
  }

  /** @param left As it was before the head was written. */
  async #dropLeft(key: LogKey, left: readonly string[], head: SessionHead): Promise<void> {
    const named = namesIn(head);
    const lost = left.filter((name) => !named.has(name)).map((name) => prefixOf(key) + name);
    try {
      if (lost.length > 0) await this.#store.delete(lost);
      this.#left.forget(headNameOf(key), left);
    } catch {
      // With the next write.
    }
  }

  /** Deletes the pieces that the head does not name. */
  async #drop(key: LogKey, pieces: readonly Piece[], head: SessionHead | null): Promise<void> {
    const named = head === null ? new Set() : namesIn(head);
    const lost = pieces.filter(({ name }) => !named.has(name));
    if (lost.length > 0) await this.#store.delete(lost.map(({ name }) => prefixOf(key) + name));
  }
}

function headIn(found: StoredObject, key: LogKey): SessionHead {
  const head = parseHead(found.body);
  if (head?.sessionId === key.sessionId) return head;
  throw unreadable("what the store keeps of it");
}

function allPieces({ pieces }: SessionHead): readonly Piece[] {
  return Object.values(pieces).flat();
}

function namesIn(head: SessionHead): ReadonlySet<string> {
  return new Set(allPieces(head).map(({ name }) => name));
}

function pieceOf(chunk: Buffer): Piece {
  return { name: randomUUID(), bytes: chunk.length, hash: hashOf(chunk) };
}

/** Whether these bytes begin with what the pieces say. */
function areBeginningOf(pieces: readonly Piece[], chunks: readonly Buffer[]): boolean {
  if (pieces.length === 0) return true;
  const all = Buffer.concat(chunks);
  let startBytes = 0;
  return pieces.every(({ bytes, hash }) => {
    const part = all.subarray(startBytes, startBytes + bytes);
    startBytes += bytes;
    return hashOf(part) === hash;
  });
}

/** The piece with the byte at this position, and how many of its bytes come before. */
function pieceAt(
  pieces: readonly Piece[],
  positionBytes: number,
): [piece: Piece | undefined, skipBytes: number] {
  let startBytes = 0;
  for (const piece of pieces) {
    if (positionBytes < startBytes + piece.bytes) return [piece, positionBytes - startBytes];
    startBytes += piece.bytes;
  }
  return [undefined, 0];
}

function pieceLost(): AppError {
  return new AppError("session_gone", "Cannot use the session: a part of its transcript is lost");
}
