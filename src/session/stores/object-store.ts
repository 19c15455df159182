/**
 * What a session store needs of a database: named bytes, replaced only by whoever knows what is
 * there. Redis, PostgreSQL, S3 and a shared directory all have it, so that everything about
 * sessions is written, and tested, once above it.
 *
 * @module
 */

import { MIB } from "../../lib/byte-units.ts";

export interface StoredObject {
  readonly body: Buffer;
  /**
   * A mark of no meaning but to be equal or not. Changes whenever another body is written; whether it
   * does so with the same body, or comes back with an earlier one, is the database's to say (S3's
   * does): whoever relies on a change never writes the same body twice.
   */
  readonly version: string;
}

/** What must hold for an object to be written: `absent`, of this version, or `any`. */
export type PutCondition = "absent" | "any" | { readonly version: string };

export interface Page {
  /** What all names of the page begin with; may be empty, and may end within a part of a name. */
  readonly prefix: string;
  /** Names after this one, which need not be there. */
  readonly after?: string;
  /** 1 or more. A page that is shorter is the last one. */
  readonly limit: number;
}

/**
 * Each call but a `delete` of several is one step: it happens whole or not at all, and who reads
 * afterwards, anywhere, sees it.
 *
 * All of them throw `store_unavailable` when the database cannot be reached, refuses, or does not
 * answer in time: a write may then have happened or not, and one that was late may still happen. A
 * name, page or body that does not fit is a bug of the caller and throws a plain `Error`.
 */
export interface ObjectStore extends AsyncDisposable {
  /** What it is and where, without secrets: for people and logs. */
  readonly place: string;

  /** What whoever runs the database should know, such as that it may forget; for the log at start. */
  readonly warnings: readonly string[];

  /** Null when there is none. */
  get(name: string): Promise<StoredObject | null>;

  /**
   * @returns The new version; null when the condition does not hold, and nothing was written.
   * @param body Any bytes, up to {@link MAX_OBJECT_BYTES}.
   */
  put(name: string, body: Uint8Array, condition: PutCondition): Promise<string | null>;

  /** Any number of them; those that are not there are no failure. */
  delete(names: readonly string[]): Promise<void>;

  /**
   * In the order of their bytes. What is written or deleted meanwhile may be among them or not, and
   * so may one whose deletion was cut off by a crash: a name of the page may have no object.
   */
  list(page: Page): Promise<readonly string[]>;
}

/** The most that one object may hold. Redis and PostgreSQL would take more, and be slow with it. */
export const MAX_OBJECT_BYTES = 16 * MIB;

/**
 * What names are made of: letters, digits, `.`, `_`, `-`, in parts with `/` between; safe as a path
 * and in a URL.
 */
export const OBJECT_NAME = /^(?!.*(?:^|\/)\.{1,2}(?:\/|$))[A-Za-z0-9._-]+(?:\/[A-Za-z0-9._-]+)*$/;
export const MAX_NAME_LENGTH = 512;
/**
 * The longest that a part of a name may be: file systems take up to 255 bytes, and a directory of
 * objects adds to it.
 */
export const MAX_PART_LENGTH = 200;

export interface ObjectStoreOptions {
  /** Its scheme says which database: `file:`, `redis:`, `rediss:`, `postgres:`, `postgresql:`, `s3:`. */
  readonly url: URL;
  /** The most that a call may take before it has failed; opening takes several calls. */
  readonly timeoutMs: number;
}
