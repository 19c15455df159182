/**
 * Goal: whatever a model writes, the page runs none of it, loads nothing from elsewhere and is not
 * passed for something else; and it looks the same written at once or piece by piece.
 * Method: hostile and random Markdown through the real parser and sanitiser, in a document of jsdom.
 */

import * as fc from "fast-check";
import { JSDOM } from "jsdom";
import { describe, expect, it } from "vitest";

import { blocksOf, createMarkdown, mended, NO_BLOCKS } from "../../console/src/markdown.ts";

const ORIGIN = "http://127.0.0.1:8080";
const { window } = new JSDOM("", { url: ORIGIN });
const toHtml = createMarkdown(window, ORIGIN);

function drawn(text: string): HTMLElement {
  const element = window.document.createElement("div");
  element.innerHTML = toHtml(text);
  return element;
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

const ATTRIBUTES = new Set(
  "href src alt title align start type checked disabled target rel tabindex loading".split(" "),
);

const ACTING =
  "FORM IFRAME SCRIPT STYLE SVG MATH BUTTON DIALOG VIDEO LINK META BASE TEXTAREA SELECT".split(" ");

function expectHarmless(element: HTMLElement): void {
  for (const node of element.querySelectorAll("*")) {
    const others = node.getAttributeNames().filter((name) => !ATTRIBUTES.has(name));
    expect(others, node.outerHTML).toEqual([]);
    expect(ACTING).not.toContain(node.tagName.toUpperCase());
  }
  for (const link of element.querySelectorAll("a[href]")) {
    expect((link as HTMLAnchorElement).protocol).toMatch(/^(?:https?|mailto):$/);
    expect(link.getAttribute("rel")).toContain("noopener");
    expect(link.getAttribute("target")).toBe("_blank");
  }
  for (const image of element.querySelectorAll("img")) {
    expect(image.getAttribute("src")).toMatch(/^data:image\/(?:png|jpeg|gif|webp);base64,/);
  }
}

describe("Markdown of a stranger", () => {
  it.each(HOSTILE)("does no harm: %s", (text) => {
    expectHarmless(drawn(text));
    expectHarmless(drawn(`> - **a** ${text}\n\n| a |\n|---|\n| ${text} |`));
  });

  it("does no harm, whatever it is put together from", () => {
    const piece = fc.oneof(
      fc.constantFrom(...HOSTILE),
      fc.constantFrom("<", ">", '"', "`", "```\n", "\n\n", "](", "[", "![", "<!--", "-->", "&lt;"),
      fc.string({ maxLength: 5 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        expectHarmless(drawn(pieces.join("")));
      }),
      { numRuns: 300 },
    );
  });

  it("shows a picture that it does not load as a link with its words", () => {
    const link = drawn("![A ship](https://example.com/ship.png)").querySelector("a");
    expect(link?.href).toBe("https://example.com/ship.png");
    expect(link?.textContent).toContain("A ship");
  });

  it("formats what is meant to be formatted", () => {
    const element = drawn(
      "# Title\n\n- [x] done\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```ts\nlet a;\n```",
    );
    const tags = ["h1", "li input[disabled]", "table td", "pre[tabindex] code"];
    for (const tag of tags) expect(element.querySelector(tag), tag).not.toBeNull();
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
        expect(whole.blocks.map(toHtml).join("").replaceAll(/\s+/g, " ")).toBe(
          toHtml(text).replaceAll(/\s+/g, " "),
        );
      }),
      { numRuns: 300 },
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
});
