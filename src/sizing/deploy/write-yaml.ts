/**
 * Trees to YAML, each reason as a comment above its value. Texts are quoted by the YAML library,
 * also where an older parser would take them for something else (`on`, `0o7`). Pure.
 *
 * @module
 */

import { Document, Pair, Scalar, YAMLMap, YAMLSeq } from "yaml";
import { isObject } from "../../lib/is-object.ts";
import {
  type Artefact,
  commentLines,
  Said,
  shownValue,
  type TracedValue,
  type Tree,
} from "./artefact.ts";

/** @param head Lines above the first document, which say what the file is. */
export function writeYaml(
  path: string,
  head: readonly string[],
  documents: readonly Tree[],
): Artefact {
  const values: TracedValue[] = [];
  const texts = documents.map((tree) => {
    const document = new Document(null, { compat: "yaml-1.1" });
    document.contents = nodeOf(tree, [], values) as never;
    return document.toString({ lineWidth: 0 });
  });
  const comment = head.map((line) => `# ${line}\n`).join("");
  return { path, text: `${comment}${texts.join("---\n")}`, values };
}

function nodeOf(
  tree: Tree,
  place: readonly string[],
  values: TracedValue[],
): Scalar | YAMLMap | YAMLSeq {
  if (tree instanceof Said) {
    const { value, why } = tree;
    values.push({ place, value: shownValue(value), why });
    const node = typeof value === "number" ? new Scalar(value) : nodeOf(value, place, values);
    return node;
  }
  if (Array.isArray(tree)) {
    const list = new YAMLSeq();
    list.items = (tree as readonly Tree[]).map((item, at) => {
      const node = nodeOf(item, [...place, nameOf(item) ?? String(at)], values);
      if (item instanceof Said) node.commentBefore = commentOf(item.why);
      return node;
    });
    list.flow = list.items.length === 0;
    return list;
  }
  if (typeof tree !== "object") return new Scalar(tree);
  const map = new YAMLMap();
  map.items = Object.entries(tree).flatMap(([key, value]) => {
    if (value === undefined) return [];
    const name = new Scalar(key);
    if (value instanceof Said) name.commentBefore = commentOf(value.why);
    return [new Pair(name, nodeOf(value, [...place, key], values))];
  });
  map.flow = map.items.length === 0;
  return map;
}

function commentOf(why: string): string {
  return commentLines(why)
    .map((line) => ` ${line}`)
    .join("\n");
}

/** What an item of a list is called, if it is. */
function nameOf(item: Tree): string | undefined {
  const name = isObject(item) ? item["name"] : undefined;
  return typeof name === "string" ? name : undefined;
}
