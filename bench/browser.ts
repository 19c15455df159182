/**
 * A real Chromium for benchmarks of the console.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, join } from "node:path";
import type * as Playwright from "playwright-core";
import { Unavailable } from "./result.ts";

/** What runs benchmarks cannot import it. */
const { chromium } = createRequire(import.meta.url)("playwright-core") as typeof Playwright;

/** @throws {Unavailable} */
export async function startBrowser(): Promise<Playwright.Browser & AsyncDisposable> {
  // Playwright looks for no programs.
  const executablePath = (process.env["PATH"] ?? "")
    .split(delimiter)
    .map((directory) => join(directory, "chromium"))
    .find((path) => existsSync(path));
  if (executablePath === undefined) {
    throw new Unavailable("there is no Chromium (Debian: apt-get install chromium)");
  }
  return await chromium.launch({
    executablePath,
    // In a container it runs as root, with little shared memory.
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
}

/** What a page holds when all that could be collected is. */
export interface PageWeight {
  readonly heapBytes: number;
  readonly nodes: number;
  readonly listeners: number;
}

export interface Scale {
  weigh(): Promise<PageWeight>;
}

export async function scaleOf(page: Playwright.Page): Promise<Scale> {
  const debug = await page.context().newCDPSession(page);
  await debug.send("Performance.enable");
  return {
    async weigh() {
      await debug.send("HeapProfiler.collectGarbage");
      const { metrics } = await debug.send("Performance.getMetrics");
      const valueOf = (name: string): number =>
        metrics.find((metric) => metric.name === name)?.value ?? Number.NaN;
      return {
        heapBytes: valueOf("JSHeapUsedSize"),
        nodes: valueOf("Nodes"),
        listeners: valueOf("JSEventListeners"),
      };
    },
  };
}
