/**
 * Goal: an operator finds a session, reads it, takes it with them, keeps it and deletes it; and sees
 * of another tenant what the HTTP interface lets an operator see, and no more.
 * Method: a real Chromium at a real server, with and without keys.
 */

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { makeSessions, readRealTranscript } from "../../../src/sizing/measure/made-sessions.ts";
import { ask } from "../../e2e/client.ts";
import { startServer } from "../../helpers/server.ts";
import {
  axeViolations,
  BUILT_PAGE,
  eventually,
  hasChromium,
  openPage,
  PHONE,
  screenshot,
  startBrowser,
} from "./browser.ts";

const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 500 }
rules:
  - when: { afterTool: true }
    reply:
      - text: "The tool says: **{{toolResult}}**"
  - when: { userText: add }
    reply:
      - text: "I add them. "
      - tool: { name: add, input: { a: 2, b: 3 } }
  - reply:
      - text: "You said: {{userText}}"
`;

const AGENT = `
name: helper
instructions: You are a test.
tools: { functions: [$FIXTURES/tools.js] }
`;

const KEYS = { acme: "key-of-acme", umbrella: "key-of-umbrella" };

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

const WITH_KEYS = `
auth:
  keys:
    - { id: acme-ops, tenant: acme, role: operator, sha256: "${sha256(KEYS.acme)}" }
    - { id: umbrella-ops, tenant: umbrella, role: operator, sha256: "${sha256(KEYS.umbrella)}" }
