/**
 * What `plimsoll deploy` has written, and why each value is what it is, as people read it: in a
 * terminal of 80 columns. Pure.
 *
 * @module
 */

import { wrapWords } from "../lib/wrap-words.ts";
import type { Artefact } from "../sizing/deploy/artefact.ts";
import type { Deployment } from "../sizing/deploy/deploy.ts";
import type { Premises } from "../sizing/deploy/premises.ts";
import { countOf } from "../lib/figures.ts";
import { alignedLines } from "../lib/table.ts";

const COLUMNS = 80;
const PLACE_COLUMNS = 31;
const VALUE_COLUMNS = 14;
const WHY_COLUMNS = COLUMNS - PLACE_COLUMNS - VALUE_COLUMNS - 4;

export function deployedText(
  { artefacts, warnings }: Deployment,
  { fleet }: Premises,
  directory: string,
): string {
  const { replicas, size, replica } = fleet;
  const files = countOf(artefacts.length, "file");
  return [
    `${files} in ${directory}, for ${countOf(replicas, "replica")} of ${size.name},`,
    `each with ${countOf(replica.turns, "turn")} at once:`,
    ...artefacts.map(({ path }) => `  ${path}`),
    mindText(warnings),
  ].join("\n");
}

/** Empty where there is nothing to mind. */
export function mindText(warnings: readonly string[]): string {
  if (warnings.length === 0) return "";
  return ["", "Mind:", ...warnings.flatMap((text) => indented(text)), ""].join("\n");
}

/** The first line with a dash, the others below its text. */
function indented(text: string): readonly string[] {
  return wrapWords(text, COLUMNS - 4).map((line, at) => `${at === 0 ? "  - " : "    "}${line}`);
}

/** A table for each file with values to tell of. */
export function explanation(artefacts: readonly Artefact[]): string {
  const tables = artefacts.flatMap(({ path, values }) => {
    if (values.length === 0) return [];
    const rows = values.flatMap(({ place, value, why }) => rowsOf(shortened(place), value, why));
    const lines = alignedLines({ head: ["what", "is", "because"], rows, figures: [] });
    return [["", path, ...lines].join("\n")];
  });
  return tables.length === 0 ? "" : `${tables.join("\n")}\n`;
}

/** The rows of a value: as many as the longest of the three has lines. */
function rowsOf(place: string, value: string, why: string): readonly (readonly string[])[] {
  const columns = [
    broken(place, PLACE_COLUMNS),
    broken(value, VALUE_COLUMNS),
    broken(why.replaceAll("\n", " "), WHY_COLUMNS),
  ];
  const height = Math.max(...columns.map(({ length }) => length));
  return Array.from({ length: height }, (_, at) => columns.map((lines) => lines[at] ?? ""));
}

/** In lines, also a word that is longer than one. */
function broken(text: string, columns: number): readonly string[] {
  return wrapWords(text, columns).flatMap((line) =>
    line.length <= columns
      ? [line]
      : Array.from({ length: Math.ceil(line.length / columns) }, (_, at) =>
          line.slice(at * columns, (at + 1) * columns),
        ),
  );
}

/** The last keys, as many as fit into the column: the first are the same for most. */
function shortened(place: readonly string[]): string {
  // Of an annotation, without the domain.
  const keys = place.map((key) => key.slice(key.lastIndexOf("/") + 1));
  let shown = keys.pop() ?? "";
  for (let key = keys.pop(); key !== undefined; key = keys.pop()) {
    if (key.length + 1 + shown.length > PLACE_COLUMNS) break;
    shown = `${key}.${shown}`;
  }
  return shown;
}
