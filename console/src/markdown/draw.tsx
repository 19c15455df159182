/**
 * Markdown drawn as elements of the page, one by one: nothing that a model writes is ever taken for
 * HTML, so there is nothing to sanitise. A model repeats what others wrote: its words are a
 * stranger's. What they hold of HTML is shown as it is written.
 *
 * @module
 */

import type { MarkedToken, Token, Tokens } from "marked";
import type { ComponentChildren } from "preact";
import { MARKDOWN_LIMITS } from "./tokens.ts";

/**
 * Elements for the tokens of a text, in their order.
 *
 * @param depth Of these tokens, in others.
 */
export function drawTokens(tokens: readonly Token[] | undefined, depth = 0): ComponentChildren[] {
  const all = tokens ?? [];
  if (depth > MARKDOWN_LIMITS.depth) return all.map(({ raw }) => raw);
  return all.map((token) => drawToken(token as MarkedToken, depth + 1));
}

/** @param depth Of what is in the token. */
function drawToken(token: MarkedToken, depth: number): ComponentChildren {
  switch (token.type) {
    case "heading":
      return drawHeading(token, depth);
    case "paragraph":
      return <p>{drawTokens(token.tokens, depth)}</p>;
    case "code":
      // What is wide scrolls, and what scrolls has to be reached by keyboard.
      return (
        <pre tabIndex={0}>
          <code>{token.text}</code>
        </pre>
      );
    case "blockquote":
      return <blockquote>{drawTokens(token.tokens, depth)}</blockquote>;
    case "list":
      return drawList(token, depth);
    case "table":
      return drawTable(token, depth);
    case "hr":
      return <hr />;
    case "space":
    case "def":
      return null;
    case "html":
      return /^<br\s*\/?>$/i.test(token.raw.trim()) ? <br /> : token.raw;
    default:
      return drawInline(token, depth);
  }
}

function drawInline(token: MarkedToken, depth: number): ComponentChildren {
  switch (token.type) {
    case "strong":
      return <strong>{drawTokens(token.tokens, depth)}</strong>;
    case "em":
      return <em>{drawTokens(token.tokens, depth)}</em>;
    case "del":
      return <del>{drawTokens(token.tokens, depth)}</del>;
    case "codespan":
      return <code>{token.text}</code>;
    case "br":
      return <br />;
    case "checkbox":
      return <input type="checkbox" checked={token.checked} disabled aria-label="Done" />;
    case "link":
      return drawLink(token.href, drawTokens(token.tokens, depth));
    case "image":
      return drawImage(token);
    case "text":
      return token.tokens === undefined ? textOf(token.text) : drawTokens(token.tokens, depth);
    case "escape":
      return token.text;
    default:
      return token.raw; // A newer parser may know more.
  }
}

/** Below the one of the page, and never a level left out before it. */
function drawHeading(heading: Tokens.Heading, depth: number): ComponentChildren {
  const inner = drawTokens(heading.tokens, depth);
  return heading.depth <= 2 ? <h2>{inner}</h2> : <h3>{inner}</h3>;
}

function drawList({ ordered, start, items }: Tokens.List, depth: number): ComponentChildren {
  const drawn = items.map((item) => <li>{drawTokens(item.tokens, depth)}</li>);
  return ordered ? <ol start={Number(start) || 1}>{drawn}</ol> : <ul>{drawn}</ul>;
}

function drawTable({ header, rows }: Tokens.Table, depth: number): ComponentChildren {
  return (
    <div class="prose-table" tabIndex={0} role="group" aria-label="Table">
      <table>
        <thead>
          <tr>
            {header.map(({ tokens, align }) => (
              <th class={align === null ? undefined : `prose-${align}`}>
                {drawTokens(tokens, depth)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((cells) => (
            <tr>
              {cells.map(({ tokens, align }) => (
                <td class={align === null ? undefined : `prose-${align}`}>
                  {drawTokens(tokens, depth)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** One that leads nowhere good is only its words. It opens beside the page, which goes on. */
function drawLink(href: string, words: ComponentChildren): ComponentChildren {
  const address = addressOf(href);
  if (address === null) return <span>{words}</span>;
  return (
    <a href={address} target="_blank" rel="noopener noreferrer nofollow">
      {words}
    </a>
  );
}

/** With its scheme said: an address within this server is nothing that a model should point to. */
function addressOf(href: string): string | null {
  if (!URL.canParse(href)) return null;
  const { protocol, href: address } = new URL(href);
  return ["https:", "http:", "mailto:"].includes(protocol) ? address : null;
}

const OWN_IMAGE = /^data:image\/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+$/;

/** The page loads nothing from elsewhere: a picture there is a link that the reader may follow. */
function drawImage({ href, text }: Tokens.Image): ComponentChildren {
  const words = textOf(text);
  if (OWN_IMAGE.test(href)) return <img src={href} alt={words} loading="lazy" />;
  return drawLink(href, `🖼 ${words === "" ? "picture" : words}`);
}

const ENTITIES: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  nbsp: "\u00A0",
  hellip: "…",
  ndash: "–",
  mdash: "—",
  rarr: "→",
  times: "×",
};

/** Text with the entities that are written by hand as what they stand for. */
function textOf(text: string): string {
  return text.replaceAll(
    /&(?:#(\d{1,7})|#x([\da-f]{1,6})|([a-z]+));/gi,
    (whole, tens, hex, name) => {
      if (name !== undefined) return ENTITIES[name as string] ?? whole;
      const code = tens === undefined ? Number.parseInt(hex as string, 16) : Number(tens);
      return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    },
  );
}
