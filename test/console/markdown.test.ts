/**
 * Goal: whatever a model writes, the page runs none of it, loads nothing from elsewhere and is not
 * passed for something else; and it looks the same written at once or piece by piece.
 * Method: hostile and random Markdown through the real parser; each element and attribute that the
 * page would get is looked at.
 */

import * as fc from "fast-check";
import type { ComponentChildren, VNode } from "preact";
import { describe, expect, it } from "vitest";

import { blocksOf, mended, NO_BLOCKS } from "../../console/src/markdown/blocks.ts";
import { drawTokens } from "../../console/src/markdown/draw.tsx";
import { blockTokensOf, MARKDOWN_LIMITS, tokensOf } from "../../console/src/markdown/tokens.ts";

interface Element {
  readonly tag: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly inner: readonly (Element | string)[];
}

/** What the page would be made of. */
function elementsOf(node: ComponentChildren): (Element | string)[] {
  if (node === null || node === undefined || typeof node === "boolean") return [];
  if (Array.isArray(node)) return node.flatMap(elementsOf);
  if (typeof node !== "object") return [String(node)];
  const { type, props } = node as VNode<Record<string, unknown>>;
  const { children, ...attributes } = props;
  return [{ tag: String(type), attributes, inner: elementsOf(children) }];
}

function drawn(text: string): (Element | string)[] {
  return elementsOf(drawTokens(tokensOf(text)));
}

function allOf(elements: readonly (Element | string)[]): Element[] {
  return elements.flatMap((one) => (typeof one === "string" ? [] : [one, ...allOf(one.inner)]));
}

function textOf(elements: readonly (Element | string)[]): string {
  return elements.map((one) => (typeof one === "string" ? one : textOf(one.inner))).join("");
}

const HOSTILE = [
  "<script>alert(1)</script>",
  '<img src=x onerror="alert(1)">',
  "<svg onload=alert(1)><use href=data:image/svg+xml,x></svg>",
  '<iframe src="https://evil.example"></iframe>',
  '<form action="/v1/x"><input name=key><button>Log in</button></form>',
  "[click](javascript:alert(1))",
  "[click](JaVaScRiPt:alert(1))",
  "[click](java\tscript:alert(1))",
  "[click](vbscript:x)",
  "[click](data:text/html,<script>alert(1)</script>)",
  "[click](file:///etc/passwd)",
  '<a href="javascript:alert(1)">x</a>',
  '<a href="&#106;avascript:alert(1)">x</a>',
  '<style>body{display:none}</style><p style="position:fixed">x</p>',
  "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
  '<p id="main" name="session" class="banner" data-x=1>x</p>',
  "![tracking](https://evil.example/pixel.gif)",
  "![own](/v1/sessions)",
  "![svg](data:image/svg+xml;base64,PHN2Zz4=)",
  '<img srcset="https://evil.example/a 2x" src="data:image/png;base64,AAAA">',
  '<video src="https://evil.example/a.mp4" poster="https://evil.example/b">',
  '<link rel="stylesheet" href="https://evil.example/a.css">',
  '<base href="https://evil.example/"><meta http-equiv="refresh" content="0;url=//evil.example">',
  '<button onclick="alert(1)">Delete</button><dialog open>Log in</dialog>',
];

/** Without the white space that nobody sees. */
function seen(elements: readonly (Element | string)[]): unknown[] {
  return elements.flatMap((one): unknown[] => {
    if (typeof one !== "string") return [{ ...one, inner: seen(one.inner) }];
    const text = one.replaceAll(/\s+/g, " ").trim();
    return text === "" ? [] : [text];
  });
}

const TAGS =
  "p br hr h2 h3 strong em del code pre blockquote ul ol li a img span div input table thead tbody tr th td";
const ATTRIBUTES =
  "class href src alt target rel tabIndex loading start type checked disabled role aria-label";

