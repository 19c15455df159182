/**
 * Which values of a file may be repeated where its problems are told: not those of secret keys, nor,
 * in a file that has such keys, those of keys that nobody knows: a misspelt one may hold a secret.
 *
 * @module
 */

import type { z } from "zod";
import { schemaKeys } from "./schema-tree.ts";
import type { Path } from "./yaml-parse.ts";

/** `secret` is what stands at a secret key, or below it: there, keys can be secret as well. */
export type Shown = "shown" | "hidden" | "secret";

interface Pattern {
  /** Keys from the top down, and `*` for any entry of a list or map. */
  readonly steps: readonly string[];
  readonly isSecret: boolean;
}

export function shownBy(schema: z.ZodType): (path: Path) => Shown {
  const patterns = schemaKeys(schema).map(({ path, isSecret }) => ({
    steps: path.flatMap(stepsOf),
    isSecret,
  }));
  if (!patterns.some(({ isSecret }) => isSecret)) return () => "shown";
  return (path) => (path.length === 0 ? "shown" : shownAt(path, patterns));
}

/** `keys[]` as `keys`, `*`, and `<name>` as `*`. */
function stepsOf(name: string): string[] {
  const [word = "", ...lists] = name.split("[]");
  return [word === "<name>" ? "*" : word, ...lists.map(() => "*")];
}

function shownAt(path: Path, patterns: readonly Pattern[]): Shown {
  // Those above, below and at it: text may stand where a map with a secret belongs.
  const near = patterns.filter(({ steps }) => fits(steps, path));
  const secrets = near.filter(({ isSecret }) => isSecret);
  if (secrets.some(({ steps }) => steps.length <= path.length)) return "secret";
  if (secrets.length > 0) return "hidden";
  const depth = Math.max(0, ...near.map(({ steps }) => steps.length));
  if (depth >= path.length) return "shown";
  // Below a key that has none of its own, such as a list of words, anything may stand.
  const above = path.slice(0, depth);
  const hasKeys = patterns.some(({ steps }) => steps.length > depth && fits(steps, above));
  return hasKeys ? "hidden" : "shown";
}

/** Whether they agree as far as both go. */
function fits(steps: readonly string[], path: Path): boolean {
  const length = Math.min(steps.length, path.length);
  return steps.slice(0, length).every((step, at) => step === "*" || step === String(path[at]));
}
