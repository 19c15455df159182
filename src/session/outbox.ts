/**
 * Turns that have ended here and that the store has not heard of, because it did not answer. What
 * they said is in the copies of their sessions; here is only which, so that a restart finds them.
 * They are uploaded as soon as the store answers.
 *
 *     <data>/outbox/<session id>.json
 *
 * @module
 */

import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { eachAtOnce } from "../lib/each-at-once.ts";
import { AppError, hasCode } from "../lib/errors.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import { readRegularFile } from "../lib/regular-file.ts";
import { makeDirectory, writeDurably } from "./durable-file.ts";
import { type SessionRef, textOf } from "./session-id.ts";
import { transcriptIfAny } from "./session-lookup.ts";
import { ifPresent, storing } from "./storage-errors.ts";
import type { LeaseToken } from "./stores/session-head.ts";

export interface OutboxOptions {
  readonly dataDirectory: string;
  /** The most that transcripts of waiting sessions may have; see {@link Outbox.check}. */
  readonly maxBytes: number;
  /** The longest between two attempts: others wait for no more than a lease lasts. */
  readonly maxPauseMs: number;
  /** Between two renewals of the leases of those that wait. */
  readonly renewEveryMs: number;
  /** Keeps a session for one that waits. @throws {AppError} `store_unavailable` */
  readonly renew: (ref: SessionRef, token: LeaseToken) => Promise<void>;
  /**
   * Uploads one, or finds that it is too late.
   *
   * @throws {AppError} `store_unavailable`; anything else is of this one alone.
   */
  readonly deliver: (ref: SessionRef, token: LeaseToken) => Promise<void>;
  /** Told once of one that cannot be uploaded though the store answers; it is tried again. */
  readonly onStuck: (ref: SessionRef, error: unknown) => void;
}

/** The delivery of a turn that has ended before it. */
export interface UnderWay {
  readonly delivery: Promise<void>;
  /** The store did not answer. */
  readonly onFailed: (error: unknown) => void;
}

const Letter = z.object({
  version: z.literal(1),
  tenant: z.string(),
  sessionId: z.string(),
  fence: z.number().int().nonnegative(),
  /** Earlier versions wrote none. */
  leaseId: z.string().optional(),
});
type Letter = Readonly<z.infer<typeof Letter>>;
const LETTER_SUFFIX = ".json";
/** A tenant's name may be long. */
const MAX_LETTER_BYTES = 16_384;

const FIRST_PAUSE_MS = 250;
/** Each may have as much in memory as one step of a transcript. */
const DELIVERIES_AT_ONCE = 4;
const RENEWALS_AT_ONCE = 16;

