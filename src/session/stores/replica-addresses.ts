/**
 * Where the replicas of a store reach each other: one small object each, told anew as long as the
 * replica lives. What is not told anew counts no longer: in a cluster the address of a replica that
 * was killed is soon somebody else's, who must not be sent what was meant for it.
 *
 *     told ──every renewTimeMs──▶ told ──closed──▶ removed
 *       └─ killed: after three times that it is silent; removed by the start of any replica, a day later
 *
 * Whether it is told anew, who looks twice sees by his own monotonic clock; at the first look the wall
 * clocks of both have to do.
 *
 * @module
 */

import { z } from "zod";
import { eachAtOnce } from "../../lib/each-at-once.ts";
import { monotonicMs } from "../../lib/monotonic-clock.ts";
import { REPLICAS } from "./names.ts";
import type { ObjectStore } from "./object-store.ts";

/** The most replicas that are looked at. */
const MAX_REPLICAS = 1_000;
/** How long the list of replicas counts: ids that somebody makes up cost the store this much. */
const LIST_TIME_MS = 1_000;
/** How long the address of a replica is taken for granted. */
const ADDRESS_TIME_MS = 5_000;
/** An address counts for so many times of its renewal; the store may be away for a while. */
const MISSED_RENEWALS = 3;
/** After that, by whatever clock. */
const LEFT_AFTER_MS = 86_400_000;
const READS_AT_ONCE = 4;

/** Told with another end each time, so that a change shows. */
const Told = z.object({ address: z.string(), expiresAtMs: z.number(), countsForMs: z.number() });
type Told = Readonly<z.infer<typeof Told>>;

export interface ReplicaAddressesOptions {
  readonly store: ObjectStore;
  /** Between two times that an address is told. */
  readonly renewTimeMs: number;
  /** Told each time that an address could not be written: nobody finds this replica then. */
  readonly onTrouble: (error: unknown) => void;
}

export interface ReplicaAddress {
  readonly address: string;
  /** It was not told anew for long: the replica is gone, or cannot reach the store. */
  readonly isSilent: boolean;
}

/** What was read of a replica, by the clock of who has read it. */
interface Heard {
  readonly expiresAtMs: number;
  /** It was there already. */
  readonly sameSinceMs: number;
  /** It was told anew after that; null where no change was seen. */
  readonly toldAfterMs: number | null;
  readonly readAtMs: number;
}

interface Known<Value> {
  readonly atMs: number;
  freshForMs: number;
  readonly value: Promise<Value>;
}

export class ReplicaAddresses {
  readonly #options: ReplicaAddressesOptions;
  #tags: Known<ReadonlySet<string>> | null = null;
  /** Addresses by tag, of tags in the list, so there are never more. */
  readonly #told = new Map<string, Known<Told | null>>();
  /** Of the same tags. */
  readonly #heard = new Map<string, Heard>();

  constructor(options: ReplicaAddressesOptions) {
    this.#options = options;
  }

  /**
   * Tells where this replica is, until that is disposed. Resolves when the store has heard of it, or
   * has failed to: then it is tried again.
   *
   * @param tag Letters and digits.
   */
  async announce(tag: string, address: string): Promise<AsyncDisposable> {
    const { store, renewTimeMs } = this.#options;
    let telling: Promise<void> | null = null;
    // One at a time: behind a store that hangs they would wait in a row, and the end for all of them.
    const tell = async (): Promise<void> => {
      telling ??= this.#tell(tag, address).finally(() => (telling = null));
      return telling;
    };
    await tell();
    const timer = setInterval(() => void tell(), renewTimeMs).unref();
    const removed = this.#removeLeft().catch(() => {});
    return {
      async [Symbol.asyncDispose]() {
        clearInterval(timer);
        await telling;
        await removed;
        // What stays counts for a moment only.
        await store.delete([nameOf(tag)]).catch(() => {});
      },
    };
  }

