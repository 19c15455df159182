/**
 * A YAML file as plain data with the place of every value kept. It knows no schema; that is
 * `yaml-file.ts`.
 *
 * @module
 */

import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Alias,
  type ParsedNode,
  type Scalar,
  type YAMLMap,
} from "yaml";
import { type Diagnostic, formatPath, frameAt, printable } from "./diagnostics.ts";
import type { Shown } from "./shown-values.ts";
import type { Environment } from "./substitute.ts";
import { DataReader, keyName } from "./yaml-data.ts";
import { EMPTY, parseYaml, type Path, type Problem } from "./yaml-parse.ts";

/** More than anybody reads, and a file can have a problem on every line. */
export const MAX_DIAGNOSTICS = 100;

export interface YamlSource {
  /** The name to show. */
  readonly file: string;
  readonly text: string;
}

/** A parsed file. `value` holds what could be read, also when there are diagnostics. */
export class YamlDocument {
  readonly value: unknown;
  readonly diagnostics: readonly Diagnostic[];
  /** Paths of values that could not be read, so that nobody complains of them twice. */
  readonly unreadable: readonly Path[];
  /** Nothing but comments. */
  readonly isEmpty: boolean;
  /** Where the text before the first syntax error ends: what follows may be read wrongly. */
  readonly trustedUntil: number;
  /** What frames are cut from: values that may not be shown are stars, each where it was. */
  readonly #shownText: string;
  readonly #shownAt: (path: Path) => Shown;
  readonly #file: string;
  readonly #lines: LineCounter;
  readonly #root: ParsedNode | null;
  readonly #targets: ReadonlyMap<Alias, ParsedNode>;

  constructor(source: YamlSource, environment: Environment, shownAt: (path: Path) => Shown) {
    const text = source.text.replace(/^\uFEFF/u, "");
    this.#file = source.file;
    this.#shownAt = shownAt;
    this.#lines = new LineCounter();
    const { root, errors } = parseYaml(text, this.#lines);
    const reader = new DataReader(text, environment);
    this.#root = root;
    this.#shownText = this.#masked(text);
    this.isEmpty = root === null && errors.every((error) => error === EMPTY);
    this.value = reader.read(root, []);
    this.#targets = reader.targets;
    this.unreadable = reader.unreadable;
    const broken = errors.map((error) => text.slice(0, error.offset).trimEnd().length);
    this.trustedUntil = Math.min(Infinity, ...broken);
    this.diagnostics = [...errors, ...reader.problems]
      .slice(0, MAX_DIAGNOSTICS)
      .map((problem) => this.#diagnostic(problem));
  }

  /** A diagnostic at a value; at its key if `at` is `key`; at the nearest parent if it is not there. */
  diagnosticAt(path: Path, message: string, remedy: string, at: "value" | "key" = "value") {
    return this.#diagnostic({ path, message, remedy, offset: this.rangeOf(path, at)[0] });
  }

  /** Where a value or its key begins and ends, in UTF-16 code units from 0. */
  rangeOf(path: Path, at: "value" | "key" = "value"): readonly [from: number, to: number] {
    const parent = this.#nodeAt(path.slice(0, -1));
    const key = at === "key" && isMap(parent) ? pairOf(parent, path.at(-1))?.key : undefined;
    if (key !== undefined) return [key.range[0], key.range[1]];
    for (let length = path.length; length >= 0; length--) {
      const node = this.#nodeAt(path.slice(0, length));
      if (node !== undefined) return [node.range[0], node.range[1]];
    }
    return [0, 0];
  }

  /**
   * A value as the file has it, short, for a message: never what a variable put in its place.
   * Undefined if there is no such value.
   */
  asWritten(path: Path): string | undefined {
    const node = this.#nodeAt(path);
    if (node === undefined) return undefined;
    if (isMap(node)) return "a map";
    if (isSeq(node)) return "a list";
    if (!isScalar(node) || node.value === null) return "nothing";
    const source = node.source;
    const short = printable(source.length > 60 ? `${source.slice(0, 57)}...` : source);
    if (source.includes("${")) return `\`${short}\``;
    return typeof node.value === "string" ? JSON.stringify(short) : short;
  }

  /** Whether a value may be repeated in a message. */
  shows(path: Path): boolean {
    const node = this.#nodeAt(path);
    return !isText(node) || this.#shownAt(path) === "shown";
  }

  #masked(text: string): string {
    const pieces: string[] = [];
    let end = 0;
    const mask = (node: unknown, path: Path): void => {
      const shown = this.#shownAt(path);
      if (isMap(node) && shown !== "secret") {
        for (const { key, value } of node.items) mask(value, [...path, keyName(key) ?? ""]);
      } else if (isSeq(node) && shown !== "secret") {
        for (const [index, item] of node.items.entries()) mask(item, [...path, index]);
      } else if (shown !== "shown" && (isText(node) || isMap(node) || isSeq(node))) {
        const [from, to] = node.range ?? [end, end];
        pieces.push(text.slice(end, from), text.slice(from, to).replaceAll(/\S/gu, "*"));
        end = to;
      }
    };
    mask(this.#root, []);
    return pieces.join("") + text.slice(end);
  }

  #nodeAt(path: Path): ParsedNode | undefined {
    let node: ParsedNode | undefined = this.#root ?? undefined;
    for (const part of path) {
      const seen: ParsedNode | undefined = isAlias(node) ? this.#targets.get(node) : node;
      if (isMap(seen)) node = pairOf(seen, part)?.value ?? undefined;
      else if (isSeq(seen)) node = seen.items[Number(part)];
      else return undefined;
    }
    return isAlias(node) ? (this.#targets.get(node) ?? node) : node;
  }

  #diagnostic({ path, message, remedy, offset }: Problem): Diagnostic {
    const { line, col } = this.#lines.linePos(offset);
    const place = { line: Math.max(1, line), column: Math.max(1, col) };
    const frame = frameAt(this.#shownText, place.line, place.column);
    return { file: this.#file, ...place, path: formatPath(path), message, remedy, frame };
  }
}

/** And not merely a reference, which says nothing of what stands in its place. */
function isText(node: unknown): node is Scalar {
  if (!isScalar(node) || node.value === null) return false;
  return typeof node.value !== "string" || !/^\$\{\w+\}$/u.test(node.value);
}

function pairOf(map: YAMLMap.Parsed, key: PropertyKey | undefined) {
  return map.items.find((pair) => keyName(pair.key) === String(key));
}
