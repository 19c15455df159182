/**
 * Names of the index that a turn, a deletion or a copy which was cut off has left behind: where the
 * session was listed before, or of one that is no more. They show nothing, and each is counted and
 * looked at for ever, so a sweep that meets them takes them away.
 *
 * @module
 */

import type { Pace } from "../lib/pacer.ts";
import { parseIndexName } from "./stores/names.ts";
import type { ObjectStore } from "./stores/object-store.ts";
import { isUnreadable } from "./stores/readable.ts";
import type { SessionHead } from "./stores/session-head.ts";
import type { SessionLog } from "./stores/session-log.ts";

/** What is written to the index comes before the head that says so; later than this it does not. */
const WRITE_TIME_MS = 60 * 60 * 1000;
/** The next sweep meets the others. */
const MAX_NAMES = 10_000;
const NAMES_AT_ONCE = 16;

export class LeftNames {
  readonly #store: ObjectStore;
  readonly #log: SessionLog;
  readonly #names = new Set<string>();

  constructor(store: ObjectStore, log: SessionLog) {
    this.#store = store;
    this.#log = log;
  }

  /** A name where no session was found. */
  met(name: string): void {
    if (this.#names.size < MAX_NAMES) this.#names.add(name);
  }

  /** @throws {AppError} `store_unavailable` */
  async remove(nowMs: number, { pacer, signal }: Pace): Promise<void> {
    const names = [...this.#names];
    for (let first = 0; first < names.length; first += NAMES_AT_ONCE) {
      await pacer.pause(signal);
      if (signal.aborted) return;
      const some = names.slice(first, first + NAMES_AT_ONCE);
      await Promise.all(some.map((name) => this.#removeIfLeft(name, nowMs)));
    }
  }

  async #removeIfLeft(name: string, nowMs: number): Promise<void> {
    if (await this.#isLeft(name, nowMs - WRITE_TIME_MS)) await this.#store.delete([name]);
    this.#names.delete(name);
  }

  async #isLeft(name: string, untilMs: number): Promise<boolean> {
    const key = parseIndexName(name);
    if (key === undefined || key.atMs > untilMs) return false;
    try {
      const head = await this.#log.read(key);
      return head === null || !mayComeToBe(head, key.atMs);
    } catch (thrown) {
      if (isUnreadable(thrown)) return false;
      throw thrown;
    }
  }
}

/** A turn that ended while the store was away is listed late, and has its lease until then. */
function mayComeToBe({ listedAtMs, lease, deletedAtMs }: SessionHead, atMs: number): boolean {
  return deletedAtMs === undefined && (listedAtMs === atMs || lease !== null);
}
