/**
 * Reading Markdown, whatever it is: what would take too long, or cannot be read at all, is taken as it
 * is written. What a model says may not stop the page. Pure.
 *
 * @module
 */

import { Lexer, type Token, type TokensList } from "marked";

export const MARKDOWN_LIMITS = {
  /** Characters of a block that is no code: for some the parser takes the square of their length. */
  block: 20_000,
  /**
   * Characters of what is looked through for marks at a time, such as a paragraph, times its marks:
   * for each of them the parser may look through all that follows. So many take about 50 ms.
   */
  looks: 4_000_000,
  /** Quotes in quotes, lists in lists: deeper ones are shown as they are written. */
  depth: 50,
} as const;

/** All that there is in a text, down to the marks in its lines. */
export function tokensOf(text: string): readonly Token[] {
  return piecesOf(text).flatMap((piece): readonly Token[] => {
    return read(piece, (lexer) => lexer.lex(piece.text)) ?? plainTokens(piece.text);
  });
}

/** Its blocks alone, which is far quicker; what is in their lines is not read. */
export function blockTokensOf(text: string): TokensList {
  const tokens: TokensList = Object.assign([], { links: {} });
  for (const piece of piecesOf(text)) {
    const known = read(piece, (lexer) => {
      lexer.blockTokens(piece.text, lexer.tokens);
      return lexer.tokens;
    });
    // One by one: of a long text they are more than a call takes as arguments.
    for (const token of known ?? [plainBlock(piece)]) tokens.push(token);
    Object.assign(tokens.links, known?.links);
  }
  return tokens;
}

function plainBlock({ text }: Piece): Token {
  return { type: "text", raw: text, text };
}

interface Piece {
  readonly text: string;
  /** A single block, which is not to be read. */
  readonly isTooLong: boolean;
}

/** Null for what cannot be read. */
function read({ isTooLong }: Piece, how: (lexer: Lexer) => TokensList): TokensList | null {
  if (isTooLong) return null;
  try {
    // Lines end where the author ended them, as in what models and people write.
    return how(new QuickLexer({ gfm: true, breaks: true }));
  } catch {
    // The parser goes as deep as the text does, and throws where that is too deep.
    return null;
  }
}

class QuickLexer extends Lexer {
  override inlineTokens(src: string, tokens: Token[] = []): Token[] {
    const marks = src.replaceAll(/[^*_~!]+/g, "").length;
    if (src.length * marks <= MARKDOWN_LIMITS.looks) return super.inlineTokens(src, tokens);
    for (const token of plainTokens(src)) tokens.push(token);
    return tokens;
  }
}

/** As it is written, its lines apart. */
function plainTokens(text: string): Token[] {
  return text.split("\n").flatMap((line, index): Token[] => {
    const words: Token = { type: "text", raw: line, text: line };
    return index === 0 ? [words] : [{ type: "br", raw: "\n" }, words];
  });
}

/** The text in order, each block that is too long by itself. */
function piecesOf(text: string): Piece[] {
  // Most are short: there is nothing to cut.
  if (text.length <= MARKDOWN_LIMITS.block) return [{ text, isTooLong: false }];
  const pieces: Piece[] = [];
  for (const { text: block, isCode } of roughBlocks(text)) {
    const isTooLong = !isCode && block.length > MARKDOWN_LIMITS.block;
    const last = pieces.at(-1);
    // The parser knows better where a block ends, so it gets as much as possible at a time.
    if (last === undefined || last.isTooLong || isTooLong) pieces.push({ text: block, isTooLong });
    else pieces[pieces.length - 1] = { text: last.text + block, isTooLong: false };
  }
  return pieces;
}

const FENCE = /^ {0,3}(`{3,}(?=[^`]*$)|~{3,})/;

/** What stands between blank lines, and code between its fences. */
function roughBlocks(text: string): { text: string; isCode: boolean }[] {
  let block = { text: "", isCode: false };
  const blocks = [block];
  const next = (isCode: boolean) => blocks.push((block = { text: "", isCode }));
  let fence = "";
  for (const line of text.split(/(?<=\n)/)) {
    const mark = FENCE.exec(line)?.[1] ?? "";
    const isOpening = fence === "" && mark !== "";
    const isClosing = fence !== "" && mark.startsWith(fence) && line.trim() === mark;
    if (isOpening) next(true);
    block.text += line;
    if (isOpening) fence = mark;
    if (isClosing) fence = "";
    if (isClosing || (fence === "" && line.trim() === "")) next(false);
  }
  return blocks;
}
