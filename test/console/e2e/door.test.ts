/**
 * Goal: what the server believes of browsers is what they do: the cookie of a login lets its page in,
 * over TLS and over plain HTTP, and is worth nothing to a page of another origin.
 * Method: a real server with keys, a proxy in front that speaks TLS, a hostile page on another port of
 * the same host, a real Chromium.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, request, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { type InProcessServer, startServer } from "../../helpers/server.ts";
import { makeCertificate } from "../../helpers/service.ts";
import { BUILT_PAGE, hasChromium, openPage, startBrowser } from "./browser.ts";

const SCRIPT = `rules: [{ reply: [{ text: "Hello." }] }]`;
const OPERATOR = "operator-key-of-the-door-0123456789";
const KEYS = `
auth:
  keys:
    - { id: ops, role: operator, sha256: "${createHash("sha256").update(OPERATOR).digest("hex")}" }
`;
/** A name that is neither loopback nor TLS, so that browsers tell as little as they ever do. */
const PLAIN_NAME = "plimsoll.test";

describe.skipIf(!hasChromium)("a browser at the door", () => {
  let browser: Browser;
  let server: InProcessServer;
  beforeAll(async () => {
    browser = await startBrowser([`--host-resolver-rules=MAP ${PLAIN_NAME} 127.0.0.1`]);
    server = await startServer({ script: SCRIPT, serverFile: KEYS, pageDirectory: BUILT_PAGE });
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    await browser?.close();
  });

  it.each([
    ["over plain HTTP", () => plainDoor(server)],
    ["through a proxy that speaks TLS", () => tlsDoor(server)],
  ])("is let in %s", async (_how, openDoor) => {
    await using door = await openDoor();
    await using opened = await openPage(browser, door.url, { ignoreHTTPSErrors: true });
    const { page, allow } = opened;
    // Before the login, and what a browser says of a header that it takes over TLS alone.
    allow(/status of 401|Cross-Origin-Opener-Policy header has been ignored/);
    const dialog = page.getByRole("dialog", { name: "Log in" });
    await dialog.getByLabel("Key").fill(OPERATOR);
    await page.keyboard.press("Enter");
    await dialog.waitFor({ state: "hidden" });
    await page.getByRole("heading", { name: /^No turn in flight/ }).waitFor();
    const [cookie, ...more] = await page.context().cookies();
    const isTls = door.url.startsWith("https:");
    expect(cookie).toMatchObject({ httpOnly: true, sameSite: "Strict", path: "/", secure: isTls });
    expect([cookie?.name.startsWith("__Host-"), more]).toEqual([isTls, []]);
    expect(await page.evaluate("document.cookie")).toBe("");
    const status = `(path, method) => fetch(path, { method }).then((answer) => answer.status)`;
    expect(await page.evaluate(`(${status})("/v1/sessions", "GET")`)).toBe(200);
    expect(await page.evaluate(`(${status})("/v1/sessions/sweep", "POST")`)).toBe(200);
    await page.reload();
    await page.getByRole("heading", { name: /^No turn in flight/ }).waitFor();
  });

  it("can be talked from over plain HTTP, where browsers offer less", async () => {
    await using door = await plainDoor(server);
    await using opened = await openPage(browser, `${door.url}#/chat`);
    const { page, allow } = opened;
    allow(/status of 401|Cross-Origin-Opener-Policy header has been ignored/);
    await page.getByRole("dialog", { name: "Log in" }).getByLabel("Key").fill(OPERATOR);
    await page.keyboard.press("Enter");
    expect(await page.evaluate("isSecureContext")).toBe(false);
    await page.getByLabel("Message", { exact: true }).fill("Good morning");
    await page.keyboard.press("Enter");
    await page.locator(".prose", { hasText: "Hello." }).waitFor();
  });

  it("who is logged in does nothing for a page on another port of the host", async () => {
    await using opened = await openPage(browser, server.url);
    opened.allow(/status of 401/);
    const dialog = opened.page.getByRole("dialog", { name: "Log in" });
    await dialog.getByLabel("Key").fill(OPERATOR);
    await opened.page.keyboard.press("Enter");
    await dialog.waitFor({ state: "hidden" });

    const seen: string[] = [];
    await using spy = await listen(
      createServer((asked, response) => {
        // Between the two, to see that the browser does send the cookie.
        seen.push(`${asked.method} ${asked.headers.cookie === undefined ? "bare" : "cookie"}`);
        forward(server, asked, response, (status) => seen.push(String(status)));
      }),
    );
    await using hostile = await listen(
      createServer((_asked, response) => {
        response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html>");
      }),
    );
    const page = await opened.page.context().newPage();
    await page.goto(hostile.url);
    const send = (method: string) =>
      page.evaluate(
        `fetch("${spy.url}/v1/sessions${method === "POST" ? "/sweep" : ""}", {
           method: "${method}", mode: "no-cors", credentials: "include" }).then(() => "sent")`,
      );
    expect([await send("GET"), await send("POST")]).toEqual(["sent", "sent"]);
    expect(seen).toEqual(["GET cookie", "401", "POST cookie", "401"]);
    await page.close();
  });
});

interface Door extends AsyncDisposable {
  readonly url: string;
}

async function plainDoor(server: InProcessServer): Promise<Door> {
  const url = new URL(server.url);
  url.hostname = PLAIN_NAME;
  return { url: url.href, [Symbol.asyncDispose]: async () => undefined };
}

/** Neither the name nor the scheme is passed on, as with a proxy that nobody has told to. */
async function tlsDoor(server: InProcessServer): Promise<Door> {
  const directory = await mkdtemp(join(tmpdir(), "plimsoll-door-"));
  const files = makeCertificate(directory);
  const [key, cert] = await Promise.all([readFile(files.key), readFile(files.certificate)]);
  await rm(directory, { recursive: true });
  const proxy = createTlsServer({ key, cert }, (asked, response) => {
    forward(server, asked, response);
  });
  return listen(proxy, "https");
}

function forward(
  server: InProcessServer,
  asked: Parameters<RequestListener>[0],
  response: Parameters<RequestListener>[1],
  onStatus: (status: number) => void = () => undefined,
): void {
  const { host } = new URL(server.url);
  const { method = "GET" } = asked;
  const further = request(
    server.url + (asked.url ?? "/"),
    { method, headers: { ...asked.headers, host } },
    (answer) => {
      onStatus(answer.statusCode ?? 0);
      response.writeHead(answer.statusCode ?? 0, answer.headers);
      answer.on("error", () => response.destroy()).pipe(response);
    },
  );
  further.on("error", () => response.destroy());
  response.on("close", () => further.destroy());
  asked.pipe(further);
}

async function listen(
  server: Server | ReturnType<typeof createTlsServer>,
  scheme = "http",
): Promise<Door> {
  await once(server.listen(0, "127.0.0.1"), "listening");
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  return {
    url: `${scheme}://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
