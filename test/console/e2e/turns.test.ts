/**
 * Goal: an operator sees which turns run and how the last ones ended, in words, and ends one; what
 * the memory guard has done is said so.
 * Method: a real Chromium at a real server; the balloons are real memory, and the guard ends them.
 */

import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { ask, stream } from "../../e2e/client.ts";
import { floodingModel } from "../../e2e/flooding-model.ts";
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

/** 1.5 GiB, in one piece. */
const BALLOON = "node -e 'Buffer.alloc(3 * 2 ** 29, 1); setInterval(() => {}, 1000)'";

const SCRIPT = `
defaults: { firstTokenMs: 100, tokensPerSecond: 60 }
rules:
  - when: { afterTool: true }
    reply:
      - text: "It was told: {{toolResult}}"
  - when: { userText: balloon }
    reply:
      - tool: { name: Bash, input: { command: ${JSON.stringify(BALLOON)}, description: Balloons } }
  - when: { userText: list }
    reply:
      # Long enough to be seen as a stage, whatever else the machine does.
      - text: I look at all that there is, and then at what is beside it, one after the other.
      - tool: { name: Bash, input: { command: "sleep 1", description: Waits } }
  - when: { userText: slowly }
    tokensPerSecond: 5
    reply:
      - tokens: 2000
  - when: { userText: break }
    error: { status: 400 }
  - reply:
      - text: "You said: {{userText}}"
`;

const shell = (turnMemory: string) => `
name: helper
instructions: You are a test.
tools: { builtin: [Bash] }
limits: { turnMemory: ${turnMemory} }
`;

/** No groups of their own, so that it is the guard, and not the kernel, that meets a balloon. */
const SETTINGS = { "capacity.memoryLimit": "4GiB", "agentProcess.ownGroup": "false" };

let browser: Browser;

describe.skipIf(!hasChromium)("the view of turns", () => {
  beforeAll(async () => {
    browser = await startBrowser();
  });
  afterAll(async () => browser?.close());

  it("shows how turns stand and ended, and ends one", async () => {
    const agents = [shell("1GiB"), "name: other\ninstructions: You are a test.\n"];
    await using server = await startServer({
      script: SCRIPT,
      agents,
      pageDirectory: BUILT_PAGE,
      settings: SETTINGS,
    });
    await ask(server, "Hello", { threadId: "first" });
    await ask(server, "Please list", { threadId: "second" });
    await ask(server, "Hello", { agent: "other" });
    const broken = await stream(server, "Please break");
    await broken.outcome();
    await using watched = await openPage(browser, `${server.url}/#/turns`);
    const { page } = watched;
    await eventually(() => statesOf(page)).toEqual([
      "failed: model_request_refused",
      "completed",
      "completed",
      "completed",
    ]);
    const lines = page.getByRole("img");
    expect(await lines.nth(2).getAttribute("aria-label")).toMatch(
      /started [\d.]+ m?s, .*wrote [\d.]+ m?s, .*in tools 1[\d.]* s/,
    );
    const slow = await stream(server, "Speak slowly");
    await eventually(async () => (await statesOf(page))[0]).toBe("writes");
    await screenshot(page, "turns-light");
    expect(await axeViolations(page)).toEqual([]);
    await page.getByRole("button", { name: "Cancel" }).click();
    await eventually(async () => (await statesOf(page))[0]).toBe("cancelled");
    expect(await slow.outcome()).toMatchObject({ status: "cancelled", cause: "cancel_requested" });

    await page.getByLabel("Agent").selectOption("other");
    await eventually(() => statesOf(page)).toEqual(["completed"]);
    await page.getByLabel("State").selectOption("failed");
    await page.getByText("None of the turns that are known here is of this kind.").waitFor();
    await page.getByRole("link", { name: "Show all" }).click();
    await page
      .getByRole("link", { name: /^Session of the turn of helper/ })
      .last()
      .click();
    await page.getByRole("heading", { name: "first" }).waitFor();
  });

  it("says that the memory guard has ended a tool", async () => {
    await using server = await startServer({
      script: SCRIPT,
      agents: [shell("512MiB")],
      pageDirectory: BUILT_PAGE,
      settings: SETTINGS,
    });
    await using watched = await openPage(browser, `${server.url}/#/turns`, PHONE);
    const { page } = watched;
    const turn = await stream(server, "Balloon");
    expect(await turn.outcome()).toMatchObject({ status: "completed" });
    await page.getByText("1 tool ended by the memory guard").waitFor();
    await screenshot(page, "turns-phone");
    expect(await axeViolations(page)).toEqual([]);
  });

  it("says that the memory guard has ended a turn", async () => {
    await using model = await floodingModel();
    await using server = await startServer({
      script: SCRIPT,
      agents: [shell("192MiB")],
      pageDirectory: BUILT_PAGE,
      settings: { ...SETTINGS, "journal.turnSize": "1GiB", "journal.totalSize": "1GiB" },
      environment: { ANTHROPIC_BASE_URL: model.url },
    });
    await using watched = await openPage(browser, `${server.url}/#/turns`, { colorScheme: "dark" });
    const { page } = watched;
    await ask(server, "Hello", { threadId: "grows" });
    const turn = await stream(server, "Flood", { threadId: "grows" });
    expect(await turn.outcome()).toMatchObject({ code: "turn_out_of_memory" });
    await eventually(() => statesOf(page)).toEqual(["ended by the memory guard", "completed"]);
    await page.getByText(/it held \d+ MiB of the 192 MiB that one turn may hold/).waitFor();
    await screenshot(page, "turns-dark");
    expect(await axeViolations(page)).toEqual([]);
  });
});

/** How each turn is said to stand, the first row first. */
async function statesOf(page: Page): Promise<string[]> {
  return page.locator("tbody tr td:first-child .badge:first-child").allInnerTexts();
}
