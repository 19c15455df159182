/**
 * Markdown of a model as HTML that can do no harm: a model repeats what others wrote, so its words
 * are a stranger's. What is written while more is coming is cut into blocks, so that only the last
 * of them is drawn again.
 *
 * @module
 */

import createDOMPurify, { type Config, type DOMPurify, type WindowLike } from "dompurify";
import { Marked } from "marked";

const marked = new Marked({ gfm: true, breaks: true });

/** Everything that formats, nothing that acts, loads, names an element or looks like the page. */
const CONFIG: Config = {
  ALLOWED_TAGS: [
    ..."p br hr h1 h2 h3 h4 h5 h6 strong em del s code pre blockquote ul ol li a img".split(" "),
    ..."table thead tbody tr th td sup sub kbd input".split(" "),
  ],
  ALLOWED_ATTR: ["href", "src", "alt", "title", "align", "start", "type", "checked", "disabled"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  // Of what names no scheme at all, it is that of the page.
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|[^a-z]|[a-z+.-]+(?:[^a-z+.\-:]|$))/i,
};

/** @param window That of the page; of a test, one of jsdom. */
export function createMarkdown(window: WindowLike, origin: string): (text: string) => string {
  const purify = createDOMPurify(window);
  addHooks(purify, origin);
  return (text) => purify.sanitize(marked.parse(text, { async: false }), CONFIG);
}

function addHooks(purify: DOMPurify, origin: string): void {
  purify.addHook("afterSanitizeAttributes", (node) => {
    if (node.tagName === "A") guardLink(node);
    if (node.tagName === "IMG") guardImage(node, origin);
    if (node.tagName === "INPUT") guardInput(node);
    // A wide one scrolls, and what scrolls has to be reached by keyboard.
    if (node.tagName === "PRE" || node.tagName === "TABLE") node.setAttribute("tabindex", "0");
  });
}

function guardLink(link: Element): void {
  const href = link.getAttribute("href");
  // Data is for images: as a link it would be a page of the model's own.
  if (href === null || /^\s*data:/i.test(href)) {
    link.removeAttribute("href");
    return;
  }
  // An address of this page would change what is shown, as if the user had asked for it.
  link.setAttribute("target", "_blank");
  link.setAttribute("rel", "noopener noreferrer nofollow");
}

/** The page loads nothing from elsewhere: a picture there is a link that the user may follow. */
function guardImage(image: Element, origin: string): void {
  const source = image.getAttribute("src") ?? "";
  if (OWN_IMAGE.test(source)) return image.setAttribute("loading", "lazy");
  const link = image.ownerDocument.createElement("a");
  const address = addressOf(source, origin);
  if (address !== null) {
    link.setAttribute("href", address);
    guardLink(link);
  }
  link.textContent = `🖼 ${image.getAttribute("alt") || source || "picture"}`;
  image.replaceWith(link);
}

const OWN_IMAGE = /^data:image\/(?:png|jpeg|gif|webp);base64,/;

function addressOf(source: string, origin: string): string | null {
  try {
    const url = new URL(source, origin);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}

/** Those of task lists, which nobody can tick. */
function guardInput(input: Element): void {
  if (input.getAttribute("type") !== "checkbox") return input.remove();
  input.setAttribute("disabled", "");
}

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
  const tokens = marked.lexer(rest);
  // What links refer to can stand anywhere, so such a text is one block. So is one of which the
  // lexer writes something its own way, as it does with tabs: its pieces are not those of the text.
  const isLinked = isWhole && Object.keys(tokens.links).length > 0;
  const isOne = isLinked || tokens.map(({ raw }) => raw).join("") !== rest;
  return { text, blocks: [...settled, ...(isOne ? [rest] : attached(tokens))] };
}

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
  const withoutLink = block.replace(/!?\[([^\]\n]*)(?:\]\([^)\s]*)?$/, "$1");
  const outsideCode = withoutLink.replaceAll(/`[^`\n]*`/g, "");
  if (outsideCode.includes("`")) return `${withoutLink}\``;
  const trimmed = withoutLink.replace(/(?:\*{1,3}|_{1,3}|~~?)$/, "");
  const isOdd = (mark: string) =>
    (trimmed.replaceAll(/`[^`\n]*`/g, "").split(mark).length - 1) % 2 === 1;
  return isOdd("**") ? `${trimmed.trimEnd()}**` : trimmed;
}
