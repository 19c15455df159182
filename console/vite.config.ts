/**
 * Builds the page into build/console/, from where the server sends it: `index.html` at `/`, all
 * else below `/console/`, under names that change with their content.
 *
 * @module
 */

import { defineConfig, type Plugin } from "vite";

/** A server that was started beside `npx vite console`, for what the page asks of it. */
const SERVER = "http://127.0.0.1:8080";

/** What follows the last class of marked: one of its own that is ready for use, and its exports. */
const READY_MADE = /var \w+=new \w+;function \w+\(\w+,\w+\)\{return \w+\.parse\(/;

/**
 * Of marked the page uses the lexer, and draws for itself. The package exports a parser that is ready
 * for use, so no bundler can leave out what writes HTML: 3 KiB gzipped that nobody calls.
 */
const LEXER_ALONE: Plugin = {
  name: "lexer-alone",
  apply: "build",
  transform: {
    filter: { id: /\/marked\/lib\/marked\.esm\.js$/ },
    handler(code) {
      const end = code.search(READY_MADE);
      const lexer = /\bexport\{.*?(\w+) as Lexer\b/.exec(code)?.[1];
      if (end < 0 || lexer === undefined) return this.error("marked is made in another way now");
      return { code: `${code.slice(0, end)}export{${lexer} as Lexer};`, map: null };
    },
  },
};

export default defineConfig({
  plugins: [LEXER_ALONE],
  base: "/console/",
  build: {
    outDir: "../build/console",
    emptyOutDir: true,
    target: "es2022",
    // The policy of the page knows no inline script, and nothing may be as old as to need this one.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: { proxy: { "/v1": SERVER, "/capacity": SERVER, "/console/session": SERVER } },
});
