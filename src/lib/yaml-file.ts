/**
 * A YAML file against a schema: the typed value, or every problem of the file at once, each with
 * its place, a line of the file and the cure.
 *
 *     text ─▶ YamlDocument (syntax, aliases, ${VAR}) ─▶ checkValue (zod) ─▶ value │ diagnostics
 *
 * @module
 */

import type { z } from "zod";
import type { Diagnostic } from "./diagnostics.ts";
import { didYouMean, nearest } from "./did-you-mean.ts";
import { checkValue, type SchemaIssue } from "./schema-issues.ts";
import { shownBy } from "./shown-values.ts";
import type { Environment } from "./substitute.ts";
import { MAX_DIAGNOSTICS, YamlDocument, type YamlSource } from "./yaml-document.ts";
import type { Path } from "./yaml-parse.ts";

export type YamlResult<T> =
  | { readonly ok: true; readonly value: T; readonly document: YamlDocument }
  | {
      readonly ok: false;
      readonly diagnostics: readonly Diagnostic[];
      /** For further diagnostics about the same file. */
      readonly document: YamlDocument;
    };

/**
 * Reads one YAML document. Variables of the environment are put into values only, after parsing;
 * their contents appear in no diagnostic.
 */
export function readYaml<S extends z.ZodType>(
  source: YamlSource,
  schema: S,
  environment: Environment,
): YamlResult<z.output<S>> {
  const document = new YamlDocument(source, environment, shownBy(schema));
  // Nothing to check: the document says itself that it is empty or could not be parsed.
  if (document.value === null) return { ok: false, diagnostics: document.diagnostics, document };
  const checked = checkValue(schema, document.value);
  if (checked.ok && document.diagnostics.length === 0) {
    return { ok: true, value: checked.value, document };
  }
  const found = checked.ok ? [] : diagnosticsOf(checked.issues, document);
  return { ok: false, diagnostics: inOrder([...document.diagnostics, ...found]), document };
}

/** What the schema found, at its place; without what only follows from broken syntax. */
export function diagnosticsOf(
  issues: readonly SchemaIssue[],
  document: YamlDocument,
): readonly Diagnostic[] {
  return issues
    .filter((issue) => isTrusted(issue, document))
    .slice(0, MAX_DIAGNOSTICS)
    .map((issue) => diagnosticOf(issue, document));
}

/** Sorted by place, without repetitions, and no more than a person would read. */
export function inOrder(diagnostics: readonly Diagnostic[]): readonly Diagnostic[] {
  const seen = new Set<string>();
  return diagnostics
    .toSorted((a, b) => a.line - b.line || a.column - b.column)
    .filter(({ line, column, path, message }) => {
      const identity = `${line}:${column} ${path} ${message}`;
      return !seen.has(identity) && seen.add(identity);
    })
    .slice(0, MAX_DIAGNOSTICS);
}

/** Whether an issue is about what the user wrote, and not about what could not be read. */
function isTrusted(issue: SchemaIssue, document: YamlDocument): boolean {
  if (document.unreadable.some((path) => startsWith(issue.path, path))) return false;
  if (document.trustedUntil === Infinity) return true;
  const [, to] = document.rangeOf(issue.path, issue.at === "key" ? "key" : "value");
  return issue.at !== "missing" && to < document.trustedUntil;
}

function startsWith(path: Path, start: Path): boolean {
  return start.every((part, index) => path[index] === part);
}

function diagnosticOf(issue: SchemaIssue, document: YamlDocument): Diagnostic {
  const { path, message } = issue;
  if (issue.at === "key") return document.diagnosticAt(path, message, issue.remedy, "key");
  if (issue.at === "missing") {
    return document.diagnosticAt(path, `is missing: ${message}`, issue.remedy);
  }
  const got = document.asWritten(path);
  const remedy = issue.remedy === "" ? remedyFor(issue, got) : issue.remedy;
  const shown = document.shows(path) ? `: got ${got ?? "nothing"}` : "";
  return document.diagnosticAt(path, `${message}${shown}`, remedy);
}

/** The cure for a value whose schema names none. `got` is the value as written. */
export function remedyFor({ message, words }: SchemaIssue, got = ""): string {
  // `got` is as the file has it, so no guess can be made from a variable's content.
  const word = got.replaceAll('"', "");
  if (got === "nothing") return "Give it a value, or remove the key";
  if (words.length > 0) return nearest(word, words) === undefined ? "" : didYouMean(word, words);
  if (message === "needs text" && got.startsWith("`")) {
    return "Put the reference in quotes, so that its value stays text";
  }
  if (message === "needs text" && /^[\d.tf+-]/u.test(got)) return "Put it in quotes";
  if (/^needs (a|at) .*(number|most|least)/u.test(message) && /^"[\d.]+"$/u.test(got)) {
    return "Remove the quotes";
  }
  return "";
}
