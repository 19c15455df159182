/**
 * Goal: an operator who opens the page sees what the replica carries, also when it is started again
 * under the page.
 * Method: a real server with real turns of the scripted model, a real Chromium.
 */
import type { Page, Request } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { monotonicMs } from "../../../src/lib/monotonic-clock.ts";
import { ask, post, stream } from "../../e2e/client.ts";
import { until } from "../../helpers/leaks.ts";
import { type InProcessServer, startServer } from "../../helpers/server.ts";
import { freePort } from "../../helpers/service.ts";
import { axeViolations, BUILT_PAGE, hasChromium, openPage, startBrowser } from "./browser.ts";

const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 500 }
rules:
  - when: { userText: hang }
    hangAfterTokens: 3
    reply:
      - tokens: 10
  - reply:
      - text: "You said: {{userText}}"
`;

/** (1400 - 400) / 500 = 2 turns, whatever else is on the machine. */
const TWO_TURNS = {
  "capacity.guard": "false",
  "capacity.admission": "static",
  "capacity.memoryLimit": "1400MiB",
  "agentProcess.endGrace": "500ms",
};

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true };

describe.skipIf(!hasChromium)("the load line", () => {
  let browser: Awaited<ReturnType<typeof startBrowser>>;
  let server: InProcessServer;
  beforeAll(async () => {
    browser = await startBrowser();
    server = await startServer({ script: SCRIPT, settings: TWO_TURNS, pageDirectory: BUILT_PAGE });
  });
  afterEach(async () => {
    await cancelAll(server);
    await until(() => server.gate.snapshot(monotonicMs()).inflight === 0, "every permit");
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    await browser?.close();
  });

  it("shows turns from their admission to their end, and says what was decided", async () => {
    await using opened = await openPage(browser, server.url);
    const { page } = opened;
    await page.getByRole("heading", { name: "No turn in flight, 2 fit" }).waitFor();

    await Promise.all([stream(server, "Hang"), stream(server, "Hang")]);
    await page.getByRole("heading", { name: "2 turns in flight: full" }).waitFor();
    const boxes = page.getByRole("button", { name: /^Turn of helper/ });
    await expect.poll(() => boxes.count()).toBe(2);

    const refused = await post(server, "One too many");
    expect(refused.status).toBe(429);
    await page.getByText("shed: memory").first().waitFor();
    expect(await page.getByText("admitted", { exact: true }).count()).toBe(2);

    await cancelAll(server);
    await page.getByRole("heading", { name: "No turn in flight, 2 fit" }).waitFor();
    await expect.poll(() => boxes.count()).toBe(0);
  });

  it("shows sessions at rest beside the cargo, for all readers, and leads to them", async () => {
    await using idle = await startServer({
      script: SCRIPT,
      settings: { "console.replicaName": "harbour-1" },
      pageDirectory: BUILT_PAGE,
    });
    await ask(idle, "Hello");
    await using opened = await openPage(browser, idle.url);
    const { page } = opened;
    await page.getByText("harbour-1").waitFor();
    await page.locator(".hull-idle", { hasText: "1 idle session: no process" }).waitFor();
    await ask(idle, "Hello again");
    await page.locator(".hull-idle", { hasText: "2 idle sessions: no process" }).waitFor();
    const words = /2 idle sessions: no process; transcripts take \d+ KiB of the disk\.$/;
    expect(await page.locator("figcaption").textContent()).toMatch(words);
    const line = page.locator(".manifest > div", { hasText: "Idle sessions" });
    expect(await line.textContent()).toMatch(
      /^Idle sessions2no process; transcripts take \d+ KiB of the disk$/,
    );
    expect(await axeViolations(page)).toEqual([]);
    await line.getByRole("link", { name: "Idle sessions" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Sessions", level: 1 }).waitFor();
  });

  it("shows the card of a turn to who uses a keyboard", async () => {
    await using opened = await openPage(browser, server.url);
    const { page } = opened;
    await Promise.all([stream(server, "Hang"), stream(server, "Hang")]);
    const boxes = page.getByRole("button", { name: /^Turn of helper/ });
    await expect.poll(() => boxes.count()).toBe(2);
    await boxes.first().focus();
    const card = page.locator(".hull-card");
    await card.getByText("predicted").waitFor();
    // It has been told of them, long before its end.
    await card.getByText(/^\d+ in, \d+ out$/).waitFor();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter");
    await card.getByRole("link", { name: "Show the turn" }).waitFor();
    expect(await boxes.nth(1).getAttribute("aria-pressed")).toBe("true");
    await page.keyboard.press("Escape");
    expect(await boxes.nth(1).getAttribute("aria-pressed")).toBe("false");
  });

  it.each([
    ["light", { colorScheme: "light" }],
    ["dark", { colorScheme: "dark" }],
    ["on a phone", { colorScheme: "light", ...PHONE }],
    ["on a dark phone", { colorScheme: "dark", ...PHONE }],
    // Half as wide for the page.
    ["in 200 % zoom", { viewport: { width: 640, height: 400 } }],
  ] as const)("is accessible and not wider than its window: %s", async (_name, options) => {
    await stream(server, "Hang");
    await using opened = await openPage(browser, server.url, options);
    const { page } = opened;
    await page.getByRole("button", { name: /^Turn of helper/ }).waitFor();
    for (const view of ["", "turns", "sessions", "chat", "fleet"]) {
      await page.goto(`${server.url}/#/${view}`);
      await page.getByRole("heading", { level: 1 }).waitFor();
      expect(await axeViolations(page), view).toEqual([]);
      const tooWide = "document.documentElement.scrollWidth - innerWidth";
      expect(await page.evaluate(tooWide), view).toBeLessThanOrEqual(0);
    }
  });

  it("does not move for who wants it still", async () => {
    await stream(server, "Hang");
    await using opened = await openPage(browser, server.url, { reducedMotion: "reduce" });
    await opened.page.getByRole("button", { name: /^Turn of helper/ }).waitFor();
    expect(await opened.page.evaluate("document.getAnimations().length")).toBe(0);
  });

  it("shows the figures of the time that is pointed at in all charts", async () => {
    await using opened = await openPage(browser, server.url);
    const { page } = opened;
    const chart = page.getByRole("img", { name: /^Turns: At most/ });
    await chart.waitFor();
    const times = page.locator(".chart time");
    expect(await times.allTextContents()).toEqual(["now", "now", "now", "now"]);
    // At its right there is what has just happened.
    const box = await chart.boundingBox();
    await chart.hover({ position: { x: (box?.width ?? 0) - 12, y: 60 } });
    await expect
      .poll(() => times.allTextContents())
      .toEqual(Array(4).fill(expect.stringMatching(/^\d\d:\d\d:\d\d$/)));
  });

  it("is not connected while nobody has seen it for half a minute", async () => {
    await using opened = await openPage(browser, server.url);
    const { page, allow } = opened;
    allow(/ERR_ABORTED/);
    await page.clock.install();
    await page.reload();
    await page.getByRole("heading", { name: "No turn in flight, 2 fit" }).waitFor();
    const isFeed = (request: Request) => request.url().endsWith("/v1/feed");
    const closed = page.waitForEvent("requestfailed", isFeed);
    await hide(page, true);
    await page.clock.fastForward(31_000);
    await closed;
    const again = page.waitForRequest(isFeed);
    await hide(page, false);
    await again;
  });

  it("goes on with the theme that was chosen", async () => {
    await using opened = await openPage(browser, server.url, { colorScheme: "light" });
    const { page } = opened;
    const colour = () => page.evaluate<string>("getComputedStyle(document.body).backgroundColor");
    const light = await colour();
    await page.getByRole("button", { name: /^Theme: auto/ }).click();
    await page.getByRole("button", { name: /^Theme: light/ }).click();
    await expect.poll(colour).not.toBe(light);
    const dark = await colour();
    await page.reload();
    await page.getByRole("button", { name: /^Theme: dark/ }).waitFor();
    expect(await colour()).toBe(dark);
  });
});

