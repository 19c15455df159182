/**
 * YAML nodes to plain data, with variables put in. The library's own conversion is not used: it
 * follows cycles, and compares every key of a map with every other.
 *
 * @module
 */

import {
  isAlias,
  isMap,
  isScalar,
  parseDocument,
  type Alias,
  type ParsedNode,
  type Scalar,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";
import { printable } from "./diagnostics.ts";
import { type Environment, substitute } from "./substitute.ts";
import type { Path, Problem } from "./yaml-parse.ts";

/** Values after aliases are expanded. */
const MAX_VALUES = 20_000;

/** Anything that reads as a plain scalar of YAML's core schema, else the text itself. */
function plainScalar(text: string): unknown {
  if (text.length > 100) return text;
  const { contents, errors } = parseDocument(text, { prettyErrors: false });
  const isPlain = isScalar(contents) && contents.type === "PLAIN" && contents.source === text;
  return isPlain && errors.length === 0 ? contents.value : text;
}

/** Nodes to data, once; remembers what each alias stands for and everything it could not read. */
export class DataReader {
  readonly problems: Problem[] = [];
  /** Paths of values that could not be read, so that nobody complains of them twice. */
  readonly unreadable: Path[] = [];
  readonly targets = new Map<Alias, ParsedNode>();
  readonly #anchors = new Map<string, ParsedNode>();
  /** Nodes being read: an alias to one of them is a cycle. */
  readonly #open = new Set<ParsedNode>();
  readonly #text: string;
  readonly #environment: Environment;
  #values = 0;

  constructor(text: string, environment: Environment) {
    this.#text = text;
    this.#environment = environment;
  }

  read(node: ParsedNode | null, path: Path): unknown {
    if (node === null || this.#values > MAX_VALUES) return null;
    if (++this.#values > MAX_VALUES) {
      const message = `holds more than ${MAX_VALUES} values once its aliases are expanded`;
      return this.#unreadable(node, path, message, "Use fewer aliases (`*name`)");
    }
    if (isAlias(node)) return this.#readAlias(node, path);
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    if (isScalar(node)) return this.#readScalar(node, path);
    this.#open.add(node);
    const value = isMap(node) ? this.#readMap(node, path) : this.#readList(node, path);
    this.#open.delete(node);
    return value;
  }

  #readAlias(alias: Alias.Parsed, path: Path): unknown {
    const target = this.#anchors.get(alias.source);
    if (target === undefined) {
      const remedy = `Mark the value with \`&${alias.source}\` before, or put the text in quotes`;
      const message = `refers to \`*${alias.source}\`, which is not there`;
      return this.#unreadable(alias, path, message, remedy);
    }
    if (this.#open.has(target)) {
      const message = `\`*${alias.source}\` contains itself`;
      return this.#unreadable(alias, path, message, "Remove the alias");
    }
    this.targets.set(alias, target);
    return this.read(target, path);
  }

  #readMap(map: YAMLMap.Parsed, path: Path): unknown {
    const entries = new Map<string, unknown>();
    for (const { key, value } of map.items) {
      const name = keyName(key);
      if (name === undefined) {
        this.#complain(key ?? map, path, "has a key that is not a word", "Use plain words as keys");
        continue;
      }
      if (entries.has(name)) {
        const message = `the key \`${printable(name)}\` is there twice`;
        this.#complain(key, [...path, name], message, "Keep one of them");
      } else entries.set(name, this.read(value, [...path, name]));
    }
    return Object.fromEntries(entries);
  }

  #readList(list: YAMLSeq.Parsed, path: Path): unknown {
    return list.items.map((item, index) => this.read(item, [...path, index]));
  }

  #readScalar(node: Scalar.Parsed, path: Path): unknown {
    const { value } = node;
    if (typeof value !== "string") return value;
    const { text, isWhole, problems } = substitute(value, this.#environment);
    for (const { reference, message, remedy } of problems) {
      const offset = this.#text.indexOf(reference, node.range[0]);
      const inside = offset !== -1 && offset < node.range[1];
      this.problems.push({ path, message, remedy, offset: inside ? offset : node.range[0] });
    }
    if (problems.length > 0) this.unreadable.push(path);
    return isWhole && node.type === "PLAIN" ? plainScalar(text) : text;
  }

  /** For a value that is then null. */
  #unreadable(node: ParsedNode, path: Path, message: string, remedy: string): null {
    this.#complain(node, path, message, remedy);
    this.unreadable.push(path);
    return null;
  }

  #complain(node: ParsedNode, path: Path, message: string, remedy: string): void {
    this.problems.push({ path, message, remedy, offset: node.range[0] });
  }
}

/** The text of a key as data has it; undefined for one that no map of data can have. */
export function keyName(key: unknown): string | undefined {
  if (!isScalar(key) || key.value === "__proto__") return undefined;
  const { value } = key;
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? String(value)
    : undefined;
}
