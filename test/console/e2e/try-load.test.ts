/**
 * Goal: a newcomer sends more turns at once than the replica carries, and sees the line hold.
 * Method: a real server that carries two turns, real turns, a real Chromium.
 */
import { describe, expect, it } from "vitest";

import { until } from "../../helpers/leaks.ts";
import { monotonicMs } from "../../../src/lib/monotonic-clock.ts";
import { startServer } from "../../helpers/server.ts";
import { axeViolations, BUILT_PAGE, hasChromium, openPage, startBrowser } from "./browser.ts";

/** What the page asks for is quoted: it never ends by itself here. */
const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 20 }
rules:
  - hangAfterTokens: 30
    reply:
      - tokens: 60
`;
const AGENT = `
name: helper
instructions: You are a test.
model: { provider: rehearsal }
`;

describe.skipIf(!hasChromium)("a load that is tried", () => {
  it("of 20 turns has two on board, 18 shed with a Retry-After, and is cancelled", async () => {
    await using browser = await startBrowser();
    await using server = await startServer({
      script: SCRIPT,
      agents: [AGENT.replace("rehearsal }", "rehearsal, rehearsalScript: ../script.yaml }")],
      settings: {
        "capacity.guard": "false",
        "capacity.admission": "static",
        // (1400 - 400) / 500 = 2.
        "capacity.memoryLimit": "1400MiB",
        "agentProcess.endGrace": "500ms",
      },
      pageDirectory: BUILT_PAGE,
    });
    await using opened = await openPage(browser, server.url);
    const { page, allow } = opened;
    allow(/status of 429/);
    await page.getByRole("button", { name: "Send 20" }).click();
    await page
      .getByText(/^2 on board, 18 shed\. 18 refusals in all, each at once and with Retry-After: \d/)
      .waitFor();
    await page.getByRole("heading", { name: "2 turns in flight: full" }).waitFor();
    await page.getByText("shed: memory").first().waitFor();
    expect(await axeViolations(page)).toEqual([]);

    await page.getByRole("button", { name: "Cancel all" }).click();
    await page.getByText(/^2 ended, 18 shed/).waitFor();
    await page.getByRole("heading", { name: "No turn in flight, 2 fit" }).waitFor();
    await page.getByRole("button", { name: "Delete its sessions" }).click();
    await page.getByText(/^2 ended/).waitFor({ state: "hidden" });
    await until(async () => (await sessionsOf(server.url)) === 0, "its sessions to be gone");
    expect(server.gate.snapshot(monotonicMs()).inflight).toBe(0);
  });

  it("comes again when it was told to, counted down to, until all of it was on board", async () => {
    await using browser = await startBrowser();
    await using server = await startServer({
      script: SCRIPT.replace("hangAfterTokens: 30\n    reply", "reply"),
      agents: [AGENT.replace("rehearsal }", "rehearsal, rehearsalScript: ../script.yaml }")],
      settings: { "capacity.admission": "static", "capacity.memoryLimit": "1400MiB" },
      pageDirectory: BUILT_PAGE,
    });
    await using opened = await openPage(browser, server.url);
    const { page, allow } = opened;
    allow(/status of 429/);
    await page.getByLabel(/^Turns at once/).fill("4");
    await page.getByLabel(/^Send what is shed again/).check();
    await page.getByRole("button", { name: "Send 4" }).click();
    await page.getByText(/^(2 come again, the first|1 comes again) in \d+ s\.$/).waitFor();
    await page.getByText(/^4 ended\. \d+ refusals in all/).waitFor();
    expect(await page.getByText(/ in \d+ s\.$/).count()).toBe(0);
  });
});

async function sessionsOf(url: string): Promise<number> {
  const answer = await fetch(`${url}/v1/sessions`);
  return ((await answer.json()) as { sessions: unknown[] }).sessions.length;
}
