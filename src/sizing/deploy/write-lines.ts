/**
 * Files that are lines, such as a Dockerfile or a unit of systemd: each reason is a comment above its
 * line. Pure.
 *
 * @module
 */

import { type Artefact, commentLines } from "./artefact.ts";

/** A line as it is, or one with its reason. */
export type Line = string | SaidLine;

export interface SaidLine {
  readonly text: string;
  readonly why: string;
  /** What the value is called; the start of the line without it. */
  readonly place: string;
  readonly value: string;
}

/** `KEY=value` with its reason. */
export function saidKey(key: string, value: string, why: string): SaidLine {
  return { text: `${key}=${value}`, why, place: key, value };
}

/** `INSTRUCTION arguments` with its reason. */
export function saidInstruction(instruction: string, value: string, why: string): SaidLine {
  return { text: `${instruction} ${value}`, why, place: instruction, value };
}

export function writeLines(
  path: string,
  head: readonly string[],
  lines: readonly Line[],
): Artefact {
  const comments = (why: string) => commentLines(why).map((line) => `# ${line}`);
  const body = lines.flatMap((line) =>
    typeof line === "string" ? [line] : [...comments(line.why), line.text],
  );
  return {
    path,
    text: [...head.map((line) => `# ${line}`), ...body, ""].join("\n"),
    values: lines.flatMap((line) =>
      typeof line === "string" ? [] : [{ place: [line.place], value: line.value, why: line.why }],
    ),
  };
}
