/**
 * Trees to YAML, each reason as a comment above its value. Texts are quoted by the YAML library,
 * also where an older parser would take them for something else (`on`, `0o7`). Pure.
 *
 * @module
 */

import { Document, Pair, Scalar, YAMLMap, YAMLSeq } from "yaml";
import { formatPath } from "../../lib/diagnostics.ts";
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

type Place = readonly (string | number)[];

function nodeOf(tree: Tree, place: Place, values: TracedValue[]): Scalar | YAMLMap | YAMLSeq {
  if (tree instanceof Said) {
    const { value, why } = tree;
    values.push({ place: formatPath(place), value: shownValue(value), why });
    const node = typeof value === "number" ? new Scalar(value) : nodeOf(value, place, values);
    // Above an item of a list; above the key elsewhere, which is the caller's to say.
    if (typeof place.at(-1) === "number") node.commentBefore = commentOf(why);
    return node;
  }
  if (Array.isArray(tree)) {
    const list = new YAMLSeq();
    list.items = (tree as readonly Tree[]).map((item, at) => nodeOf(item, [...place, at], values));
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
