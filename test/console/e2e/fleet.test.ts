/**
 * Goal: one page shows several replicas, says which of them sheds, and which is down.
 * Method: a real server that relays the feed of another one, a real Chromium.
 */
import { describe, expect, it } from "vitest";

import { post, stream } from "../../e2e/client.ts";
import { startServer, startServerProcess } from "../../helpers/server.ts";
import { freePort } from "../../helpers/service.ts";
import { axeViolations, BUILT_PAGE, hasChromium, openPage, startBrowser } from "./browser.ts";

const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 500 }
rules:
  - hangAfterTokens: 3
    reply:
      - tokens: 10
`;

/** (1400 - 400) / 500 = 2. */
const TWO_TURNS = {
  "capacity.guard": "false",
  "capacity.admission": "static",
  "capacity.memoryLimit": "1400MiB",
  "agentProcess.endGrace": "500ms",
};

describe.skipIf(!hasChromium)("a fleet of two", () => {
  it("is a hull each, with the sum, who sheds, and who is down", async () => {
    await using browser = await startBrowser();
    const port = await freePort();
    await using second = await startServerProcess({
      script: SCRIPT,
      settings: { ...TWO_TURNS, "listen.port": String(port) },
    });
    await using first = await startServer({
      script: SCRIPT,
      settings: TWO_TURNS,
      serverFile: `console: { replicas: [{ name: second, url: "${second.url}" }] }`,
      pageDirectory: BUILT_PAGE,
    });
    await using opened = await openPage(browser, `${first.url}/#/fleet`);
    const { page, allow } = opened;
    allow(/status of 50\d|ERR_INCOMPLETE_CHUNKED_ENCODING/);
    await page.getByText("2 replicas of 2: 0 turns in flight, 4 more fit").waitFor();

    await Promise.all([stream(second, "Hang"), stream(second, "Hang")]);
    expect((await post(second, "One too many")).status).toBe(429);
    await page.getByText("2 replicas of 2: 2 turns in flight, 2 more fit").waitFor();
    await page.getByText("Shed in the last 5 minutes: second 1.").waitFor();
    const card = page.getByRole("listitem").filter({ hasText: "second" });
    await expect.poll(() => card.getByRole("button", { name: /^Turn of helper/ }).count()).toBe(2);
    expect(await axeViolations(page)).toEqual([]);

    second.signal("SIGKILL");
    await second.exited;
    await card.getByText("it cannot be reached").waitFor();
    await page.getByText("1 replica of 2: 0 turns in flight, 2 more fit").waitFor();
    expect(await axeViolations(page)).toEqual([]);
  });
});
