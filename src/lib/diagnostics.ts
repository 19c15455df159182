/**
 * What is wrong in a file a person wrote: the place, the problem and its cure, and how they are
 * shown to a person, a program or GitHub. Finding the problems is `yaml-file.ts`.
 *
 * @module
 */

import { AppError } from "./errors.ts";

export interface Diagnostic {
  /** The file as the user named it; `--set listen.port` or a variable's name for other sources. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 code units. */
  readonly column: number;
  /** Keys and indexes down to the value, e.g. `auth.keys[0].role`; empty for the whole file. */
  readonly path: string;
  readonly message: string;
  /** What to do about it; empty if the message says it all. */
  readonly remedy: string;
  /** The line with a caret below; empty where there is no text to show. */
  readonly frame: string;
}

/** A diagnostic of a source that has no lines to show, or of the whole of it. */
export function placeless(file: string, message: string, remedy: string, path = ""): Diagnostic {
  return { file, line: 1, column: 1, path, message, remedy, frame: "" };
}

const SUBJECTS = {
  config_invalid: "settings",
  agent_invalid: "agent",
  profile_invalid: "profile",
} as const;

/** Every problem found, thrown at once: one run shows them all. */
export class DiagnosticsError extends AppError {
  readonly diagnostics: readonly Diagnostic[];

  constructor(code: keyof typeof SUBJECTS, diagnostics: readonly Diagnostic[]) {
    const many = diagnostics.length === 1 ? "1 problem" : `${diagnostics.length} problems`;
    super(code, `Cannot use the ${SUBJECTS[code]}: ${many} found`);
    this.diagnostics = diagnostics;
  }
}

export const DIAGNOSTICS_FORMATS = ["text", "json", "github"] as const;
export type DiagnosticsFormat = (typeof DIAGNOSTICS_FORMATS)[number];

/**
 * Diagnostics for a terminal, as JSON, or as GitHub workflow commands. Ends in a newline unless
 * there is nothing to say.
 */
export function formatDiagnostics(
  diagnostics: readonly Diagnostic[],
  format: DiagnosticsFormat,
  color = false,
): string {
  if (format === "json") return `${JSON.stringify(diagnostics, null, 2)}\n`;
  if (format === "github") return diagnostics.map(toGithubCommand).join("");
  return diagnostics.map((diagnostic) => toText(diagnostic, color)).join("\n");
}

function toText(diagnostic: Diagnostic, color: boolean): string {
  const paint = (code: number, text: string) => (color ? `\u001B[${code}m${text}\u001B[0m` : text);
  const { file, line, column, path, message, remedy, frame } = diagnostic;
  const place = frame === "" ? file : `${file}:${line}:${column}`;
  const head = `${paint(1, place)} ${paint(31, "error:")} ${path === "" ? "" : `${path} `}${message}`;
  const cure = remedy === "" ? [] : [`  ${paint(36, remedy)}`];
  return `${[head, ...(frame === "" ? [] : [frame]), ...cure].join("\n")}\n`;
}

/** https://docs.github.com/actions/reference/workflow-commands-for-github-actions */
function toGithubCommand(diagnostic: Diagnostic): string {
  const data = (text: string) =>
    text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
  const property = (text: string) => data(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
  const { file, line, column, path, message, remedy } = diagnostic;
  const said = `${path === "" ? "" : `${path} `}${message}${remedy === "" ? "" : `. ${remedy}`}`;
  return `::error file=${property(file)},line=${line},col=${column}::${data(said)}\n`;
}

const FRAME_COLUMNS = 100;

/** The line of a place, with a caret below the column; long lines are cut around it. */
export function frameAt(text: string, line: number, column: number): string {
  const whole = text.split(/\r?\n/u, line)[line - 1] ?? "";
  const from = Math.max(0, column - 1 - FRAME_COLUMNS / 2);
  const shown = printable(whole.slice(from, from + FRAME_COLUMNS));
  // A tab stays a tab below itself, so that the caret stands where the eye looks.
  const indent = shown.slice(0, column - 1 - from).replaceAll(/[^\t]/gu, " ");
  const number = String(line).padStart(4);
  return `${number} | ${shown}\n${" ".repeat(number.length)} | ${indent}^`.replaceAll(/ +$/gmu, "");
}

/** Without what a terminal would obey: a file may hold escape sequences. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  return text.replaceAll(/[\u0000-\u0008\u000A-\u001F\u007F-\u009F\u2028\u2029]/gu, "\uFFFD");
}

/** `["auth", "keys", 0, "role"]` as `auth.keys[0].role`. */
export function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`;
    return text === "" ? printable(String(part)) : `${text}.${printable(String(part))}`;
  }, "");
}
