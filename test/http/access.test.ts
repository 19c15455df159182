/**
 * Goal: every address asks for what its line of the route table says, and keys and origins are what
 * they claim to be.
 * Method: the table is walked against a server with keys.
 */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { routeTable } from "../../src/http/route-table.ts";
import type { ServerParts } from "../../src/http/server-parts.ts";
import { type InProcessServer, startServer } from "../helpers/server.ts";

const SCRIPT = `rules: [{ reply: [{ text: "Hello." }] }]`;
const KEYS = { caller: "caller-key-7f3a", operator: "operator-key-91bc", other: "other-key-44de" };
const ORIGIN = "https://app.example.com";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const serverFile = `
auth:
  keys:
    - { id: one, tenant: acme, sha256: "${sha256(KEYS.caller)}" }
    - { id: two, tenant: acme, role: operator, sha256: "${sha256(KEYS.operator)}" }
    - { id: three, tenant: other, sha256: "${sha256(KEYS.other)}" }
http:
  corsOrigins: ["${ORIGIN}"]
`;

/** What the table needs to be made; its handlers are not called here. */
const routes = routeTable({
  version: "0",
  config: { telemetry: { publicMetrics: false }, console: { isEnabled: true } },
} as unknown as ServerParts);

let locked: InProcessServer;

beforeAll(async () => {
  locked = await startServer({ script: SCRIPT, serverFile });
});

afterAll(async () => {
  await locked[Symbol.asyncDispose]();
});

interface Asked {
  readonly status: number;
  readonly code: string | undefined;
}

async function ask(method: string, path: string, key?: string): Promise<Asked> {
  const response = await fetch(locked.url + path.replace(/:\w+/g, "nothing"), {
    method,
    ...(key !== undefined && { headers: { authorization: `Bearer ${key}` } }),
  });
  const { status, headers, body } = response;
  if (headers.get("content-type") !== "application/problem+json") {
    // Some answers have no end.
    await body?.cancel();
    return { status, code: undefined };
  }
  const { code } = (await response.json()) as { code: string };
  return { status, code };
}

describe("the route table", () => {
  it.each(routes.map((route) => [`${route.method} ${route.path}`, route] as const))(
    "%s asks for what it says",
    async (_name, { method, path, access }) => {
      const codes = {
        nobody: (await ask(method, path)).code,
        stranger: (await ask(method, path, "no-such-key")).code,
        caller: (await ask(method, path, KEYS.caller)).code,
        operator: (await ask(method, path, KEYS.operator)).code,
      };
      const denied = ["unauthorized", "forbidden"];
      const isLetIn = Object.fromEntries(
        Object.entries(codes).map(([who, code]) => [who, !denied.includes(code ?? "")]),
      );
      expect(isLetIn).toEqual({
        nobody: access === "public",
        stranger: access === "public",
        caller: access !== "operator",
        operator: true,
      });
      if (access !== "public") expect(codes.nobody).toBe("unauthorized");
      if (access === "operator") expect(codes.caller).toBe("forbidden");
    },
  );

  it("names a HEAD like its GET", async () => {
    const head = await fetch(`${locked.url}/v1/sessions`, { method: "HEAD" });
    expect([head.status, head.headers.get("www-authenticate")]).toEqual([401, "Bearer"]);
  });
});

describe("types that cannot be had", () => {
  it.each(["/v1/agents/test/turns", "/agui", "/v1/agents/test/agui/connect"])(
    "are answered by %s with those that can",
    async (path) => {
      const asking = async (accept: string) => {
        const headers = {
          authorization: `Bearer ${KEYS.caller}`,
          accept,
          "content-type": "application/json",
        };
        const response = await fetch(locked.url + path, { method: "POST", headers, body: "{}" });
        return { status: response.status, body: (await response.json()) as Record<string, string> };
      };
      const { status, body } = await asking("text/html");
      expect({ status, code: body["code"] }).toEqual({ status: 406, code: "not_acceptable" });
      const typesIn = (text = "") => [...text.matchAll(/[a-z]+\/[a-z.+-]+/g)].map(([type]) => type);
      const offered = typesIn(body["detail"]);
      expect(offered.length).toBeGreaterThan(1);
      expect(typesIn(body["remedy"]).filter((type) => !offered.includes(type))).toEqual([]);
      // The body does not fit, or the agent is not there, but that is another matter.
      for (const type of offered) expect([400, 404], type).toContain((await asking(type)).status);
    },
  );
});

describe("keys", () => {
  it.each([
    ["", 401],
    ["Bearer", 401],
    ["Bearer ", 401],
    [`Basic ${KEYS.caller}`, 401],
    [`Bearer ${KEYS.caller} ${KEYS.caller}`, 401],
    [`Bearer ${KEYS.caller}x`, 401],
    [`Bearer ${sha256(KEYS.caller)}`, 401],
    [KEYS.caller, 401],
    [`bearer ${KEYS.caller}`, 200],
    [`Bearer   ${KEYS.caller}`, 200],
  ])("'%s' gives %i", async (authorization, status) => {
    const response = await fetch(`${locked.url}/v1/agents`, { headers: { authorization } });
    expect(response.status).toBe(status);
  });

  it("keep tenants apart", async () => {
    const turn = await fetch(`${locked.url}/v1/agents/helper/turns`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${KEYS.caller}` },
      body: JSON.stringify({ input: "Hi", threadId: "ours" }),
    });
    const { sessionId } = (await turn.json()) as { sessionId: string };
    const path = `/v1/sessions/${sessionId}`;
    expect(await ask("GET", path, KEYS.other)).toEqual({ status: 404, code: "session_not_found" });
    expect(await ask("DELETE", path, KEYS.other)).toEqual({
      status: 404,
      code: "session_not_found",
    });
    expect((await ask("GET", path, KEYS.caller)).status).toBe(200);
  });

  it("are in no log line", () => {
    const log = JSON.stringify(locked.logs);
    for (const key of [...Object.values(KEYS), "no-such-key"]) expect(log).not.toContain(key);
    expect(log).not.toContain(sha256(KEYS.caller));
  });
});

describe("pages of other origins", () => {
  const preflight = (origin: string) =>
    fetch(`${locked.url}/agui`, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "POST" },
    });

  it("may call when they are named", async () => {
    const answer = await preflight(ORIGIN);
    expect(answer.status).toBe(204);
    expect(answer.headers.get("access-control-allow-origin")).toBe(ORIGIN);
    expect(answer.headers.get("access-control-allow-headers")).toContain("Authorization");
    const refused = await fetch(`${locked.url}/v1/agents`, { headers: { origin: ORIGIN } });
    expect([refused.status, refused.headers.get("access-control-allow-origin")]).toEqual([
      401,
      ORIGIN,
    ]);
  });

  it.each(["https://evil.example", `${ORIGIN}.evil.example`, "http://app.example.com", "null"])(
    "may not when they are %s",
    async (origin) => {
      const answer = await preflight(origin);
      expect(answer.headers.get("access-control-allow-origin")).toBeNull();
      expect(answer.headers.get("vary")).toBe("Origin");
    },
  );
});
