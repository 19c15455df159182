/**
 * Goal: an operator logs in to the console and is let in by its cookie, and nobody else is: no caller,
 * no foreign page, no page that borrows a name, no cookie that is old, copied or made up.
 * Method: requests as browsers and their enemies send them, against whole servers.
 */
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../helpers/leaks.ts";
import { type InProcessServer, startServer, type TestServer } from "../helpers/server.ts";

const SCRIPT = `rules: [{ reply: [{ text: "Hello." }] }]`;
const KEYS = { ops: "operator-key-91bc", other: "operator-key-22f0", caller: "caller-key-7f3a" };
const CORS = "https://app.example.com";
const PATH = "/console/session";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const entry = (id: string, key: string, role = "operator") =>
  `    - { id: ${id}, tenant: acme, role: ${role}, sha256: "${sha256(key)}" }`;
const ALL = [
  entry("ops", KEYS.ops),
  entry("other", KEYS.other),
  entry("web", KEYS.caller, "caller"),
];
const serverFile = (keys: readonly string[] = ALL, more = "") =>
  `auth:\n  keys:\n${keys.join("\n")}\nhttp: { corsOrigins: ["${CORS}"] }\n${more}`;
const REPLICAS = `console: { replicas: [{ name: b, url: "http://127.0.0.1:1", key: other-side-key }] }`;

/** What a browser says of a request of the page itself. */
const OWN = { "sec-fetch-site": "same-origin" };

let server: InProcessServer;

beforeAll(async () => {
  server = await startServer({ script: SCRIPT, serverFile: serverFile(ALL, REPLICAS) });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

type Headers = Readonly<Record<string, string>>;
type At = Pick<TestServer, "url">;

function logIn(at: At, key: string, headers: Headers = {}): Promise<Response> {
  return fetch(at.url + PATH, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ key }),
  });
}

/** As a browser would send it back. */
async function cookieOf(answer: Response | Promise<Response>): Promise<string> {
  const { headers, status } = await answer;
  expect(status).toBe(204);
  return headers.getSetCookie()[0]?.split(";")[0] ?? "";
}

/** @returns The status, and the code of a refusal. */
async function ask(at: At, path: string, headers: Headers, method = "GET"): Promise<string> {
  const answer = await fetch(at.url + path, { method, headers });
  const body = await answer.text();
  const code = answer.ok ? "" : ` ${(JSON.parse(body) as { code: string }).code}`;
  return `${answer.status}${code}`;
}

async function session(at: At, headers: Headers): Promise<Record<string, unknown>> {
  const answer = await fetch(at.url + PATH, { headers });
  expect([answer.status, answer.headers.get("cache-control")]).toEqual([200, "no-store"]);
  return (await answer.json()) as Record<string, unknown>;
}

