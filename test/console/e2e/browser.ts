/**
 * A real Chromium for tests of the page. A page that is opened here fails its test if it broke its
 * own policy: an error in its console, something that the Content-Security-Policy forbids, a request
 * to another origin.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { delimiter, join } from "node:path";
import axe from "axe-core";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { expect } from "vitest";

import { hasService } from "../../helpers/service.ts";

/** What was built of console/: `npm test` and `npm run check` see to it. */
export const BUILT_PAGE = pathToFileURL(join(import.meta.dirname, "../../../build/console/"));

/** Whether there is a browser; where `TEST_SERVICES` is `required` a missing one fails. */
export const hasChromium = hasService("chromium", "the package chromium");

/** Playwright looks for no programs. */
const CHROMIUM = (process.env["PATH"] ?? "")
  .split(delimiter)
  .map((directory) => join(directory, "chromium"))
  .find((path) => existsSync(path));

/** Long, for a machine that has much else to do; no test is about it. */
const WITHIN_MS = 60_000;

/** @param more Further arguments of Chromium. */
export async function startBrowser(
  more: readonly string[] = [],
): Promise<Browser & AsyncDisposable> {
  return await chromium.launch({
    ...(CHROMIUM !== undefined && { executablePath: CHROMIUM }),
    // In a container it runs as root, with little shared memory.
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", ...more],
  });
}

export interface WatchedPage extends AsyncDisposable {
  readonly page: Page;
  /** For what is expected to be refused, as a feed of a server that is gone. */
  readonly allow: (problem: RegExp) => void;
}

/** @param url Of the server, with a hash perhaps. */
export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<WatchedPage> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(WITHIN_MS);
  const problems: string[] = [];
  const allowed: RegExp[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    const isOwn = origin === new URL(url).origin || protocol === "data:" || protocol === "blob:";
    if (!isOwn) problems.push(`asked ${request.url()}`);
  });
  await page.goto(url);
  return {
    page,
    allow: (problem) => void allowed.push(problem),
    async [Symbol.asyncDispose]() {
      await context.close();
      const left = problems.filter((text) => !allowed.some((problem) => problem.test(text)));
      expect(left).toEqual([]);
    },
  };
}

/** A phone, as Chromium plays it. */
export const PHONE: BrowserContextOptions = {
  viewport: { width: 390, height: 844 },
  deviceScaleFactor: 2,
  isMobile: true,
  hasTouch: true,
};

/** Looks again and again, as long as a page with all else to do on the machine may take. */
export function eventually<Value>(look: () => Value, intervalMs = 100) {
  return expect.poll(look, { timeout: WITHIN_MS, interval: intervalMs });
}

/** A picture for who wants to look: where `SCREENSHOTS` names a folder. */
export async function screenshot(page: Page, name: string): Promise<void> {
  const folder = process.env["SCREENSHOTS"];
  if (folder !== undefined) await page.screenshot({ path: join(folder, `${name}.png`) });
}

interface AxeResult {
  readonly violations: readonly {
    readonly id: string;
    readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
  }[];
}

/** What axe finds wrong with the page as it is, in words; by all rules but the experimental ones. */
export async function axeViolations(page: Page): Promise<readonly string[]> {
  // Through the debugger: the page itself may run no such script.
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate<AxeResult>("axe.run(document)");
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary = "" }) => `${id}: ${html.slice(0, 200)} ${failureSummary}`),
  );
}
