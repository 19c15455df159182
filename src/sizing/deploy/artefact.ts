/**
 * What `plimsoll deploy` makes: files, and of every value in them that was decided why it is what
 * it is. A number can only be written with its reason: the type of a tree has no other.
 *
 * @module
 */

import { wrapWords } from "../../lib/wrap-words.ts";

export interface Artefact {
  /** Relative to the output folder, with `/`. */
  readonly path: string;
  readonly text: string;
  /** In the order of the file. */
  readonly values: readonly TracedValue[];
}

export interface TracedValue {
  /** Keys down to it, with the names of items of lists that have one. */
  readonly place: readonly string[];
  readonly value: string;
  readonly why: string;
}

/** A value, and why it is what it is: a comment in the file, and a row of `--explain`. */
export class Said {
  readonly value: Plain;
  readonly why: string;

  constructor(value: Plain, why: string) {
    this.value = value;
    this.why = why;
  }
}

type Plain =
  | string
  | number
  | boolean
  | readonly Tree[]
  | { readonly [key: string]: Tree | undefined };

/** What becomes YAML. Keys without a value are left out. */
export type Tree =
  | string
  | boolean
  | Said
  | readonly Tree[]
  | { readonly [key: string]: Tree | undefined };

export function said(value: Plain, why: string): Said {
  return new Said(value, why);
}

/** A value as `--explain` shows it. */
export function shownValue(value: Plain): string {
  return typeof value === "object" ? JSON.stringify(plainOf(value)) : String(value);
}

/** A value without its reasons. */
function plainOf(value: unknown): unknown {
  if (value instanceof Said) return plainOf(value.value);
  if (Array.isArray(value)) return value.map(plainOf);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plainOf(one)]));
}

/** The longest line of a comment, without its indentation. */
const COMMENT_COLUMNS = 92;

/** A reason as lines of a comment, without the `#`. */
export function commentLines(text: string, columns = COMMENT_COLUMNS): readonly string[] {
  return text.split("\n").flatMap((paragraph) => wrapWords(paragraph, columns));
}