function expectHarmless(text: string): void {
  for (const { tag, attributes } of allOf(drawn(text))) {
    expect(TAGS.split(" "), tag).toContain(tag);
    for (const name of Object.keys(attributes)) expect(ATTRIBUTES.split(" ")).toContain(name);
    if (tag === "a") {
      expect(new URL(String(attributes["href"])).protocol).toMatch(/^(?:https?|mailto):$/);
      expect(attributes["rel"]).toContain("noopener");
      expect(attributes["target"]).toBe("_blank");
    }
    if (tag === "img") {
      expect(attributes["src"]).toMatch(/^data:image\/(?:png|jpeg|gif|webp);base64,/);
    }
    if (tag === "input") expect(attributes).toMatchObject({ type: "checkbox", disabled: true });
    if (attributes["class"] !== undefined) expect(attributes["class"]).toMatch(/^prose-/);
  }
}

describe("Markdown of a stranger", () => {
  it.each(HOSTILE)("does no harm: %s", (text) => {
    expectHarmless(text);
    expectHarmless(`> - **a** ${text}\n\n| a |\n|---|\n| ${text} |`);
  });

  it("does no harm, whatever it is put together from", () => {
    const piece = fc.oneof(
      fc.constantFrom(...HOSTILE),
      fc.constantFrom("<", ">", '"', "`", "```\n", "\n\n", "](", "[", "![", "<!--", "-->", "&lt;"),
      fc.string({ maxLength: 5 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        expectHarmless(pieces.join(""));
      }),
      { numRuns: 1_000 },
    );
  });

  it("shows HTML as it is written", () => {
    const text = 'Use <script src="x"> here & <b>there</b>';
    expect(textOf(drawn(text))).toBe(text);
  });

  it("shows a picture that it does not load as a link with its words", () => {
    const [link] = allOf(drawn("![A ship](https://example.com/ship.png)")).slice(1);
    expect(link).toMatchObject({ tag: "a", attributes: { href: "https://example.com/ship.png" } });
    expect(textOf(link?.inner ?? [])).toContain("A ship");
  });

  it("formats what is meant to be formatted", () => {
    const text =
      "# Title\n\n- [x] done\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n```ts\nlet a = b < c;\n```\n\n3. three";
    const tags = allOf(drawn(text)).map(({ tag }) => tag);
    for (const tag of ["h2", "input", "table", "td", "pre", "code", "ol"]) {
      expect(tags).toContain(tag);
    }
    expect(textOf(drawn(text))).toContain("let a = b < c;");
  });

  it("reads entities as what they stand for, but for those in code", () => {
    expect(textOf(drawn("a &lt; b &#8211; c &#x2192; d &unknown;"))).toBe(
      "a < b – c → d &unknown;",
    );
    expect(textOf(drawn("`&lt;`"))).toBe("&lt;");
    expect(() => drawn("&#x110000; &#99999999; &#0;")).not.toThrow();
  });
});

describe("Markdown that would stop the page", () => {
  it.each([
    ["quotes in quotes, deeper than can be read", `${">".repeat(20_000)}a`],
    ["lists in lists, deeper than can be read", `${"- ".repeat(20_000)}a`],
    ["marks that each look for their end", `**b** ${"_a*".repeat(3_000)}`],
    ["a paragraph that is longer than any", "**a** ".repeat(4_000).trim()],
    ["a list that is longer than any", "- **a**\n".repeat(3_000).trim()],
  ])("is shown as it is written: %s", (_what, text) => {
    for (const { tag } of allOf(drawn(text))) expect(["p", "br"]).toContain(tag);
    expect(textOf(drawn(text))).toBe(text.replaceAll("\n", ""));
    expect(blocksOf(text, NO_BLOCKS, false).blocks).toEqual([text]);
    expect(blocksOf(text, NO_BLOCKS, true).blocks).toEqual([text]);
  });

  it("keeps the ends of its lines", () => {
    const text = "**a** is\n".repeat(3_000).trim();
    expect(allOf(drawn(text)).map(({ tag }) => tag)).toEqual(Array(2_999).fill("br"));
  });

  it("is drawn down to some depth, and below it shown as it is written", () => {
    const { depth } = MARKDOWN_LIMITS;
    const elements = drawn(`${"> ".repeat(depth + 10)}**a**`);
    const tags = allOf(elements).map(({ tag }) => tag);
    expect(new Set(tags)).toEqual(new Set(["blockquote"]));
    expect(tags).toHaveLength(depth + 1);
    expect(textOf(elements)).toBe(`${"> ".repeat(9)}**a**`);
  });

  it("is none where much is written, and each piece of it is short or code", () => {
    const list = drawn("- **a** is b\n\n".repeat(3_000));
    expect(allOf(list).filter(({ tag }) => tag === "strong")).toHaveLength(3_000);
    const code = "let a = b * c * d;\n".repeat(3_000).trim();
    const text = `It is **this**:\n\`\`\`ts\n${code}\n\`\`\`\nor **that**`;
    const elements = drawn(text);
    expect(elements.map((one) => (typeof one === "string" ? one : one.tag))).toEqual([
      "p",
      "pre",
      "p",
    ]);
    expect(textOf(elements)).toBe(`It is this:${code}or that`);
    expect(blocksOf(text, NO_BLOCKS, false).blocks.join("")).toBe(text);
  });

  it("is none where there are many blocks", () => {
    const text = "a\n\n".repeat(150_000);
    expect(blocksOf(text, NO_BLOCKS, true).blocks).toHaveLength(150_000);
  });

  it("leaves what is before and after it as it is", () => {
    const long = "*a* ".repeat(6_000).trim();
    const text = `**Before**\n\n${long}\n\n**After**`;
    expect(blocksOf(text, NO_BLOCKS, true).blocks.map(drawn).map(textOf)).toEqual([
      "Before",
      expect.stringContaining(long),
      "After",
    ]);
  });

  it("has its lines read once: where a block ends is found out without them", () => {
    const [paragraph] = blockTokensOf("It is **bold**.");
    expect(paragraph).toMatchObject({ type: "paragraph", tokens: [] });
  });
});

