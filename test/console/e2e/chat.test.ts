/**
 * Goal: who opens the page can talk to an agent, and sees what becomes of each message.
 * Method: a real Chromium at a real server with real agent processes; only the model is scripted.
 */

import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { ask, stream } from "../../e2e/client.ts";
import { startServer, startServerProcess, type InProcessServer } from "../../helpers/server.ts";
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

const ANSWER = String.raw`# A mark

You said: *{{userText}}*. The **Plimsoll line** is a mark on the hull:

1. fresh water
2. salt water

\`\`\`ts
const line = limit - reserve;
\`\`\`

> She may carry no more.
`;

const SCRIPT = `
defaults: { firstTokenMs: 50, tokensPerSecond: 100 }
rules:
  - when: { afterTool: true }
    reply:
      - text: "The tool says: **{{toolResult}}**"
  - when: { userText: add }
    reply:
      - thinking: Two numbers, and a tool for them.
      - text: "I add them. "
      - tool: { name: add, input: { a: 2, b: 3 } }
  - when: { userText: slowly }
    tokensPerSecond: 8
    reply:
      - tokens: 200
  - when: { userText: for ever }
    tokensPerSecond: 8
    reply:
      - tokens: 4000
  - when: { userText: ticket }
    reply:
      - structured: { title: It leaks, priority: high }
  - when: { userText: break }
    error: { status: 400 }
  - when: { userText: deep }
    tokensPerSecond: 5000
    reply:
      - text: "${">".repeat(10_000)}the ground"
  - when: { userText: evil }
    reply:
      - text: '<img src=x onerror="document.title=1"> [click](javascript:alert(1)) ![far](https://evil.example/a.png)'
  - reply:
      - thinking: A greeting.
      - text: ${JSON.stringify(ANSWER.replaceAll("\\`", "`"))}
`;

const AGENTS = [
  `
name: helper
description: Adds numbers and explains ships.
model: { id: claude-sonnet-5, thinking: { budgetTokens: 1024 } }
instructions: You are a test.
tools: { functions: [$FIXTURES/tools.js] }
`,
  `
name: other
instructions: You are a test.
`,
  `
name: passing
instructions: You are a test.
hosting: { pattern: ephemeral }
`,
  `
name: formal
instructions: You are a test.
output:
  schema:
    type: object
    properties: { title: { type: string }, priority: { type: string } }
    required: [title, priority]
`,
];

let browser: Browser;
let server: InProcessServer;

