/**
 * What every store asks of its caller before it goes to the database. What does not fit is a bug,
 * and so a plain `Error`.
 *
 * @module
 */

import {
  MAX_NAME_LENGTH,
  MAX_OBJECT_BYTES,
  MAX_PART_LENGTH,
  OBJECT_NAME,
  type Page,
} from "./object-store.ts";

const PREFIX = /^[A-Za-z0-9._/-]*$/;

/** @throws {Error} for a name that does not fit `OBJECT_NAME`, or is too long. */
export function checkName(name: string): void {
  const isShort = name.length <= MAX_NAME_LENGTH;
  if (isShort && OBJECT_NAME.test(name) && !hasLongPart(name)) return;
  throw new Error(`Not a name of an object: ${JSON.stringify(name.slice(0, MAX_NAME_LENGTH))}`);
}

/** @throws {Error} for one that is larger than `MAX_OBJECT_BYTES`. */
export function checkObjectBody(body: Uint8Array): void {
  if (body.byteLength <= MAX_OBJECT_BYTES) return;
  throw new Error(`An object of ${body.byteLength} bytes: the most is ${MAX_OBJECT_BYTES}`);
}

/** @throws {Error} for a limit that is no count, or a prefix that no name can have. */
export function checkPage({ prefix, after = "", limit }: Page): void {
  if (Number.isSafeInteger(limit) && limit > 0 && PREFIX.test(prefix) && PREFIX.test(after)) return;
  throw new Error(`Not a page of objects: ${JSON.stringify({ prefix, after, limit })}`);
}

/**
 * What the names of a page lie between: `from`, which is among them or not, and `before`, which is
 * not. No character of a name is as high as `~`.
 */
export function rangeOf({ prefix, after }: Page): {
  readonly from: string;
  readonly isFromIncluded: boolean;
  readonly before: string;
} {
  const isAfterWithin = after !== undefined && after >= prefix;
  return {
    from: isAfterWithin ? after : prefix,
    isFromIncluded: !isAfterWithin,
    before: `${prefix}~`,
  };
}

function hasLongPart(name: string): boolean {
  return name.split("/").some((part) => part.length > MAX_PART_LENGTH);
}