const words = fc.constantFrom(
  "a ",
  "**bold** ",
  "`code` ",
  "\n",
  "\n\n",
  "- item\n",
  "1. one\n",
  "> quote\n",
  "# head\n",
  "```\ncode\n```\n",
  "```\n",
  "    indented\n",
  "| a | b |\n|---|---|\n| 1 | 2 |\n",
  "---\n",
  "===\n",
  "<b>html</b>",
  "[link](https://example.com) ",
  "[ref][1] ",
  "\n[1]: https://example.com\n",
  "\t",
  "\r\n",
);
const markdown = fc.array(words, { maxLength: 14 }).map((all) => all.join(""));

function withPlainEnds(text: string): string {
  return text.replaceAll(/\r\n|\r/g, "\n");
}

describe("a text in blocks", () => {
  it("is all of the text, however it grew, and looks as if written at once", () => {
    fc.assert(
      fc.property(markdown, fc.array(fc.nat(80), { maxLength: 6 }), (text, cuts) => {
        let blocks = NO_BLOCKS;
        for (const cut of cuts.sort((one, other) => one - other)) {
          blocks = blocksOf(text.slice(0, cut), blocks, false);
          expect(blocks.blocks.join("")).toBe(withPlainEnds(text.slice(0, cut)));
        }
        const whole = blocksOf(text, NO_BLOCKS, true);
        expect(whole.blocks.join("")).toBe(withPlainEnds(text));
        expect(blocksOf(text, blocks, true)).toEqual(whole);
        expect(seen(whole.blocks.flatMap(drawn))).toEqual(seen(drawn(text)));
      }),
      { numRuns: 1_000 },
    );
  });

  it("keeps what is drawn already", () => {
    const before = blocksOf("One.\n\nTwo.\n\nThree.\n\nFo", NO_BLOCKS, false);
    const after = blocksOf("One.\n\nTwo.\n\nThree.\n\nFour.", before, false);
    expect(after.blocks.slice(0, 3)).toEqual(before.blocks.slice(0, 3));
  });
});

describe("the end of a text that still grows", () => {
  it.each([
    ["It is **bol", "It is **bol**"],
    ["It is **bold**", "It is **bold**"],
    ["It is **", "It is "],
    ["Run `npm st", "Run `npm st`"],
    ["See [the docs](https://exa", "See the docs"],
    ["See [the docs](https://example.com).", "See [the docs](https://example.com)."],
    ["```\nlet a = `x", "```\nlet a = `x"],
  ])("looks as it will: %s", (block, expected) => {
    expect(mended(block)).toBe(expected);
  });

  it("looks as it will behind much else, too", () => {
    const before = "a ".repeat(9_000);
    expect(mended(`${before}[the docs](https://exa`)).toBe(`${before}the docs`);
  });
});
