/**
 * The session of one turn, while this replica has it in the store: kept alive, and everything that
 * the turn has written uploaded, a few seconds behind it and whole at its end.
 *
 * @module
 */

import { hasCode } from "../lib/errors.ts";
import { ComparedFiles } from "./copy-files.ts";
import type { LocalCopy } from "./local-copy.ts";
import type { SessionRecord } from "./session-record.ts";
import { storing } from "./storage-errors.ts";
import type { LogKey } from "./stores/names.ts";
import {
  type LeaseToken,
  released,
  renewed,
  requireSame,
  type SessionHead,
  tokenOf,
} from "./stores/session-head.ts";
import type { KnownHead, SessionLog } from "./stores/session-log.ts";

export interface SessionLeaseOptions {
  readonly log: SessionLog;
  readonly key: LogKey;
  readonly copy: LocalCopy;
  /** The head as it was written when the lease was taken. */
  readonly known: KnownHead;
  readonly leaseTimeMs: number;
  /** The head with what the copy has beside the transcript. */
  readonly withRecord: (head: SessionHead, record: SessionRecord) => SessionHead;
  /** Told when the lease, or what the turn says, cannot be uploaded now: the turn goes on. */
  readonly onTrouble: (error: unknown) => void;
}

/** Renewed so often, a store may fail to answer twice before others take the session for free. */
export const RENEWALS = 3;

export class SessionLease implements AsyncDisposable {
  readonly #options: SessionLeaseOptions;
  readonly #lost = new AbortController();
  readonly #token: LeaseToken;
  #known: KnownHead;
  /** Steps are one after the other: each starts from the head that the last one left. */
  #work: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  /** While one waits for its turn, no other has to: a slow store would have ever more of them. */
  #isRenewalQueued = false;
  readonly #compared = new ComparedFiles();
  #hasCopy = false;
  #hasStopped = false;

  constructor(options: SessionLeaseOptions) {
    this.#options = options;
    this.#known = options.known;
    this.#token = tokenOf(options.known.head);
    this.#renewLater();
  }

  get token(): LeaseToken {
    return this.#token;
  }

  get head(): SessionHead {
    return this.#known.head;
  }

  /** Aborts when another replica has taken the session. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /**
   * The copy is that of the store, and what comes to be in it is uploaded from now on. Before, it may
   * be of an earlier turn: what it has would take the place of what others have said since.
   */
  startUpload(): void {
    this.#hasCopy = true;
  }

  /** No more is uploaded by itself, and the session is not kept any more. */
  stop(): void {
    clearInterval(this.#timer);
    // Nor by a renewal that is waiting for its turn.
    this.#hasStopped = true;
  }

  /**
   * Uploads all that the copy has, and with the last of it makes the head what `then` says.
   *
   * @throws {AppError} `session_taken_over`, `store_unavailable`, `storage_failed`.
   */
  async deliver(record: SessionRecord, then: (head: SessionHead) => SessionHead): Promise<void> {
    return this.#inTurn(() => this.#upload(record, then));
  }

  /** Lets the session go. Never rejects: where the store does not answer, the lease ends by itself. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    const { log, key } = this.#options;
    const release = (head: SessionHead) => released(head, this.#token);
    await this.#inTurn(() => log.update(key, release)).catch(() => {});
  }

  #renewLater(): void {
    const { leaseTimeMs } = this.#options;
    this.#timer = setInterval(() => void this.#renew(), leaseTimeMs / RENEWALS).unref();
  }

  async #renew(): Promise<void> {
    if (this.#isRenewalQueued) return;
    this.#isRenewalQueued = true;
    try {
      await this.#inTurn(() => {
        this.#isRenewalQueued = false;
        return this.#renewNow();
      });
    } catch (thrown) {
      if (hasCode(thrown, "session_taken_over")) {
        this.stop();
        this.#lost.abort(thrown);
      } else this.#options.onTrouble(thrown);
    }
  }

  async #renewNow(): Promise<void> {
    const { copy, withRecord } = this.#options;
    // First: what the turn says may be large, and take long, or be refused where a head is not.
    await this.#update((head) => this.#renewed(head));
    const uploads = this.#hasCopy && !this.#hasStopped;
    const record = uploads ? await copy.record() : undefined;
    if (record === undefined) return;
    await this.#upload(record, (head) => withRecord(head, record), this.#compared);
  }

  #renewed(head: SessionHead): SessionHead {
    return renewed(head, this.#token, Date.now() + this.#options.leaseTimeMs);
  }

  async #update(change: (head: SessionHead) => SessionHead): Promise<void> {
    const { log, key } = this.#options;
    this.#known = await log.update(key, change, this.#known);
  }

  /** @param compared Without it all that there is is read: at the end nothing is taken on trust. */
  async #upload(
    record: SessionRecord,
    then: (head: SessionHead) => SessionHead,
    compared?: ComparedFiles,
  ): Promise<void> {
    const { log, key, copy } = this.#options;
    for (let isAll = false; !isAll;) {
      const from = this.#known.head;
      const tails = () => copy.tails(record, from, this.#hasCopy, compared);
      const step = await storing("read the session", tails);
      ({ isAll } = step);
      const before = this.#known.head;
      const paths = new Set(step.tails.map(({ path }) => path));
      const change = (head: SessionHead): SessionHead => {
        // Else a turn that says no more would end without what the store has lost of it.
        requireSame(head, before, paths);
        // A long transcript takes many steps, and no renewal runs between them: so each step renews
        // the lease.
        return isAll ? then(head) : this.#renewed(head);
      };
      this.#known = await log.append(key, this.#token, step.tails, change, this.#known);
      // The store has it. Without the mark the copy is made anew before the next turn.
      await copy.mark(this.#known.head).catch(() => {});
    }
  }

  async #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#work.then(work);
    this.#work = result.catch(() => {});
    return result;
  }
}
