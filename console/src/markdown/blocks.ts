/**
 * A text in Markdown that grows, cut into blocks: only the last of them is drawn again. Pure.
 *
 * @module
 */

import { blockTokensOf } from "./tokens.ts";

/** Nothing is hidden behind the last one: together they are the text. */
export interface Blocks {
  readonly text: string;
  readonly blocks: readonly string[];
}

export const NO_BLOCKS: Blocks = { text: "", blocks: [] };

/**
 * Cuts a text into blocks that can be drawn each by itself. Of a text that has grown, those before
 * the last two stay what they were, and are not read again.
 *
 * @param isWhole Nothing more comes: all is read once more, as what came last may change the first.
 */
export function blocksOf(written: string, before: Blocks, isWhole: boolean): Blocks {
  const text = written.replaceAll(/\r\n?/g, "\n");
  const goesOn = !isWhole && before.text !== "" && text.startsWith(before.text);
  const settled = goesOn ? before.blocks.slice(0, -2) : [];
  const rest = text.slice(settled.reduce((length, block) => length + block.length, 0));
  const tokens = blockTokensOf(rest);
  // What links refer to can stand anywhere, so such a text is one block. So is one of which the
  // lexer writes something its own way, as it does with tabs: its pieces are not those of the text.
  const isLinked = isWhole && Object.keys(tokens.links).length > 0;
  const isOne = isLinked || tokens.map(({ raw }) => raw).join("") !== rest;
  return { text, blocks: [...settled, ...(isOne ? [rest] : attached(tokens))] };
}

/** Characters before the end of a text in which half a link is looked for. */
const LONGEST_HALF_LINK = 2_000;

/** Blank lines belong to what they follow. */
function attached(tokens: readonly { readonly type: string; readonly raw: string }[]): string[] {
  const blocks: string[] = [];
  for (const { type, raw } of tokens) {
    const last = blocks.at(-1);
    if (type === "space" && last !== undefined) blocks[blocks.length - 1] = last + raw;
    else blocks.push(raw);
  }
  return blocks;
}

/**
 * The last block of a text that still grows, as it will look when it is closed, so that nothing
 * jumps when the closing mark comes: half a link shows its words, half a bold text is bold.
 */
export function mended(block: string): string {
  if (/^ {0,3}(?:```|~~~)/.test(block) || /^(?: {4}|\t)/.test(block)) return block;
  const from = Math.max(0, block.length - LONGEST_HALF_LINK);
  const end = block.slice(from).replace(/!?\[([^\]\n]*)(?:\]\([^)\s]*)?$/, "$1");
  const withoutLink = block.slice(0, from) + end;
  const outsideCode = withoutLink.replaceAll(/`[^`\n]*`/g, "");
  if (outsideCode.includes("`")) return `${withoutLink}\``;
  const trimmed = withoutLink.replace(/(?:\*{1,3}|_{1,3}|~~?)$/, "");
  const isOdd = (mark: string) =>
    (trimmed.replaceAll(/`[^`\n]*`/g, "").split(mark).length - 1) % 2 === 1;
  return isOdd("**") ? `${trimmed.trimEnd()}**` : trimmed;
}