/** Disposing tries once more, for the disk may go with the replica; the next run finds what waits. */
export class Outbox implements AsyncDisposable {
  readonly #options: OutboxOptions;
  readonly #waiting = new Map<string, Letter & { readonly bytes: number }>();
  /** Deliveries under way: one at a time for a session. */
  readonly #underWay = new Map<string, Promise<void>>();
  /** Turns that could not be uploaded though the store answered. Others may go on without them. */
  readonly #stuck = new Set<string>();
  readonly #stop = new AbortController();
  #renewedAtMs = -Infinity;
  #loop: Promise<void> | null = null;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiting.size;
  }

  get bytes(): number {
    return [...this.#waiting.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  has(ref: SessionRef): boolean {
    return this.#waiting.has(textOf(ref));
  }

  /** Takes up what an earlier run has left. @throws {AppError} `storage_failed` */
  async resume(): Promise<void> {
    await storing("read the outbox", async () => {
      for (const name of (await ifPresent(readdir(this.#directory))) ?? []) {
        const file = join(this.#directory, name);
        if (isDraft(name)) await rm(file, { force: true });
        if (!name.endsWith(LETTER_SUFFIX)) continue;
        const letter = parseLetter((await readRegularFile(file, MAX_LETTER_BYTES)) ?? "");
        if (letter !== undefined) await this.#keep(letter);
      }
    });
    this.#start();
  }

  /** @throws {AppError} `store_unavailable` when more waits than may. */
  check(): void {
    if (this.bytes <= this.#options.maxBytes) return;
    throw new AppError(
      "store_unavailable",
      "Cannot take the turn: too many that have ended wait for the session store",
    );
  }

  /**
   * @param underWay Where its delivery goes on behind its end: no other is begun beside it.
   * @throws {AppError} `storage_full`, `storage_failed`: the turn's end is kept nowhere.
   */
  async add(ref: SessionRef, token: LeaseToken, underWay?: UnderWay): Promise<void> {
    const letter: Letter = { version: 1, ...ref, ...token };
    const delivery = underWay?.delivery.catch((error: unknown) => {
      if (hasCode(error, "store_unavailable")) underWay.onFailed(error);
      throw error;
    });
    // It may fail before there is anything to try again; the loop does then.
    delivery?.catch(() => {});
    await storing("keep the turn for the session store", async () => {
      await makeDirectory(this.#directory);
      await writeDurably(this.#fileOf(letter), `${JSON.stringify(letter)}\n`);
      await this.#keep(letter);
    });
    if (delivery !== undefined) this.#track(letter, delivery).catch(() => {});
    this.#start();
  }

  /**
   * Uploads the turn of one session, if it waits.
   *
   * @throws {AppError} `store_unavailable`: a next turn would not know of the last one.
   */
  async settle(ref: SessionRef): Promise<void> {
    // One that is under way may have found no store when there was none yet.
    await this.#underWay.get(textOf(ref))?.catch(() => {});
    const letter = this.#waiting.get(textOf(ref));
    if (letter !== undefined) await this.#deliver(letter);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    await this.#deliverThese(() => false);
  }

  async #keep(letter: Letter): Promise<void> {
    const transcript = await transcriptIfAny(this.#options.dataDirectory, letter);
    this.#waiting.set(textOf(letter), { ...letter, bytes: transcript?.bytes ?? 0 });
  }

  #start(): void {
    if (this.#waiting.size === 0 || this.#stop.signal.aborted) return;
    this.#loop ??= this.#deliverAll().finally(() => {
      this.#loop = null;
      // One may have come as it ended.
      this.#start();
    });
  }

  async #deliverAll(): Promise<void> {
    const { signal } = this.#stop;
    const { maxPauseMs } = this.#options;
    for (let pauseMs = FIRST_PAUSE_MS; ;) {
      const isThere = await this.#renewThese();
      const sizeBefore = this.#waiting.size;
      // With many, the leases of the last are due again before it is their turn.
      const isOver = () => signal.aborted || this.#isRenewalDue();
      const isDone = !isThere || (await this.#deliverThese(isOver));
      if (this.#waiting.size === 0) return;
      if (this.#waiting.size < sizeBefore) pauseMs = FIRST_PAUSE_MS;
      if (isDone) await delay(pauseMs, undefined, { signal, ref: false }).catch(() => {});
      if (signal.aborted) return;
      if (isDone) pauseMs = Math.min(2 * pauseMs, maxPauseMs);
    }
  }

  #isRenewalDue(): boolean {
    return monotonicMs() - this.#renewedAtMs >= this.#options.renewEveryMs;
  }

  /** Keeps the sessions of all that wait, where that is due. @returns Whether the store answers. */
  async #renewThese(): Promise<boolean> {
    if (!this.#isRenewalDue()) return true;
    let hasAnswered = false;
    let hasFailed = false;
    await eachAtOnce(this.#letters, RENEWALS_AT_ONCE, async (letter) => {
      const name = textOf(letter);
      if (!this.#isWaiting(letter) || this.#underWay.has(name) || this.#stuck.has(name)) return;
      // Where one finds no store, the others will not either, unless one has.
      if (hasFailed && !hasAnswered) return;
      try {
        await this.#options.renew(refOf(letter), letter);
        hasAnswered = true;
      } catch (error) {
        // What else there is to say of it, its delivery says.
        hasFailed ||= hasCode(error, "store_unavailable");
      }
    });
    const isThere = hasAnswered || !hasFailed;
    if (isThere) this.#renewedAtMs = monotonicMs();
    return isThere;
  }

  /** @returns False when it was over before each had its turn. */
  async #deliverThese(isOver: () => boolean): Promise<boolean> {
    let isThere = true;
    let isDone = true;
    await eachAtOnce(this.#letters, DELIVERIES_AT_ONCE, async (letter) => {
      // Where one finds no store, the others will not either.
      if (!isThere || !this.#isWaiting(letter)) return;
      if (isOver()) isDone = false;
      else if (!(await this.#tryDelivery(letter))) isThere = false;
    });
    return isDone || !isThere;
  }

  /** @returns Whether the store answers. */
  async #tryDelivery(letter: Letter): Promise<boolean> {
    try {
      await this.#deliver(letter);
      return true;
    } catch (error) {
      this.#putLast(letter);
      if (hasCode(error, "store_unavailable")) return false;
      const name = textOf(letter);
      if (!this.#stuck.has(name)) this.#options.onStuck(refOf(letter), error);
      this.#stuck.add(name);
      return true;
    }
  }

  /** So that the others have their turn, should it be this one alone that the store refuses. */
  #putLast(letter: Letter): void {
    const name = textOf(letter);
    const kept = this.#waiting.get(name);
    if (kept === undefined) return;
    this.#waiting.delete(name);
    this.#waiting.set(name, kept);
  }

  get #letters(): readonly Letter[] {
    return [...this.#waiting.values()];
  }

  /** A turn that comes uploads the one before it, and does not wait for the others. */
  #isWaiting(letter: Letter): boolean {
    return this.#waiting.get(textOf(letter)) === letter;
  }

  async #deliver(letter: Letter): Promise<void> {
    const underWay = this.#underWay.get(textOf(letter));
    if (underWay !== undefined) return underWay;
    return this.#track(letter, this.#options.deliver(refOf(letter), letter));
  }

  async #track(letter: Letter, delivery: Promise<void>): Promise<void> {
    const name = textOf(letter);
    const tracked = this.#afterwards(letter, delivery).finally(() => this.#underWay.delete(name));
    this.#underWay.set(name, tracked);
    return tracked;
  }

  async #afterwards(letter: Letter, delivery: Promise<void>): Promise<void> {
    await delivery;
    const name = textOf(letter);
    const { fence, leaseId } = this.#waiting.get(name) ?? {};
    this.#stuck.delete(name);
    // Not one that has come since.
    if (fence === letter.fence && leaseId === letter.leaseId) this.#waiting.delete(name);
    // One that stays is found out by the next run.
    await rm(this.#fileOf(letter), { force: true }).catch(() => {});
  }

  get #directory(): string {
    return join(this.#options.dataDirectory, "outbox");
  }

  #fileOf({ sessionId, fence }: Letter): string {
    return join(this.#directory, `${sessionId}.${fence}${LETTER_SUFFIX}`);
  }
}

/**
 * Whether the name is of a write that was cut off: its turn had not been acknowledged, or another
 * letter tells of it.
 */
function isDraft(name: string): boolean {
  return name.includes(LETTER_SUFFIX) && name.endsWith(".tmp");
}

function refOf({ tenant, sessionId }: Letter): SessionRef {
  return { tenant, sessionId };
}

/** Undefined for a file that is none of ours. */
function parseLetter(text: string): Letter | undefined {
  try {
    return Letter.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
