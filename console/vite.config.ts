/**
 * Builds the page into build/console/, from where the server sends it: `index.html` at `/`, all
 * else below `/console/`, under names that change with their content.
 *
 * @module
 */

import { defineConfig } from "vite";

/** A server that was started beside `npx vite console`, for what the page asks of it. */
const SERVER = "http://127.0.0.1:8080";

export default defineConfig({
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