  /**
   * Where the replica of this tag is reached; null where there is none. However often it is asked, and
   * for whatever, the store is asked for a list a second, and each address there is once in five
   * seconds.
   *
   * @throws {AppError} `store_unavailable`
   */
  async find(tag: string): Promise<ReplicaAddress | null> {
    if (!(await this.#listed()).has(tag)) return null;
    const known = this.#told.get(tag);
    const told = await (known !== undefined && isFresh(known) ? known : this.#read(tag)).value;
    return told && { address: told.address, isSilent: isSilent(told, this.#heard.get(tag)) };
  }

  /** Nobody answered there, so the store is asked sooner; not each time, however often that is. */
  doubt(tag: string): void {
    const known = this.#told.get(tag);
    if (known !== undefined) known.freshForMs = LIST_TIME_MS;
  }

  async #listed(): Promise<ReadonlySet<string>> {
    const known = this.#tags;
    if (known !== null && isFresh(known)) return known.value;
    const value = this.#list().then((tags) => {
      for (const map of [this.#told, this.#heard]) {
        for (const tag of map.keys()) if (!tags.has(tag)) map.delete(tag);
      }
      return tags;
    });
    this.#tags = { atMs: monotonicMs(), freshForMs: LIST_TIME_MS, value };
    return value;
  }

  async #list(): Promise<ReadonlySet<string>> {
    const names = await this.#options.store.list({ prefix: REPLICAS, limit: MAX_REPLICAS });
    return new Set(names.map((name) => name.slice(REPLICAS.length)));
  }

  #read(tag: string): Known<Told | null> {
    const value = this.#hear(tag);
    const known = { atMs: monotonicMs(), freshForMs: ADDRESS_TIME_MS, value };
    this.#told.set(tag, known);
    value.catch(() => this.doubt(tag));
    return known;
  }

  async #hear(tag: string): Promise<Told | null> {
    const beganAtMs = monotonicMs();
    const told = await this.#get(nameOf(tag));
    if (told !== null) this.#heard.set(tag, heardOf(told, beganAtMs, this.#heard.get(tag)));
    return told;
  }

  async #get(name: string): Promise<Told | null> {
    const found = await this.#options.store.get(name);
    return found === null ? null : toldIn(found.body);
  }

  async #tell(tag: string, address: string): Promise<void> {
    const { store, renewTimeMs, onTrouble } = this.#options;
    const countsForMs = MISSED_RENEWALS * renewTimeMs;
    const told: Told = { address, expiresAtMs: Date.now() + countsForMs, countsForMs };
    try {
      await store.put(nameOf(tag), Buffer.from(JSON.stringify(told)), "any");
    } catch (thrown) {
      onTrouble(thrown);
    }
  }

  /** Removes the addresses of replicas that were killed for good. */
  async #removeLeft(): Promise<void> {
    const { store } = this.#options;
    await eachAtOnce([...(await this.#list())], READS_AT_ONCE, async (tag) => {
      const told = await this.#get(nameOf(tag));
      const isLeft = told !== null && told.expiresAtMs + LEFT_AFTER_MS < Date.now();
      if (isLeft) await store.delete([nameOf(tag)]);
    });
  }
}

function heardOf({ expiresAtMs }: Told, readAtMs: number, before: Heard | undefined): Heard {
  if (before === undefined) {
    return { expiresAtMs, sameSinceMs: monotonicMs(), toldAfterMs: null, readAtMs };
  }
  if (before.expiresAtMs === expiresAtMs) return { ...before, readAtMs };
  // It may have been told right after it was read before, and no more since.
  return { expiresAtMs, sameSinceMs: monotonicMs(), toldAfterMs: before.readAtMs, readAtMs };
}

function isSilent({ expiresAtMs, countsForMs }: Told, heard: Heard | undefined): boolean {
  const isLong = (sinceMs: number): boolean => monotonicMs() - sinceMs >= countsForMs;
  if (heard !== undefined && isLong(heard.sameSinceMs)) return true;
  const toldAfterMs = heard?.toldAfterMs ?? null;
  if (toldAfterMs !== null && !isLong(toldAfterMs)) return false;
  return expiresAtMs <= Date.now();
}

function isFresh({ atMs, freshForMs }: Known<unknown>): boolean {
  return monotonicMs() - atMs < freshForMs;
}

function nameOf(tag: string): string {
  return `${REPLICAS}${tag}`;
}

/** Null for what a newer version, or nobody of ours, has written. */
function toldIn(body: Buffer): Told | null {
  try {
    return Told.safeParse(JSON.parse(body.toString("utf8"))).data ?? null;
  } catch {
    return null;
  }
}