describe.skipIf(!hasChromium)("a replica that drains", () => {
  it("is said to, until its last turn has ended", async () => {
    await using browser = await startBrowser();
    await using server = await startServer({
      script: SCRIPT,
      settings: { ...TWO_TURNS, "drain.grace": "2m" },
      pageDirectory: BUILT_PAGE,
    });
    await stream(server, "Hang");
    await using opened = await openPage(browser, server.url);
    const { page, allow } = opened;
    allow(/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET/);
    await page.getByRole("button", { name: /^Turn of helper/ }).waitFor();
    const stopped = server.stop();
    await page.getByText("The replica is draining").waitFor();
    await page.getByRole("heading", { name: "1 turn in flight, and none are taken" }).waitFor();
    await cancelAll(server);
    await stopped;
    await page.getByText("The connection is lost").waitFor();
  });
});

describe.skipIf(!hasChromium)("a replica that is started again under the page", () => {
  it("is said to be gone, then to be another one, with nothing left of the old one", async () => {
    const settings = { ...TWO_TURNS, "listen.port": String(await freePort()) };
    const options = { script: SCRIPT, settings, pageDirectory: BUILT_PAGE };
    await using browser = await startBrowser();
    const first = await startServer(options);
    await using opened = await openPage(browser, first.url);
    const { page, allow } = opened;
    allow(/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET/);
    const response = await post(first, "Hello");
    expect(response.status).toBe(200);
    await response.text();
    await page.getByText("admitted", { exact: true }).first().waitFor();

    await first[Symbol.asyncDispose]();
    await page.getByText("The connection is lost").waitFor();

    await using _second = await startServer(options);
    await page.getByText("The replica has started again under this page").waitFor();
    await page.getByText("Nothing was decided yet").waitFor();
    expect(await page.getByText("The connection is lost").count()).toBe(0);
  });
});

/** As when another tab is chosen, which no debugger can do to a headless browser. */
async function hide(page: Page, isHidden: boolean): Promise<void> {
  await page.evaluate(`
    Object.defineProperty(document, "hidden", { configurable: true, value: ${isHidden} });
    document.dispatchEvent(new Event("visibilitychange"));
  `);
}

async function cancelAll({ url }: { readonly url: string }): Promise<void> {
  const answer = await fetch(`${url}/v1/turns`);
  const { turns } = (await answer.json()) as { turns: { turnId: string }[] };
  for (const { turnId } of turns)
    await fetch(`${url}/v1/turns/${turnId}/cancel`, { method: "POST" });
}
