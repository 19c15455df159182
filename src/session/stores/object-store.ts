/**
 * What a session store needs of a database: named bytes, replaced only by whoever knows what is
 * there. Redis, PostgreSQL, S3 and a shared directory all have it, so that everything about
 * sessions is written, and tested, once above it.
 *
 * @module
 */

export interface StoredObject {
  readonly body: Buffer;
  /** Changes whenever the object is written; of no meaning but to be equal or not. */
  readonly version: string;
}

/** What must hold for an object to be written: `absent`, of this version, or `any`. */
export type PutCondition = "absent" | "any" | { readonly version: string };

export interface Page {
  /** The name that all names of the page begin with. */
  readonly prefix: string;
  /** Names after this one. */
  readonly after?: string;
  readonly limit: number;
}

/**
 * Each call is one step: it happens whole or not at all, and who reads afterwards, anywhere, sees it.
 *
 * All of them throw `store_unavailable` when the database cannot be reached, or does not answer in
 * time: a write may then have happened or not.
 */
export interface ObjectStore extends AsyncDisposable {
  /** What it is and where, without secrets: for people and logs. */
  readonly place: string;

  /** Null when there is none. */
  get(name: string): Promise<StoredObject | null>;

  /**
   * @returns The new version; null when the condition does not hold, and nothing was written.
   * @param body Any bytes, up to {@link MAX_OBJECT_BYTES}.
   */
  put(name: string, body: Uint8Array, condition: PutCondition): Promise<string | null>;

  /** Names that are not there are no failure. */
  delete(names: readonly string[]): Promise<void>;

  /** In the order of their bytes. */
  list(page: Page): Promise<readonly string[]>;
}

/** The most that one object may hold. Redis and PostgreSQL would take more, and be slow with it. */
export const MAX_OBJECT_BYTES = 16 * 2 ** 20;

/** Of names: letters, digits, `.`, `_`, `-`, in parts with `/` between; safe as a path and in a URL. */
export const OBJECT_NAME = /^(?!.*(?:^|\/)\.{1,2}(?:\/|$))[A-Za-z0-9._-]+(?:\/[A-Za-z0-9._-]+)*$/;
export const MAX_NAME_LENGTH = 512;

export interface ObjectStoreOptions {
  readonly url: URL;
  /** The most that a call may take before it has failed. */
  readonly timeoutMs: number;
}
