/**
 * Goal: a server without keys serves whoever can reach it, and no web page that borrows that reach.
 * Method: names in the Host header, as a browser sends them, against a whole server.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkHost } from "../../src/http/host-check.ts";
import { type InProcessServer, startServer } from "../helpers/server.ts";
import { rawRequest } from "./raw.ts";

let open: InProcessServer;

beforeAll(async () => {
  open = await startServer({
    script: `rules: [{ reply: [{ text: "Hello." }] }]`,
    settings: { "http.allowedHosts": "Plimsoll.internal" },
  });
});

afterAll(async () => {
  await open[Symbol.asyncDispose]();
});

describe("checkHost", () => {
  const code = (host: string | undefined, allowed: string[] = []) => {
    try {
      checkHost(host, allowed);
      return "ok";
    } catch (error) {
      return (error as { code: string }).code;
    }
  };

  it.each([
    "localhost",
    "LOCALHOST:80",
    "a.localhost:1",
    "127.0.0.1",
    "127.9.9.9:8080",
    "[::1]:80",
    "10.0.0.7:8080",
  ])("takes %s", (host) => expect(code(host)).toBe("ok"));

  it.each([
    undefined,
    "",
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "127.1",
    "::1",
    "evil@localhost",
    "[localhost]",
  ])("does not take %s", (host) => expect(code(host)).toBe("misdirected_request"));

  it("takes the names that are allowed", () => {
    expect(code("Agents.Internal:8080", ["agents.internal"])).toBe("ok");
    expect(code("x.agents.internal", ["agents.internal"])).toBe("misdirected_request");
  });
});

describe("a server without keys", () => {
  const get = (path: string, host: string) =>
    rawRequest(open.url, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);

  it("does not serve a name that somebody has pointed to it", async () => {
    const answer = await get("/v1/sessions", "evil.example");
    expect([answer.status, answer.body]).toEqual([
      421,
      expect.stringContaining("misdirected_request") as string,
    ]);
  });

  it("answers probes under any name, and its own names", async () => {
    expect((await get("/livez", "10-0-0-7.pods")).status).toBe(200);
    expect((await get("/v1/sessions", "plimsoll.internal")).status).toBe(200);
  });

  it("cannot be written to by a page of another origin", async () => {
    const simple = await fetch(`${open.url}/v1/agents/helper/turns`, {
      method: "POST",
      headers: { "content-type": "text/plain", origin: "https://evil.example" },
      body: JSON.stringify({ input: "Hi" }),
    });
    expect(simple.status).toBe(403);
    expect(simple.headers.get("access-control-allow-origin")).toBeNull();
  });

  it.each([
    ["Origin: https://evil.example"],
    ["Origin: null"],
    ["Sec-Fetch-Site: cross-site"],
    ["Origin: http://127.0.0.1:1\r\nSec-Fetch-Site: same-site"],
  ])("takes nothing that a browser sends without asking first: %s", async (headers) => {
    for (const [method, path] of await writingRoutes()) {
      const { status, body } = await rawRequest(
        open.url,
        `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${headers}\r\nContent-Length: 0\r\n\r\n`,
      );
      expect([method, path, status]).toEqual([method, path, 403]);
      expect(body).toContain("foreign_origin");
    }
  });

  it("gives pages of other origins no stream: there are only so many", async () => {
    for (const path of ["/v1/feed", "/v1/turns/none/events"]) {
      const asking = `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n`;
      const foreign = await rawRequest(open.url, `${asking}Sec-Fetch-Site: cross-site\r\n\r\n`);
      expect([path, foreign.status]).toEqual([path, 403]);
      expect(foreign.body).toContain("foreign_origin");
    }
    const own = await fetch(`${open.url}/v1/feed`, { headers: { origin: open.url } });
    expect(own.status).toBe(200);
    await own.body?.cancel();
  });

  it("takes the same of a page of its own, and of whoever is no page", async () => {
    const { host } = new URL(open.url);
    const proxied = "Origin: https://agents.example\r\nSec-Fetch-Site: same-origin\r\n";
    for (const headers of ["", `Origin: http://${host}\r\n`, proxied]) {
      const { status } = await rawRequest(
        open.url,
        `POST /v1/sessions/sweep HTTP/1.1\r\nHost: ${host}\r\n${headers}Content-Length: 0\r\n\r\n`,
      );
      expect([headers, status]).toEqual([headers, 200]);
    }
  });
});

/** Every address that may change something, as /openapi.json has them. */
async function writingRoutes(): Promise<readonly (readonly [method: string, path: string])[]> {
  const response = await fetch(`${open.url}/openapi.json`);
  const { paths } = (await response.json()) as { paths: Record<string, Record<string, unknown>> };
  const routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods)
      .filter((method) => method !== "get")
      .map((method) => [method.toUpperCase(), path.replaceAll(/\{\w+\}/gu, "helper")] as const),
  );
  expect(routes.length).toBeGreaterThan(6);
  return routes;
}
