/**
 * Turns that have ended here and that the store has not heard of, because it did not answer. What
 * they said is in the copies of their sessions; here is only which, so that a restart finds them.
 * They are brought over as soon as the store answers.
 *
 *     <data>/outbox/<session id>.json
 *
 * @module
 */

import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { AppError, hasCode } from "../lib/errors.ts";
import { readRegularFile } from "../lib/regular-file.ts";
import { makeDirectory, writeDurably } from "./durable-file.ts";
import { type SessionRef, textOf } from "./session-id.ts";
import { transcriptIfAny } from "./session-lookup.ts";
import { ifPresent, storing } from "./storage-errors.ts";

export interface OutboxOptions {
  readonly dataDirectory: string;
  /** The most that transcripts of waiting sessions may have; see {@link Outbox.check}. */
  readonly maxBytes: number;
  /** The longest between two attempts: others wait for no more than a lease lasts. */
  readonly maxPauseMs: number;
  /** Brings one over, or finds that it is too late. @throws {AppError} `store_unavailable` */
  readonly deliver: (ref: SessionRef, fence: number) => Promise<void>;
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
});
type Letter = Readonly<z.infer<typeof Letter>>;
/** A tenant's name may be long. */
const MAX_LETTER_BYTES = 16_384;

const FIRST_PAUSE_MS = 250;

/** Disposing tries once more, for the disk may go with the replica; the next run finds what waits. */
export class Outbox implements AsyncDisposable {
  readonly #options: OutboxOptions;
  readonly #waiting = new Map<string, Letter & { readonly bytes: number }>();
  /** Deliveries under way: one at a time for a session. */
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #stop = new AbortController();
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
  async add(ref: SessionRef, fence: number, underWay?: UnderWay): Promise<void> {
    const letter: Letter = { version: 1, ...ref, fence };
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
   * Brings over that of one session, if it waits.
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
    for (const letter of this.#waiting.values()) {
      const isDone = await this.#deliver(letter).then(
        () => true,
        () => false,
      );
      if (!isDone) return;
    }
  }

  async #keep(letter: Letter): Promise<void> {
    const transcript = await transcriptIfAny(this.#options.dataDirectory, letter);
    this.#waiting.set(textOf(letter), { ...letter, bytes: transcript?.bytes ?? 0 });
  }

  #start(): void {
    if (this.#waiting.size === 0) return;
    this.#loop ??= this.#deliverAll().finally(() => (this.#loop = null));
  }

  async #deliverAll(): Promise<void> {
    const { signal } = this.#stop;
    const { maxPauseMs } = this.#options;
    for (let pauseMs = FIRST_PAUSE_MS; this.#waiting.size > 0;) {
      for (const letter of this.#waiting.values()) {
        if (signal.aborted) return;
        const isDone = await this.#deliver(letter).then(
          () => true,
          () => false,
        );
        // Where one finds no store, the others will not either.
        if (!isDone) break;
        pauseMs = FIRST_PAUSE_MS;
      }
      if (this.#waiting.size === 0) return;
      await delay(pauseMs, undefined, { signal, ref: false }).catch(() => {});
      if (signal.aborted) return;
      pauseMs = Math.min(2 * pauseMs, maxPauseMs);
    }
  }

  async #deliver(letter: Letter): Promise<void> {
    const underWay = this.#underWay.get(textOf(letter));
    if (underWay !== undefined) return underWay;
    const { tenant, sessionId, fence } = letter;
    return this.#track(letter, this.#options.deliver({ tenant, sessionId }, fence));
  }

  async #track(letter: Letter, delivery: Promise<void>): Promise<void> {
    const name = textOf(letter);
    const tracked = this.#afterwards(letter, delivery).finally(() => this.#underWay.delete(name));
    this.#underWay.set(name, tracked);
    return tracked;
  }

  async #afterwards(letter: Letter, delivery: Promise<void>): Promise<void> {
    await delivery;
    const { fence } = letter;
    await rm(this.#fileOf(letter), { force: true });
    // Not one that has come since.
    if (this.#waiting.get(textOf(letter))?.fence === fence) this.#waiting.delete(textOf(letter));
  }

  get #directory(): string {
    return join(this.#options.dataDirectory, "outbox");
  }

  #fileOf({ sessionId, fence }: Letter): string {
    return join(this.#directory, `${sessionId}.${fence}.json`);
  }
}

/** Undefined for a file that is none of ours. */
function parseLetter(text: string): Letter | undefined {
  try {
    return Letter.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
