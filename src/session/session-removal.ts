/**
 * Takes the sessions of a data directory away, whole: whoever looks sees all of one or nothing. Those
 * that must not go are moved.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { makeDirectoryDeep, syncDirectory } from "./durable-file.ts";
import { removeTree } from "./remove-tree.ts";
import type { SessionCounts } from "./session-counts.ts";
import type { SessionRef } from "./session-id.ts";
import type { SessionOrder } from "./session-order.ts";
import { readRecord } from "./session-record.ts";
import type { SessionTally } from "./session-tally.ts";
import { dataPathsOf, heldDirectoryOf, sessionPathsOf } from "./session-paths.ts";
import type { SingleSession } from "./single-session.ts";
import { unlessFull } from "./storage-errors.ts";
import { Tombstones } from "./tombstones.ts";
import { type TreeSize, treeSizeOf } from "./tree-size.ts";

export interface SessionRemovalOptions {
  readonly dataDirectory: string;
  readonly counts: SessionCounts;
  readonly order: SessionOrder;
  readonly tally: SessionTally;
  /** Ends what is kept in memory for the session. */
  readonly beforeDelete: (ref: SessionRef) => Promise<void>;
  readonly single: SingleSession | null;
}

export class SessionRemoval {
  readonly #options: SessionRemovalOptions;
  readonly #tombstones = new Tombstones();

  constructor(options: SessionRemovalOptions) {
    this.#options = options;
  }

  /** Takes a session away that is there, and whose lock is held. */
  async remove(own: SessionRef, nowMs: number): Promise<void> {
    await this.#discard(own, await this.#takeAway(own, nowMs));
  }

  /** As {@link remove}. @returns What it took: to measure it costs as much as to remove it. */
  async measureAndRemove(own: SessionRef, nowMs: number): Promise<TreeSize> {
    const trash = await this.#takeAway(own, nowMs);
    const removed = await treeSizeOf(trash);
    await this.#discard(own, trash);
    return removed;
  }

  /** @returns Where it lies from then on. */
  async #takeAway(own: SessionRef, nowMs: number): Promise<string> {
    const { dataDirectory, counts, order, beforeDelete, single } = this.#options;
    const paths = sessionPathsOf(dataDirectory, own);
    await beforeDelete(own);
    // Counted before it goes: a first count taken afterwards would miss it twice.
    await counts.count(own.tenant);
    const uncount = await this.#counted(own);
    await unlessFull(this.#tombstones.write(paths.tombstone, nowMs));
    // One rename takes it away whole; a crash after it leaves only rubbish.
    const trash = join(dataPathsOf(dataDirectory).trash, randomUUID());
    await rename(paths.directory, trash);
    order.removed(own.tenant, own.sessionId);
    uncount();
    single?.deleted();
    await counts.giveBack(own.tenant);
    return trash;
  }

  /** Removes what is gone as a session. What of it cannot be removed is tried again at the next start. */
  async #discard(own: SessionRef, trash: string): Promise<void> {
    await removeTree(trash).catch(() => {});
    await removeTree(sessionPathsOf(this.#options.dataDirectory, own).tmp).catch(() => {});
  }

  /** Moves a session that must not be deleted to `held/`, out of the way of another one of its thread. */
  async moveToHeld(own: SessionRef, createdAtMs: number): Promise<void> {
    const { dataDirectory, counts, order, beforeDelete } = this.#options;
    await beforeDelete(own);
    await counts.count(own.tenant);
    const uncount = await this.#counted(own);
    const heldDirectory = heldDirectoryOf(dataDirectory, createdAtMs);
    const held = sessionPathsOf(heldDirectory, own);
    const { trash } = dataPathsOf(heldDirectory);
    // The others are for whoever deletes it there, once it is on hold no more.
    for (const directory of [dirname(held.directory), dirname(held.tombstone), trash]) {
      await makeDirectoryDeep(directory);
    }
    await rename(sessionPathsOf(dataDirectory, own).directory, held.directory);
    await syncDirectory(dirname(held.directory));
    order.removed(own.tenant, own.sessionId);
    uncount();
    await counts.giveBack(own.tenant);
  }

  /** What to do once it has gone: no look at all sessions counts one that cannot be read. */
  async #counted(own: SessionRef): Promise<() => void> {
    const { dataDirectory, tally } = this.#options;
    const { record: path } = sessionPathsOf(dataDirectory, own);
    const record = await readRecord(path, own).catch(() => undefined);
    return record === undefined ? () => {} : () => tally.removed(own, record.transcriptBytes);
  }
}