`;

let browser: Browser;

describe.skipIf(!hasChromium)("the view of sessions", () => {
  beforeAll(async () => {
    browser = await startBrowser();
  });
  afterAll(async () => browser?.close());

  it("finds one, reads it, exports it, goes on with it, keeps it and deletes it", async () => {
    await using server = await startWith({});
    await ask(server, "Please add", { threadId: "the sum" });
    await ask(server, "Hello", { threadId: "a greeting" });
    await using watched = await openPage(browser, `${server.url}/#/sessions`);
    const { page, allow } = watched;
    await eventually(() => namesOf(page)).toEqual(["a greeting", "the sum"]);
    await screenshot(page, "sessions-light");
    expect(await axeViolations(page)).toEqual([]);
    await page.getByRole("searchbox").fill("SUM");
    await eventually(() => namesOf(page)).toEqual(["the sum"]);
    await page.getByRole("link", { name: "the sum" }).click();

    await page.getByText("The tool says: The sum is 5").waitFor();
    await page.locator(".fold-tool summary").click();
    await page.getByText("The sum is 5", { exact: true }).last().waitFor();
    await screenshot(page, "session-light");
    expect(await axeViolations(page)).toEqual([]);

    const download = page.waitForEvent("download");
    await page.getByRole("link", { name: "Export" }).click();
    const exported = await readFile(await (await download).path(), "utf8");
    const lines = exported
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { type: string });
    expect(lines.map(({ type }) => type)).toContain("assistant");

    await page.getByRole("button", { name: "Put on hold" }).click();
    await page.getByText("on hold", { exact: true }).waitFor();
    allow(/Failed to load resource: .* 409/);
    await page.getByRole("button", { name: "Delete" }).click();
    await screenshot(page, "session-delete");
    await page.getByRole("button", { name: "Delete it" }).click();
    await page.getByText("session_on_hold").waitFor();
    await page.getByRole("button", { name: "Take off hold" }).click();
    await page.getByText("It is off hold.").waitFor();

    await page.getByRole("link", { name: "Go on in the chat" }).click();
    await page.getByLabel("Message", { exact: true }).fill("And now hello");
    await page.keyboard.press("Enter");
    await page.locator(".prose", { hasText: "You said: And now hello" }).waitFor();
    await page.locator(".talk-end").waitFor();
    await page.getByRole("link", { name: "Session of this conversation" }).click();
    await page.getByText("2 turns").waitFor();

    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("button", { name: "Keep it" }).click();
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("button", { name: "Delete it" }).click();
    await eventually(() => namesOf(page)).toEqual(["a greeting"]);
  });

  it("is used by the keyboard alone, dialogs too", async () => {
    await using server = await startWith({});
    await ask(server, "Please add", { threadId: "the sum" });
    await ask(server, "Hello", { threadId: "a greeting" });
    await using watched = await openPage(browser, server.url);
    const { page, allow } = watched;
    const { keyboard } = page;
    allow(/Failed to load resource: .* 404/);
    await page.getByRole("heading", { level: 1 }).waitFor();
    const pressed = (...keys: string[]) =>
      keys.reduce((before, key) => before.then(() => keyboard.press(key)), Promise.resolve());
    /** As often as it takes: what lies in between must let go of the focus. */
    const tabTo = async (name: string) => {
      for (let tabs = 0; tabs < 60; tabs += 1) {
        await keyboard.press("Tab");
        if ((await page.evaluate<string>(FOCUSED_TEXT)) === name) return;
      }
      throw new Error(`the focus does not come to: ${name}`);
    };

    await pressed("g", "s");
    await eventually(() => namesOf(page)).toEqual(["a greeting", "the sum"]);
    await pressed("/");
    await keyboard.type("sum");
    await eventually(() => namesOf(page)).toEqual(["the sum"]);
    await tabTo("the sum");
    await pressed("Enter");
    const call = page.locator(".fold-tool");
    await call.waitFor();
    expect(await page.evaluate(FOCUSED_ID)).toBe("main");

    await tabTo("Put on hold");
    await pressed("Space");
    await page.getByText("It is on hold").waitFor();
    await tabTo("Take off hold");
    await pressed("Enter");
    await page.getByText("It is off hold.").waitFor();

    // The question takes the focus, keeps it, and gives it back.
    await tabTo("Delete");
    await pressed("Enter");
    const dialog = page.getByRole("dialog", { name: "Delete this session?" });
    await dialog.waitFor();
    expect(await page.evaluate(FOCUSED_TEXT)).toBe("Keep it");
    await pressed("Tab");
    expect(await page.evaluate(FOCUSED_TEXT)).toBe("Delete it");
    await pressed("Escape");
    await dialog.waitFor({ state: "detached" });
    expect(await page.evaluate(FOCUSED_TEXT)).toBe("Delete");
    await pressed("Enter", "Tab", "Enter");
    await eventually(() => namesOf(page)).toEqual(["a greeting"]);

    // The list of keys, too; and who does not want them has none.
    await pressed("?");
    const list = page.getByRole("dialog", { name: "Shortcuts" });
    await list.waitFor();
    expect(await axeViolations(page)).toEqual([]);
    await tabTo("Shortcuts are on");
    await pressed("Space", "Escape");
    await list.waitFor({ state: "hidden" });
    await pressed("g", "t");
    expect(new URL(page.url()).hash).toBe("#/sessions");
  });

  it("takes nothing of its address for a session that is no id of one", async () => {
    await using server = await startWith({});
    await using watched = await openPage(browser, server.url);
    const { page } = watched;
    await page.getByRole("heading", { level: 1 }).waitFor();
    const asked: string[] = [];
    page.on("request", (request) => asked.push(new URL(request.url()).pathname));
    await page.evaluate((hash) => (location.hash = hash), "#/sessions/x%2F..%2F..%2Felsewhere");
    await page.getByText("The address names no session").waitFor();
    expect(await axeViolations(page)).toEqual([]);
    expect(asked.filter((path) => path.includes("elsewhere"))).toEqual([]);
    await page.getByRole("link", { name: "All sessions" }).click();
    await page.getByText("Nobody has talked here yet.").waitFor();
  });

  it("reads older ones when asked, and no more than it can hold", async () => {
    await using before = await startWith({});
    await ask(before, "Hello", { threadId: "the oldest" });
    await before.stop();
    await makeMore(before.directory, 1_060);
    await using server = await startWith({ directory: before.directory });
    await using watched = await openPage(browser, `${server.url}/#/sessions`);
    const { page } = watched;
    await page.getByText("the newest 50 sessions").waitFor();
    const older = page.getByRole("button", { name: "Show older ones" });
    await older.click();
    await page.getByText("the newest 100 sessions").waitFor();
    expect(new Set(await namesOf(page)).size).toBe(100);
    for (let count = 150; count <= 1_000; count += 50) {
      await older.click();
      await page.getByText(`the newest ${count.toLocaleString("en")} sessions`).waitFor();
    }
    expect(await older.count()).toBe(0);
    expect(await axeViolations(page)).toEqual([]);
    // Beyond, one asks more closely: of the whole list.
    await page.getByRole("searchbox").fill("the oldest");
    await page.getByRole("button", { name: /^Ask for the thread/ }).click();
    await eventually(() => namesOf(page)).toEqual(["the oldest"]);
  });

  it("shows a tenant its own, and of another's what an operator may do", async () => {
    await using server = await startWith({ serverFile: WITH_KEYS });
    await ask(server, "Hello of acme", { threadId: "ours", key: KEYS.acme });
    await ask(server, "Secret of umbrella", { threadId: "theirs", key: KEYS.umbrella });
    await using watched = await openPage(browser, `${server.url}/#/sessions`, PHONE);
    const { page, allow } = watched;
    allow(/Failed to load resource: .* 40[14]/);
    await page.getByLabel("Key", { exact: true }).fill(KEYS.acme);
    await page.keyboard.press("Enter");
    await eventually(() => namesOf(page)).toEqual(["ours"]);
    await page.getByText("Those of the tenant acme").waitFor();
    await screenshot(page, "sessions-phone");
    expect(await axeViolations(page)).toEqual([]);

    // The turns of all tenants are an operator's to see; their words are not.
    await page.getByRole("link", { name: "Turns" }).click();
    await eventually(() => page.locator("tbody tr").count()).toBe(2);
    await page.getByLabel("Tenant").selectOption("umbrella");
    await page.getByRole("link", { name: /^Session of the turn/ }).click();
    await page.getByText("This session is of the tenant umbrella.").waitFor();
    expect(await page.getByText("Secret of umbrella").count()).toBe(0);
    await page.getByRole("button", { name: "Put on hold" }).click();
    await page.getByText("It is on hold").waitFor();
    const path = new URL(page.url()).hash.slice(1).split("?")[0] ?? "";
    const read = await page.evaluate(async (at) => (await fetch(`/v1${at}`)).status, path);
    expect(read).toBe(404);
    const theirs = await fetch(`${server.url}/v1${path}`, {
      headers: { authorization: `Bearer ${KEYS.umbrella}` },
    });
    expect(await theirs.json()).toMatchObject({ threadId: "theirs", isOnHold: true });
  });
});

function startWith(options: { readonly serverFile?: string; readonly directory?: string }) {
  const settings = { "capacity.memoryLimit": "8GiB" };
  return startServer({
    script: SCRIPT,
    agents: [AGENT],
    pageDirectory: BUILT_PAGE,
    settings,
    ...options,
  });
}

/** Sessions like the one that is there, each newer than it. @param directory Of a server that has stopped. */
async function makeMore(directory: string, count: number): Promise<void> {
  const dataDirectory = join(directory, "data");
  const transcript = await readRealTranscript(dataDirectory);
  const nowMs = Date.now();
  const lastTurnAtMs = (index: number) => nowMs + index;
  const made = { dataDirectory, agentName: "helper", count, transcript, lastTurnAtMs };
  await makeSessions(made, new AbortController().signal);
}

const FOCUSED_ID = "document.activeElement.id";
/** What it says of itself, or what its label says. */
const FOCUSED_TEXT =
  "(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()";

/** The threads in the list, the first row first. */
async function namesOf(page: Page): Promise<string[]> {
  return page.locator(".session-name a").allInnerTexts();
}