describe("an operator", () => {
  it("logs in with a key, and is let in by a cookie that no script can read", async () => {
    const answer = await logIn(server, KEYS.ops, OWN);
    const [set = "", ...more] = answer.headers.getSetCookie();
    expect([answer.status, answer.headers.get("cache-control"), more]).toEqual([
      204,
      "no-store",
      [],
    ]);
    expect(set).toMatch(
      /^plimsoll-[0-9a-f]{8}=[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/,
    );
    const headers = { ...OWN, cookie: `theme=dark; ${await cookieOf(answer)}` };
    for (const path of ["/capacity", "/v1/sessions", "/v1/agents", "/v1/turns"]) {
      expect([path, await ask(server, path, headers)]).toEqual([path, "200"]);
    }
    expect(await ask(server, "/v1/sessions/sweep", headers, "POST")).toBe("200");
    const read = await fetch(`${server.url}/capacity`, { headers });
    expect(read.headers.get("cache-control")).toBe("no-store");
  });

  it("is told who that is, and which other replicas there are; nobody else is", async () => {
    const nobody = await session(server, OWN);
    expect(nobody).toEqual({ auth: true, caller: null, mayTryLoad: true, replicas: [] });
    const cookie = await cookieOf(logIn(server, KEYS.ops, OWN));
    const known = await session(server, { ...OWN, cookie });
    expect(known).toEqual({
      auth: true,
      caller: { id: "ops", tenant: "acme", role: "operator" },
      mayTryLoad: true,
      replicas: [{ id: "b", name: "b" }],
    });
    // Nor is a key looked at here: who tries some would learn which one is known.
    for (const key of [KEYS.caller, KEYS.ops]) {
      const headers = { authorization: `Bearer ${key}` };
      expect(await session(server, headers)).toMatchObject({ caller: null, replicas: [] });
    }
  });

  it("logs out for good: a copy of the cookie opens nothing, and its streams end", async () => {
    const cookie = await cookieOf(logIn(server, KEYS.ops, OWN));
    const other = await cookieOf(logIn(server, KEYS.ops, OWN));
    const streams = await Promise.all(
      [cookie, other].map((each) =>
        fetch(`${server.url}/v1/feed`, { headers: { ...OWN, cookie: each } }),
      ),
    );
    expect(streams.map(({ status }) => status)).toEqual([200, 200]);
    const [ended, running] = streams.map((stream) => closed(stream));
    const answer = await fetch(server.url + PATH, {
      method: "DELETE",
      headers: { ...OWN, cookie },
    });
    expect(answer.status).toBe(204);
    for (const set of answer.headers.getSetCookie()) expect(set).toContain("=; Path=/; Max-Age=0");
    expect(await ask(server, "/capacity", { ...OWN, cookie })).toBe("401 unauthorized");
    await until(() => ended?.isClosed === true, "the stream of the login to end");
    expect(running?.isClosed).toBe(false);
    expect(await ask(server, "/capacity", { ...OWN, cookie: other })).toBe("200");
    await running?.leave();
  });

  it("who was never in may log out", async () => {
    expect(await ask(server, PATH, OWN, "DELETE")).toBe("204");
  });
});

/** Reads it, and says whether it is over. */
function closed(stream: Response): { isClosed: boolean; leave: () => Promise<void> } {
  const reader = stream.body?.getReader();
  const state = { isClosed: false, leave: async () => reader?.cancel() };
  const read = async (): Promise<void> => {
    while ((await reader?.read())?.done === false);
  };
  void read().then(
    () => (state.isClosed = true),
    () => (state.isClosed = true),
  );
  return state;
}

describe("whoever has no operator's key", () => {
  it.each([
    ["a caller's", KEYS.caller, "403 forbidden"],
    ["one that nobody knows", "guessed-key", "401 unauthorized"],
    ["what the server file has of one", sha256(KEYS.ops), "401 unauthorized"],
  ])("gets no cookie for %s", async (_what, key, refused) => {
    const answer = await logIn(server, key, OWN);
    const { code, detail } = (await answer.json()) as { code: string; detail: string };
    expect(`${answer.status} ${code}`).toBe(refused);
    expect([answer.headers.getSetCookie(), detail.includes(key)]).toEqual([[], false]);
  });

  it.each([
    "{}",
    `{"key":""}`,
    `{"key":1}`,
    `{"key":"x","more":1}`,
    `"${"x".repeat(2_000)}"`,
    "x",
    "",
  ])("gets none for %s", async (body) => {
    const headers = { "content-type": "application/json", ...OWN };
    const answer = await fetch(server.url + PATH, { method: "POST", headers, body });
    expect([answer.status, answer.headers.get("content-type")]).toEqual([
      400,
      "application/problem+json",
    ]);
  });

  it("can send no form, which browsers send without asking first", async () => {
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const body = `key=${KEYS.ops}`;
    expect((await fetch(server.url + PATH, { method: "POST", headers, body })).status).toBe(415);
  });

  it("finds nothing in the data directory that could be sent", async () => {
    const cookie = await cookieOf(logIn(server, KEYS.ops, OWN));
    const [name = "", word = ""] = cookie.split("=");
    const file = join(server.directory, "data", "logins.json");
    const text = await readFile(file, "utf8");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    for (const secret of [word, KEYS.ops, sha256(KEYS.ops)]) expect(text).not.toContain(secret);
    const kept = [...text.matchAll(/"([\w-]{43})"/g)].map(([, each]) => each);
    expect(kept.length).toBeGreaterThan(1);
    for (const each of [...kept, "a".repeat(43), "", "__proto__"]) {
      const headers = { ...OWN, cookie: `${name}=${each}` };
      expect(await ask(server, "/capacity", headers)).toBe("401 unauthorized");
    }
  });

  it("finds neither cookie nor key in the log", async () => {
    const cookie = await cookieOf(logIn(server, KEYS.ops, OWN));
    await logIn(server, "guessed-key-2", OWN);
    const log = JSON.stringify(server.logs);
    for (const secret of [
      cookie.split("=")[1] ?? "",
      KEYS.ops,
      "guessed-key-2",
      "other-side-key",
    ]) {
      expect(log).not.toContain(secret);
    }
    expect(log).toContain("has logged in");
  });
});

describe("a page of another origin", () => {
  const FOREIGN = [
    { "sec-fetch-site": "cross-site" },
    { "sec-fetch-site": "same-site" },
    { "sec-fetch-site": "none" },
    { "sec-fetch-site": "cross-site", origin: "https://evil.example" },
    { origin: "https://evil.example" },
    { origin: "http://evil.example" },
    // Another port of this host, to which the browser gives the same cookies.
    { origin: "http://127.0.0.1:1" },
    { origin: "null" },
    { origin: CORS },
    { "sec-fetch-site": "same-site", origin: CORS },
  ];

  it.each(FOREIGN)("cannot use the cookie: %o", async (said) => {
    const cookie = await cookieOf(logIn(server, KEYS.ops, OWN));
    for (const method of ["GET", "HEAD"]) {
      const answer = await fetch(`${server.url}/v1/sessions`, {
        method,
        headers: { ...said, cookie },
      });
      expect([method, answer.status]).toEqual([method, 401]);
    }
    expect(await ask(server, "/v1/sessions/sweep", { ...said, cookie }, "POST")).toBe(
      "401 unauthorized",
    );
    expect(await session(server, { ...said, cookie })).toMatchObject({
      caller: null,
      replicas: [],
    });
  });

  it.each(FOREIGN.filter((said) => said["sec-fetch-site"] !== "none"))(
    "can log nobody in or out: %o",
    async (said) => {
      expect(await logIn(server, KEYS.ops, said)).toMatchObject({ status: 403 });
      const cookie = await cookieOf(logIn(server, KEYS.ops, OWN));
      expect(await ask(server, PATH, { ...said, cookie }, "DELETE")).toBe("403 foreign_origin");
      expect(await ask(server, "/capacity", { ...OWN, cookie })).toBe("200");
    },
  );

  it("cannot change anything where its browser does not say whose it is", async () => {
    const cookie = await cookieOf(logIn(server, KEYS.ops, OWN));
    expect(await ask(server, "/v1/sessions/sweep", { cookie }, "POST")).toBe("401 unauthorized");
    const { host } = new URL(server.url);
    const own = { cookie, origin: `http://${host}` };
    expect(await ask(server, "/v1/sessions/sweep", own, "POST")).toBe("200");
    // Over plain HTTP no browser says it of a read, and none lets another page see the answer.
    expect(await ask(server, "/v1/sessions", { cookie })).toBe("200");
  });

  it("that has pointed its own name here has no cookie, and gets none without a key", async () => {
    const said = { ...OWN, origin: "http://evil.example", host: "evil.example" };
    expect((await raw(server, "/v1/sessions", said)).status).toBe(401);
    expect(JSON.parse((await raw(server, PATH, said)).body)).toMatchObject({ caller: null });
  });
});

describe("a key in the Authorization header", () => {
  it("is what counts, also where it is wrong and the cookie is right", async () => {
    const cookie = await cookieOf(logIn(server, KEYS.ops, OWN));
    const wrong = { ...OWN, cookie, authorization: "Bearer no-such-key" };
    expect(await ask(server, "/v1/sessions", wrong)).toBe("401 unauthorized");
    const callers = { ...OWN, cookie, authorization: `Bearer ${KEYS.caller}` };
    expect(await ask(server, "/capacity", callers)).toBe("403 forbidden");
    const foreign = { "sec-fetch-site": "cross-site", authorization: `Bearer ${KEYS.caller}` };
    expect(await ask(server, "/v1/sessions", foreign)).toBe("200");
  });
});

describe("behind a proxy that speaks TLS", () => {
  it.each([
    ["the proxy says so", { "x-forwarded-proto": "https" }],
    ["proxies say so", { "x-forwarded-proto": "https, http" }],
    ["the page is", { origin: "https://agents.example" }],
  ])("the cookie is for TLS alone, where %s", async (_where, said) => {
    const answer = await logIn(server, KEYS.ops, { ...OWN, ...said });
    expect(answer.headers.getSetCookie()[0]).toMatch(
      /^__Host-plimsoll-[0-9a-f]{8}=[\w-]{43}; Path=\/; .*; Secure$/,
    );
    const cookie = await cookieOf(answer);
    // The proxy may give the server its own name, and say nothing of TLS.
    const { host } = new URL(server.url);
    const reading = { ...OWN, cookie };
    expect(await ask(server, "/v1/sessions", reading)).toBe("200");
    const writing = { ...reading, origin: "https://agents.example", host };
    expect((await raw(server, "/v1/sessions/sweep", writing, "POST")).status).toBe(200);
    // An older browser says only the origin, and the proxy passes the name on.
    const older = { cookie, origin: "https://agents.example", host: "agents.example" };
    expect((await raw(server, "/v1/sessions/sweep", older, "POST")).status).toBe(200);
  });

  it("a cookie counts not that a page over plain HTTP may have set", async () => {
    const plain = await cookieOf(logIn(server, KEYS.ops, OWN));
    const headers = { ...OWN, "x-forwarded-proto": "https" };
    expect(await ask(server, "/v1/sessions", { ...headers, cookie: plain })).toBe(
      "401 unauthorized",
    );
    const secure = await cookieOf(logIn(server, KEYS.ops, headers));
    const both = `${plain.replace(/=.*/, "=x")}; ${secure}`;
    expect(await ask(server, "/v1/sessions", { ...headers, cookie: both })).toBe("200");
    const out = await fetch(server.url + PATH, {
      method: "DELETE",
      headers: { ...headers, cookie: both },
    });
    expect(out.headers.getSetCookie().filter((set) => set.startsWith("__Host-"))).toEqual([
      expect.stringContaining("; Secure"),
    ]);
    expect(await ask(server, "/v1/sessions", { ...headers, cookie: secure })).toBe(
      "401 unauthorized",
    );
  });
});

describe("after a restart", () => {
  it("a login goes on while its key is the same, and one that was ended does not", async () => {
    const directory = await firstRun();
    const { ops, other, ended } = directory;
    await using same = await startServer({
      script: SCRIPT,
      directory: directory.path,
      serverFile: serverFile(),
    });
    const state = async (at: At) => [
      await ask(at, "/capacity", { ...OWN, cookie: ops }),
      await ask(at, "/capacity", { ...OWN, cookie: other }),
      await ask(at, "/capacity", { ...OWN, cookie: ended }),
    ];
    expect(await state(same)).toEqual(["200", "200", "401 unauthorized"]);
  });

  it.each([
    ["removed", [entry("web", KEYS.caller, "caller")]],
    ["replaced", [entry("ops", "a-new-key-for-ops")]],
    ["no operator's any more", [entry("ops", KEYS.ops, "caller")]],
  ])("a login is over whose key was %s", async (_how, keys) => {
    const { path, ops, other } = await firstRun();
    const changed = serverFile([...keys, entry("other", KEYS.other)]);
    await using server2 = await startServer({
      script: SCRIPT,
      directory: path,
      serverFile: changed,
    });
    expect(await ask(server2, "/v1/sessions", { ...OWN, cookie: ops })).toBe("401 unauthorized");
    expect(await ask(server2, "/v1/sessions", { ...OWN, cookie: other })).toBe("200");
  });
});

/** Two logins and one that was ended, in a data directory that outlives its server. */
async function firstRun() {
  const first = await startServer({ script: SCRIPT, serverFile: serverFile() });
  const ops = await cookieOf(logIn(first, KEYS.ops, OWN));
  const other = await cookieOf(logIn(first, KEYS.other, OWN));
  const ended = await cookieOf(logIn(first, KEYS.ops, OWN));
  expect(await ask(first, PATH, { ...OWN, cookie: ended }, "DELETE")).toBe("204");
  await first.stop();
  return { path: first.directory, ops, other, ended };
}

describe("whoever tries keys", () => {
  it("has to wait after a few, whoever else does not", async () => {
    await using tried = await startServer({ script: SCRIPT, serverFile: serverFile() });
    const guess = async () => logIn(tried, "guess", OWN);
    // A place comes free every ten seconds, which may pass meanwhile on a machine that is busy.
    const isRefused = async () => {
      const { status, headers: said } = await guess();
      expect(said.get("retry-after")).toBe(status === 429 ? "10" : null);
      return status === 429;
    };
    let tries = 0;
    await until(async () => ((tries += 1), isRefused()), "guesses to be refused");
    expect(tries).toBeGreaterThan(10);
    // The right one as well: else it would be found by its answer.
    await until(
      async () => (await isRefused()) && (await logIn(tried, KEYS.ops, OWN)).status === 429,
      "the right key to be refused",
    );
    const body = JSON.stringify({ key: KEYS.ops });
    const headers = { "content-type": "application/json", ...OWN };
    const elsewhere = await raw(tried, PATH, headers, "POST", { body, from: "127.0.0.2" });
    expect(elsewhere.status).toBe(204);
    // What has a key is not touched by it.
    expect(await ask(tried, "/capacity", { authorization: `Bearer ${KEYS.ops}` })).toBe("200");
  });
});

describe("a server without keys", () => {
  it("has nothing to log in to, and looks at its name as ever", async () => {
    await using open = await startServer({ script: SCRIPT });
    expect(await session(open, OWN)).toEqual({
      auth: false,
      caller: { id: "anonymous", tenant: "default", role: "operator" },
      mayTryLoad: true,
      replicas: [],
    });
    const answer = await logIn(open, KEYS.ops, OWN);
    expect([answer.status, answer.headers.getSetCookie()]).toEqual([404, []]);
    expect(await ask(open, PATH, OWN, "DELETE")).toBe("204");
    expect((await raw(open, PATH, { host: "evil.example" })).status).toBe(421);
    const foreign = { origin: "https://evil.example" };
    expect(await ask(open, PATH, foreign, "DELETE")).toBe("403 foreign_origin");
  });
});

describe("a server without a console", () => {
  it("has no login, and takes no cookie of one that it had", async () => {
    const { path, ops } = await firstRun();
    const off = serverFile(ALL, "console: { enabled: false }");
    await using bare = await startServer({ script: SCRIPT, directory: path, serverFile: off });
    expect(await ask(bare, PATH, OWN)).toBe("404 not_found");
    expect((await logIn(bare, KEYS.ops, OWN)).status).toBe(404);
    expect(await ask(bare, "/v1/sessions", { ...OWN, cookie: ops })).toBe("401 unauthorized");
  });
});

/** Of a client that sets what `fetch` does not let one set: the Host, and where it comes from. */
function raw(
  at: At,
  path: string,
  headers: Headers,
  method = "GET",
  { body = "", from = "127.0.0.1" } = {},
): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const asking = httpRequest(at.url + path, { method, headers, localAddress: from }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      answer.on("end", () => resolve({ status: answer.statusCode ?? 0, body: text }));
    });
    asking.once("error", reject);
    asking.end(body);
  });
}
