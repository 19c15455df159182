/**
 * Goal: where the server has keys the page is an operator's, and a login that has ended costs nobody
 * their place.
 * Method: a real server with keys, a real Chromium.
 */
import { createHash } from "node:crypto";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { monotonicMs } from "../../../src/lib/monotonic-clock.ts";
import { stream } from "../../e2e/client.ts";
import { until } from "../../helpers/leaks.ts";
import { type InProcessServer, startServer } from "../../helpers/server.ts";
import { axeViolations, BUILT_PAGE, hasChromium, openPage, startBrowser } from "./browser.ts";

const SCRIPT = `
rules:
  - when: { userText: hang }
    hangAfterTokens: 3
    reply:
      - tokens: 10
  - reply:
      - text: "You said: {{userText}}"
`;
const OPERATOR = "operator-key-of-the-test-0123456789";
const NIGHT = "operator-key-of-the-night-0123456789";
const CALLER = "caller-key-of-the-test-0123456789";

const KEYS = `
auth:
  keys:
    - { id: ops, tenant: acme, role: operator, sha256: "${sha256(OPERATOR)}" }
    - { id: night, tenant: acme, role: operator, sha256: "${sha256(NIGHT)}" }
    - { id: web, tenant: acme, sha256: "${sha256(CALLER)}" }
`;

describe.skipIf(!hasChromium)("a page of a server with keys", () => {
  let browser: Awaited<ReturnType<typeof startBrowser>>;
  let server: InProcessServer;
  beforeAll(async () => {
    browser = await startBrowser();
    server = await startServer({ script: SCRIPT, serverFile: KEYS, pageDirectory: BUILT_PAGE });
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    await browser?.close();
  });

  it("asks for an operator's key, says why it takes no other, and logs out", async () => {
    await using opened = await openPage(browser, server.url);
    const { page, allow } = opened;
    allow(/status of 40[13]|ERR_INCOMPLETE_CHUNKED_ENCODING/);
    const dialog = page.getByRole("dialog", { name: "Log in" });
    await dialog.waitFor();
    expect(await axeViolations(page)).toEqual([]);
    for (const [key, problem] of [
      ["nobody-has-this-key-0123456789", "The server does not know this key."],
      [CALLER, "This key is no operator's"],
    ] as const) {
      await dialog.getByLabel("Key").fill(key);
      await dialog.getByRole("button", { name: "Log in" }).click();
      await dialog.getByText(problem).waitFor();
    }
    await dialog.getByLabel("Key").fill(OPERATOR);
    await page.keyboard.press("Enter");
    await dialog.waitFor({ state: "hidden" });
    await page.getByRole("heading", { name: /^No turn in flight/ }).waitFor();

    await page.getByRole("button", { name: "Log out ops" }).click();
    await dialog.waitFor();
    expect(await page.getByRole("heading", { name: /^No turn in flight/ }).count()).toBe(0);
  });

  it("asks again when the login has ended elsewhere, and goes on where it was", async () => {
    await using opened = await openPage(browser, `${server.url}/#/fleet`);
    const { page, allow } = opened;
    allow(/status of 401|ERR_INCOMPLETE_CHUNKED_ENCODING/);
    const dialog = page.getByRole("dialog", { name: "Log in" });
    await dialog.getByLabel("Key").fill(OPERATOR);
    await page.keyboard.press("Enter");
    await page.getByText(/^1 replica of 1/).waitFor();
    await endLogin(page);
    await dialog.waitFor();
    await dialog.getByLabel("Key").fill(OPERATOR);
    await page.keyboard.press("Enter");
    await dialog.waitFor({ state: "hidden" });
    await page.getByText(/^1 replica of 1/).waitFor();
    expect(new URL(page.url()).hash).toBe("#/fleet");
  });

  it.each([
    ["after a logout", logOut],
    ["where the login has ended", endLogin],
  ])(
    "leaves the next operator nothing of what the last one has not sent: %s",
    async (_when, end) => {
      await using full = await startServer({
        script: SCRIPT,
        serverFile: KEYS,
        pageDirectory: BUILT_PAGE,
        settings: { "capacity.memoryLimit": "8GiB", "capacity.maxTurns": "1" },
      });
      const turn = await stream(full, "Hang", { key: CALLER });
      await using opened = await openPage(browser, `${full.url}/#/chat`);
      const { page, allow } = opened;
      allow(/status of (?:401|429)|ERR_INCOMPLETE_CHUNKED_ENCODING/);
      const dialog = page.getByRole("dialog", { name: "Log in" });
      await dialog.getByLabel("Key").fill(OPERATOR);
      await page.keyboard.press("Enter");
      await page.getByLabel("Message", { exact: true }).fill("The words of ops");
      await page.keyboard.press("Enter");
      await page.getByText("it is sent again by itself").waitFor();
      await end(page);
      await dialog.waitFor();
      await dialog.getByLabel("Key").fill(NIGHT);
      await page.keyboard.press("Enter");
      await page.getByRole("button", { name: "Log out night" }).waitFor();
      turn.leave();
      await until(() => full.gate.snapshot(monotonicMs()).inflight === 0, "the end of the turn");
      await page.getByLabel("Message", { exact: true }).fill("The words of night");
      await page.keyboard.press("Enter");
      await page.locator(".prose", { hasText: "You said: The words of night" }).waitFor();
      expect(await page.getByText("The words of ops").count()).toBe(0);
      expect(await page.evaluate("JSON.stringify(sessionStorage)")).not.toContain("of ops");
      expect(JSON.stringify(full.asked)).not.toContain("of ops");
    },
  );
});

async function logOut(page: Page): Promise<void> {
  const loaded = page.waitForEvent("load");
  await page.getByRole("button", { name: "Log out ops" }).click();
  await loaded;
}

/** As another window of this browser does; the streams of this one end with it. */
async function endLogin(page: Page): Promise<void> {
  await page.evaluate(`fetch("/console/session", { method: "DELETE" })`);
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
