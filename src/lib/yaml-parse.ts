/**
 * YAML text to nodes that are safe to walk. Size and nesting are limited before the composer sees
 * the text: on deep nesting it runs out of stack inside V8, which no handler can catch.
 *
 * @module
 */

import {
  Composer,
  Lexer,
  Parser,
  type CST,
  type Document,
  type LineCounter,
  type ParsedNode,
} from "yaml";
import { MIB } from "./byte-units.ts";

const MAX_YAML_BYTES = MIB;
/** Lexical pieces of a file; an agent file has some hundreds. */
const MAX_PIECES = 100_000;
/** Levels of nesting, in the parser's tokens: about twice the levels a person sees. */
const MAX_DEPTH = 64;

export type Path = readonly PropertyKey[];

/** A diagnostic whose place is still an offset into the text. */
export interface Problem {
  readonly path: Path;
  readonly message: string;
  readonly remedy: string;
  /** UTF-16 code units from 0. */
  readonly offset: number;
}

/** The first document of the text, and what is wrong with its syntax. */
export function parseYaml(text: string, lines: LineCounter): ParsedYaml {
  const whole = (message: string, remedy: string): ParsedYaml => ({
    root: null,
    errors: [{ path: [], message, remedy, offset: 0 }],
  });
  if (Buffer.byteLength(text) > MAX_YAML_BYTES) {
    return whole("the file is larger than 1 MiB", "Move long texts to files of their own");
  }
  let pieces = 0;
  for (const _ of new Lexer().lex(text)) {
    if (++pieces > MAX_PIECES) {
      return whole(`the file has more than ${MAX_PIECES} pieces of YAML`, "Make it smaller");
    }
  }
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  if (isDeeperThan(MAX_DEPTH, tokens)) {
    return whole("the file nests deeper than can be read", "Nest fewer lists and maps");
  }
  const options = { prettyErrors: false, uniqueKeys: false, lineCounter: lines } as const;
  const documents = [...new Composer(options).compose(tokens, true, text.length)];
  const root = documents[0]?.contents ?? null;
  const errors = syntaxErrors(documents, text, lines);
  if (root === null && errors.length === 0) errors.push(EMPTY);
  return { root, errors };
}

interface ParsedYaml {
  /** Null if there is nothing, or nothing that could be parsed. */
  readonly root: ParsedNode | null;
  readonly errors: readonly Problem[];
}

/** Level by level, because a recursive walk would be what it guards against. */
function isDeeperThan(maxDepth: number, tokens: readonly CST.Token[]): boolean {
  let level: readonly CST.Token[] = tokens;
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > maxDepth) return true;
    level = level.flatMap((token) => {
      const below = "items" in token ? token.items.flatMap((item) => [item.key, item.value]) : [];
      return [...below, "value" in token ? token.value : undefined].filter(
        (child): child is CST.Token => typeof child === "object" && child !== null,
      );
    });
  }
  return false;
}

/** One for a line: the first mistake of a line makes the others. */
function syntaxErrors(documents: readonly Document[], text: string, lines: LineCounter): Problem[] {
  const problems: Problem[] = [];
  const seen = new Set<number>();
  const found = documents.flatMap((document) => [...document.errors, ...document.warnings]);
  for (const { code, message, pos } of found) {
    const { line } = lines.linePos(pos[0]);
    if (seen.has(line)) continue;
    seen.add(line);
    const known = SYNTAX[code] ?? [`is not valid YAML: ${message}`, QUOTE];
    problems.push({ path: [], message: known[0], remedy: known[1], offset: pos[0] });
  }
  const second = documents[1];
  if (second !== undefined) {
    const message = "a second document begins here, and only one is read";
    const remedy = "Remove the `---`, or put the second document into a file of its own";
    const offset = text.lastIndexOf("---", second.range?.[0]);
    problems.push({ path: [], message, remedy, offset: Math.max(0, offset) });
  }
  return problems;
}

const QUOTE = "Text with special characters, and `${VAR}` within [ ] or { }, goes in quotes";

const SYNTAX: Readonly<Record<string, readonly [message: string, remedy: string]>> = {
  TAB_AS_INDENT: ["a tab is used to indent", "Use spaces"],
  TAG_RESOLVE_FAILED: ["has a tag (`!...`) that is not known", "Remove the tag"],
  BAD_ALIAS: ["has an alias without a name", "Write `*name`, or put the text in quotes"],
};

/** The problem of a file with nothing but comments. */
export const EMPTY: Problem = {
  path: [],
  message: "the file is empty",
  remedy: "See docs/ for what belongs here",
  offset: 0,
};