describe.skipIf(!hasChromium)("the chat", () => {
  beforeAll(async () => {
    browser = await startBrowser();
    server = await startServer({
      script: SCRIPT,
      agents: AGENTS,
      pageDirectory: BUILT_PAGE,
      settings: { "capacity.memoryLimit": "8GiB" },
    });
  });
  afterAll(async () => {
    await browser?.close();
    await server?.[Symbol.asyncDispose]();
  });

  it("leads from the first visit to the first answer", async () => {
    await using visited = await openPage(browser, server.url);
    const { page } = visited;
    await page.getByRole("link", { name: "Chat" }).click();
    await say(page, "Hello there");
    await page.getByText("The Plimsoll line is a mark on the hull").waitFor();
    await answered(page);
    expect(await page.locator(".prose pre").innerText()).toContain("limit - reserve");
    await page.getByText("Thoughts").click();
    await page.getByText("A greeting.").waitFor();
    await screenshot(page, "chat-light");
    expect(await axeViolations(page)).toEqual([]);
  });

  it("shows the answer of an agent whose answers have a form, live and stored", async () => {
    await using visited = await openPage(browser, `${server.url}/#/chat/formal/a-form`);
    const { page } = visited;
    await say(page, "A ticket, please");
    await answered(page);
    const shown = page.locator(".talk-end pre");
    expect(JSON.parse(await shown.innerText())).toEqual({ title: "It leaks", priority: "high" });
    expect(await axeViolations(page)).toEqual([]);
    await page.getByRole("link", { name: "Session of this conversation" }).click();
    await page.locator(".fold-tool .fold-name").getByText("answer", { exact: true }).waitFor();
  });

  it("shows an answer while it is written, and ends it when told to", async () => {
    await using visited = await openPage(browser, `${server.url}/#/chat`);
    const { page } = visited;
    await say(page, "Speak for ever");
    const lengths = new Set<number>();
    const grown = async () => {
      const text = await page
        .locator(".prose")
        .first()
        .innerText()
        .catch(() => "");
      return lengths.add(text.length).size;
    };
    await eventually(grown, 50).toBeGreaterThan(4);
    await page.keyboard.press("Escape");
    await page.locator(".talk-end").getByText("Cancelled").waitFor();
    await page.getByRole("button", { name: "Send" }).waitFor();
  });

  it("folds a tool call away, with its input and its result", async () => {
    await using visited = await openPage(browser, `${server.url}/#/chat`, { colorScheme: "dark" });
    const { page } = visited;
    await say(page, "Please add");
    await answered(page);
    const call = page.locator(".fold-tool");
    expect(await call.locator("pre").count()).toBe(0);
    await call.locator("summary").click();
    expect(await call.locator("pre").allInnerTexts()).toEqual([
      '{\n  "a": 2,\n  "b": 3\n}',
      "The sum is 5",
    ]);
    await screenshot(page, "chat-dark");
    expect(await axeViolations(page)).toEqual([]);
  });

  it("shows a failure in its place, with what can be done about it", async () => {
    await using visited = await openPage(browser, `${server.url}/#/chat`, PHONE);
    const { page } = visited;
    await say(page, "Please break");
    await page.getByText("model_request_refused").waitFor();
    await page.getByText("the server log has the provider's words").waitFor();
    await screenshot(page, "chat-phone");
    expect(await axeViolations(page)).toEqual([]);
    await page.getByRole("button", { name: "New conversation" }).click();
    await say(page, "Hello again");
    await page.getByText("The Plimsoll line is a mark on the hull").waitFor();
  });

  it("goes on where it was when it is loaded again in the middle of a turn", async () => {
    await using visited = await openPage(browser, `${server.url}/#/chat`);
    const { page } = visited;
    await say(page, "Please add");
    await answered(page);
    const askedBefore = server.asked.length;
    await say(page, "Now speak slowly");
    await eventually(() => page.locator(".prose").count()).toBe(3);
    await page.reload();
    await page.getByText("The turn runs").waitFor();
    const written = () => page.locator(".prose").last().innerText();
    const before = (await written()).length;
    await eventually(async () => (await written()).length).toBeGreaterThan(before);
    // Those of the turn that was over before are with the session, but for what they cost.
    await answered(page);
    expect(server.asked.length - askedBefore).toBe(1);
    const shown = await page.locator(".talk-item").evaluateAll((items) => {
      return items.map(({ className }) => /talk-(\w+)$/.exec(className)?.[1]);
    });
    expect(shown).toEqual(["user", "reasoning", "text", "tool", "text", "user", "text", "end"]);
    await page.getByRole("link", { name: "Session of this conversation" }).click();
    await page.getByText("Go on in the chat").waitFor();
    const stored = await lastAnswer(server, page);
    expect(await page.locator(".prose").last().innerText()).toBe(stored.trim());
  });

  it("goes on with an agent that keeps nothing, also after it is loaded again", async () => {
    await using visited = await openPage(browser, `${server.url}/#/chat`);
    const { page, allow } = visited;
    await page.getByLabel("Agent", { exact: true }).selectOption("passing");
    await say(page, "Hello there");
    await answered(page);
    await say(page, "And now again");
    await eventually(() => page.locator(".talk-end").count()).toBe(2);
    expect(await page.locator(".prose").last().innerText()).toContain("And now again");
    // Nothing of it is kept, which Chromium tells of.
    allow(/Failed to load resource: .* 404/);
    await page.reload();
    await say(page, "And once more");
    await answered(page);
    expect(await page.locator(".prose").innerText()).toContain("And once more");
  });

  it("says that a session is gone that one goes on with, and begins none in its place", async () => {
    const { sessionId } = await ask(server, "Hello", { threadId: "to go" });
    await fetch(`${server.url}/v1/sessions/${sessionId}`, { method: "DELETE" });
    const address = `${server.url}/#/chat/helper/to%20go?session=${sessionId}`;
    await using visited = await openPage(browser, address);
    const { page, allow } = visited;
    allow(/Failed to load resource: .* 410/);
    const said = page.locator(".chat-said").getByText("session_gone");
    await said.waitFor();
    await say(page, "Hello again");
    await page.locator(".chat-state").getByText("session_gone").waitFor();
    expect(await said.count(), "what was found before is said no more").toBe(0);
    expect((await fetch(`${server.url}/v1/sessions/${sessionId}`)).status).toBe(410);
    await page.getByRole("button", { name: "New conversation" }).click();
    await say(page, "Hello again");
    await answered(page);
  });

  it("says so of one that was begun here, too", async () => {
    await using visited = await openPage(browser, `${server.url}/#/chat`);
    const { page, allow } = visited;
    allow(/Failed to load resource: .* 410/);
    await say(page, "Hello there");
    await answered(page);
    const link = page.getByRole("link", { name: "Session of this conversation" });
    const sessionId = ((await link.getAttribute("href")) ?? "").slice(-36);
    await fetch(`${server.url}/v1/sessions/${sessionId}`, { method: "DELETE" });
    await say(page, "Hello again");
    await page.locator(".chat-state").getByText("session_gone").waitFor();
  });

  it("takes nothing of its address for a session that is no id of one", async () => {
    const address = `${server.url}/#/chat/helper/a?session=${encodeURIComponent("x/../../elsewhere")}`;
    await using visited = await openPage(browser, address);
    const { page } = visited;
    const sentence = page.getByText("The address names no session to go on with");
    await sentence.waitFor();
    const asked: string[] = [];
    page.on("request", (request) => asked.push(new URL(request.url()).pathname));
    await page.reload();
    await sentence.waitFor();
    await page.getByRole("link", { name: "To the chat" }).click();
    await page.getByLabel("Message", { exact: true }).waitFor();
    expect(asked.filter((path) => path.includes("elsewhere"))).toEqual([]);
  });

  it("stays what it is, whatever a model writes", async () => {
    await using visited = await openPage(browser, `${server.url}/#/chat`);
    const { page } = visited;
    await say(page, "deep");
    await answered(page);
    expect(await page.locator(".prose").innerText()).toMatch(/^>+the ground$/);
    await say(page, "Hello there");
    await page.getByText("The Plimsoll line is a mark on the hull").waitFor();
  });

  it("does no harm with what a model writes, and asks nobody else for anything", async () => {
    await using visited = await openPage(browser, `${server.url}/#/chat`);
    const { page } = visited;
    await say(page, "evil");
    await answered(page);
    expect(await page.locator(".prose img").count()).toBe(0);
    expect(await page.title()).toBe("Chat · Plimsoll");
    const links = await page.locator(".prose a").evaluateAll((all) => {
      return all.map((link) => (link as HTMLAnchorElement).href);
    });
    expect(links).toEqual(["https://evil.example/a.png"]);
  });

  it("sends files, and says which it cannot send before they are sent", async () => {
    await using visited = await openPage(browser, `${server.url}/#/chat`);
    const { page } = visited;
    const picker = page.locator('input[type="file"]');
    const large = { name: "large.png", mimeType: "image/png", buffer: Buffer.alloc(900_000, 1) };
    await picker.setInputFiles([large]);
    await page.getByText("large.png has 879 KiB, and there is room for 756 KiB").waitFor();
    await picker.setInputFiles([{ name: "a.zip", mimeType: "application/zip", buffer: PIXEL }]);
    await page.getByText("a.zip is not of a kind that the agent takes").waitFor();
    await picker.setInputFiles([{ name: "dot.png", mimeType: "image/png", buffer: PIXEL }]);
    await page.getByRole("img", { name: "dot.png" }).waitFor();
    // At once, so that one is read while the other comes.
    await page.evaluate(bring, [
      ["drop", "note.txt"],
      ["paste", "list.txt"],
    ] as const);
    await page.getByText("note.txt").waitFor();
    await page.getByText("list.txt").waitFor();
    expect(await page.getByRole("img", { name: "dot.png" }).count()).toBe(1);
    await page.getByRole("button", { name: "Remove list.txt" }).click();
    await say(page, "What is it?");
    await answered(page);
    const asked = JSON.stringify(server.asked.at(-1)?.messages);
    expect(asked).toContain(PIXEL.toString("base64"));
    expect(asked.split("Brought along.")).toHaveLength(2);
  });

  it("says which file it cannot read, and takes the next one", async () => {
    await using visited = await openPage(browser, `${server.url}/#/chat`);
    const { page } = visited;
    await page.getByLabel("Message", { exact: true }).waitFor();
    // As when it was removed after it was chosen.
    await page.evaluate(`{
      const read = Blob.prototype.arrayBuffer;
      Blob.prototype.arrayBuffer = function () {
        return this.name === "gone.txt" ? Promise.reject(new Error("gone")) : read.call(this);
      };
    }`);
    await page.evaluate(bring, [["drop", "gone.txt"]] as const);
    await page.getByText("gone.txt cannot be read").waitFor();
    await page.evaluate(bring, [["drop", "note.txt"]] as const);
    await page.getByRole("button", { name: "Remove note.txt" }).waitFor();
    expect(await page.getByRole("button", { name: /^Remove/ }).count()).toBe(1);
  });

  it("copies a line that asks the same from a shell", async () => {
    const permissions = ["clipboard-read", "clipboard-write"];
    await using visited = await openPage(browser, `${server.url}/#/chat`, { permissions });
    const { page } = visited;
    await say(page, "It's Bob's $HOME");
    await answered(page);
    await page.getByRole("button", { name: "Copy curl" }).click();
    await page.getByText("Copied").waitFor();
    const line = await page.evaluate(() => navigator.clipboard.readText());
    const { stdout } = await promisify(execFile)("sh", ["-c", line]);
    expect(stdout).toContain("event: turn_ended");
    expect(JSON.stringify(server.asked.at(-1)?.messages)).toContain("It's Bob's $HOME");
  });

  it("copies a line that names the files which are gone with a reload", async () => {
    const permissions = ["clipboard-read", "clipboard-write"];
    await using visited = await openPage(browser, `${server.url}/#/chat`, { permissions });
    const { page } = visited;
    const picker = page.locator('input[type="file"]');
    await picker.setInputFiles([{ name: "dot.png", mimeType: "image/png", buffer: PIXEL }]);
    await page.getByRole("img", { name: "dot.png" }).waitFor();
    await say(page, "What was it?");
    await answered(page);
    await page.reload();
    await page.getByText("image/png", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Copy curl" }).click();
    await page.getByText("Copied").waitFor();
    const line = await page.evaluate(() => navigator.clipboard.readText());
    const cwd = await mkdtemp(join(tmpdir(), "plimsoll-files-"));
    try {
      const asked = server.asked.length;
      const without = await promisify(execFile)("sh", ["-c", line], { cwd });
      expect(without.stdout).toContain('"status":400');
      expect(server.asked.length).toBe(asked);
      await writeFile(join(cwd, "file-1.png"), PIXEL);
      const { stdout } = await promisify(execFile)("sh", ["-c", line], { cwd });
      expect(stdout).toContain("event: turn_ended");
    } finally {
      await rm(cwd, { recursive: true });
    }
    const last = JSON.stringify(server.asked.at(-1)?.messages.at(-1));
    expect(last).toContain(PIXEL.toString("base64"));
    expect(last).toContain("What was it?");
  });

  it("begins as soon as the server says who one is, and tells until then why it does not", async () => {
    await using context = await browser.newContext();
    const page = await context.newPage();
    let refused = 0;
    await page.route("**/console/session", async (asked) => {
      refused += 1;
      if (refused === 1) await asked.abort();
      else if (refused === 2) await asked.fulfill({ status: 503, body: "" });
      else await asked.continue();
    });
    await page.goto(`${server.url}/#/chat`);
    await page.getByText("Who you are could not be read: the server does not answer.").waitFor();
    await page.getByText("Who you are could not be read: the server answers 503.").waitFor();
    await page.getByLabel("Message", { exact: true }).waitFor();
    expect(await page.getByText("Who you are could not be read").count()).toBe(0);
    expect(refused).toBe(3);
  });

  it.each(["chat", ""])(
    "says that the agents could not be read, and tries again: #/%s",
    async (view) => {
      await using context = await browser.newContext();
      const page = await context.newPage();
      let isRefused = true;
      await page.route("**/v1/agents", (asked) => (isRefused ? asked.abort() : asked.continue()));
      await page.goto(`${server.url}/#/${view}`);
      await page.getByText("Cannot reach the server").waitFor();
      isRefused = false;
      await page.getByRole("button", { name: "Try again" }).click();
      await page.getByText("Cannot reach the server").waitFor({ state: "hidden" });
      if (view === "chat") await page.getByLabel("Message", { exact: true }).waitFor();
      else await page.getByText("No agent here is a rehearsal").waitFor();
    },
  );

  it("fits a narrow screen, and one that is zoomed to twice its size", async () => {
    const options = { viewport: { width: 320, height: 480 } };
    await using watched = await openPage(browser, `${server.url}/#/chat`, options);
    const { page } = watched;
    await say(page, "Hello there");
    await answered(page);
    for (const view of ["chat", "turns", "sessions"]) {
      await page.evaluate((name) => (location.hash = `#/${name}`), view);
      await page.getByRole("heading", { level: 1 }).waitFor();
      const widths = await page.evaluate(() => [document.body.scrollWidth, innerWidth]);
      expect(widths[0], view).toBeLessThanOrEqual(widths[1] ?? 0);
      await screenshot(page, `narrow-${view}`);
      expect(await axeViolations(page)).toEqual([]);
    }
  });

  it("needs no mouse", async () => {
    await using visited = await openPage(browser, server.url);
    const { page } = visited;
    await page.getByRole("link", { name: "Chat" }).waitFor();
    await tabTo(page, "Chat");
    await page.keyboard.press("Enter");
    await tabTo(page, "Message");
    await page.keyboard.type("Please add");
    await page.keyboard.press("Enter");
    await answered(page);
    await page.locator("main").focus();
    await tabTo(page, "Thoughts");
    await page.keyboard.press("Enter");
    await page.getByText("Two numbers, and a tool for them.").waitFor();
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Shortcuts" }).waitFor();
    await screenshot(page, "shortcuts");
    expect(await axeViolations(page)).toEqual([]);
    await page.keyboard.press("Escape");
    await page.keyboard.press("g");
    await page.keyboard.press("s");
    await page.getByRole("heading", { name: "Sessions" }).waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("g t?");
    expect(await page.getByRole("searchbox").inputValue()).toBe("g t?");
  });
});

describe.skipIf(!hasChromium)("a server that crashes under the page", () => {
  it("loses the turn, which the page says, and not the conversation", async () => {
    const settings = { "capacity.memoryLimit": "8GiB", "listen.port": `${await freePort()}` };
    const options = { script: SCRIPT, agents: AGENTS, settings };
    const first = await startServerProcess(options);
    await using chromium = await startBrowser();
    await using watched = await openPage(chromium, `${first.url}/#/chat`);
    const { page, allow } = watched;
    allow(/Failed to load resource|net::ERR_/);
    await say(page, "Please add");
    await answered(page);
    await say(page, "Now speak for ever");
    await eventually(() => page.locator(".prose").count()).toBe(3);
    first.signal("SIGKILL");
    await first.exited;
    await page.getByText("it is picked up where it broke").waitFor();
    await using second = await startServerProcess({ ...options, directory: first.directory });
    expect(second.url).toBe(first.url);
    await page.getByText("The replica does not know this turn any more").first().waitFor();
    await page.getByText("The tool says: The sum is 5").waitFor();
    expect(await page.locator(".talk-user").count()).toBe(2);
    await say(page, "Hello there");
    await page.getByText("The Plimsoll line is a mark on the hull").waitFor();
  });
});

describe.skipIf(!hasChromium)("a turn that was shed", () => {
  it("is counted down to, sent again by itself, and answered", async () => {
    await using full = await startFull();
    await using chromium = await startBrowser();
    await using visited = await openPage(chromium, `${full.server.url}/#/chat`);
    const { page, allow } = visited;
    allow(REFUSED);
    await say(page, "Hello there");
    await page.getByText("it is sent again by itself").waitFor();
    await page.getByText("at_capacity").waitFor();
    expect(await page.locator(".chat-countdown").innerText()).toMatch(/^\d+ s$/);
    await screenshot(page, "chat-shed");
    expect(await axeViolations(page)).toEqual([]);
    full.release();
    await page.getByText("The Plimsoll line is a mark on the hull").waitFor({ timeout: 120_000 });
    expect(await page.locator(".talk-user").count()).toBe(1);
  });

  it("is taken back when one does not want to wait", async () => {
    await using full = await startFull();
    await using chromium = await startBrowser();
    await using visited = await openPage(chromium, `${full.server.url}/#/chat`);
    const { page, allow } = visited;
    allow(REFUSED);
    await say(page, "Hello there");
    await page.getByRole("button", { name: "Stop trying" }).click();
    await page.getByRole("button", { name: "Change it" }).click();
    const field = page.getByLabel("Message", { exact: true });
    await eventually(() => field.inputValue()).toBe("Hello there");
    expect(await page.locator(".talk-user").count()).toBe(0);
  });
});

/** A server with room for one turn, and that turn. */
async function startFull() {
  const full = await startServer({
    script: SCRIPT,
    agents: AGENTS,
    pageDirectory: BUILT_PAGE,
    settings: { "capacity.memoryLimit": "8GiB", "capacity.maxTurns": "1" },
  });
  const turn = await stream(full, "Speak for ever");
  await turn.until("text_delta");
  return {
    server: full,
    release: () => turn.leave(),
    async [Symbol.asyncDispose]() {
      turn.leave();
      await full[Symbol.asyncDispose]();
    },
  };
}

/** One that nobody listens on. */
async function freePort(): Promise<number> {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as AddressInfo;
  taken.close();
  return port;
}

/** Chromium tells of each refusal. */
const REFUSED = /Failed to load resource: .* 429/;

/** One pixel. */
const PIXEL = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

/** Drops or pastes files of a few words, each by itself; runs in the page. */
function bring(all: readonly (readonly ["drop" | "paste", string])[]): void {
  for (const [how, name] of all) {
    const data = new DataTransfer();
    data.items.add(new File(["Brought along."], name, { type: "text/plain" }));
    const options = { bubbles: true, cancelable: true };
    const event =
      how === "drop"
        ? new DragEvent("drop", { ...options, dataTransfer: data })
        : new ClipboardEvent("paste", { ...options, clipboardData: data });
    document.querySelector("#message")?.dispatchEvent(event);
  }
}

async function say(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.keyboard.press("Enter");
}

/** The turn has ended, and told what it cost. */
async function answered(page: Page): Promise<void> {
  await eventually(() => page.locator(".talk-end").count()).toBe(1);
}

/** What the session of the page has as the last thing that was said. */
async function lastAnswer({ url }: InProcessServer, page: Page): Promise<string> {
  const sessionId = /sessions\/([^?]+)/.exec(page.url())?.[1];
  const response = await fetch(`${url}/v1/sessions/${sessionId}`);
  const { messages } = (await response.json()) as { messages: { parts: { text?: string }[] }[] };
  return messages.at(-1)?.parts.at(-1)?.text ?? "";
}

const MOST_TABS = 40;

/** Goes on with the tabulator to what has that name. */
async function tabTo(page: Page, name: string): Promise<void> {
  for (let tabs = 0; tabs < MOST_TABS; tabs += 1) {
    await page.keyboard.press("Tab");
    const focused = await page.evaluate(() => {
      const element = document.activeElement;
      return element?.getAttribute("aria-label") ?? element?.textContent?.trim() ?? "";
    });
    if (focused === name) return;
  }
  expect.fail(`No ${MOST_TABS} tabulators lead to ${name}`);
}
