/**
 * Goal: whatever a client does to its connection, it gets an answer that a program can read, and
 * no permit is lost.
 * Method: bytes on sockets against a whole server with the real `claude`.
 */
import dns from "node:dns";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { until } from "../helpers/leaks.ts";
import { type InProcessServer, startServer } from "../helpers/server.ts";
import { RawConnection, type RawAnswer, rawRequest } from "./raw.ts";

const SCRIPT = `
rules:
  - when: { userText: slow }
    tokensPerSecond: 20
    reply: [{ tokens: 600 }]
  - when: { userText: while }
    tokensPerSecond: 20
    reply: [{ tokens: 40 }]
  - reply: [{ text: "Hello." }]
`;

const SETTINGS = { "capacity.maxTurns": "1", "http.heartbeat": "1s" };
const TURNS = "/v1/agents/helper/turns";
let server: InProcessServer;
let host: string;

beforeAll(async () => {
  server = await startServer({ script: SCRIPT, settings: SETTINGS });
  host = new URL(server.url).host;
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

function turn(text: string, headers = "", path = TURNS): string {
  const body = JSON.stringify({ input: text });
  return (
    `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\n${headers}\r\n${body}`
  );
}

function get(path: string, headers = ""): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${headers}\r\n`;
}

function codeOf({ headers, body }: RawAnswer): string {
  expect(headers["content-type"]).toBe("application/problem+json");
  return (JSON.parse(body) as { code: string }).code;
}

async function runningTurns({ url }: InProcessServer): Promise<readonly string[]> {
  const { turns } = (await (await fetch(`${url}/v1/turns`)).json()) as {
    turns: readonly { turnId: string }[];
  };
  return turns.map(({ turnId }) => turnId);
}

async function inflight(): Promise<number> {
  return (await server.capacity()).inflight;
}

/** A turn that fills the replica until it is disposed of. */
async function fill(): Promise<Disposable> {
  await empty();
  const connection = new RawConnection(server.url);
  await connection.send(turn("slow", "Accept: text/event-stream\r\n"));
  await until(() => connection.received.includes("text_delta"), "a first token");
  return connection;
}

async function empty(): Promise<void> {
  await until(async () => (await inflight()) === 0, "no turn in flight");
}

describe("what is no request", () => {
  it.each([
    ["words", "hello\r\n\r\n", 400, "invalid_request"],
    ["a header without colon", "GET / HTTP/1.1\r\nHost x\r\n\r\n", 400, "invalid_request"],
    ["HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "invalid_request"],
    ["TLS", "\u0016\u0003\u0001\u0002\u0000\u0001", 400, "invalid_request"],
    ["no Host", "GET /livez HTTP/1.1\r\n\r\n", 400, "invalid_request"],
    ["two Hosts", "GET /livez HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400, "invalid_request"],
    [
      "two lengths",
      `POST /agui HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na`,
      400,
      "invalid_request",
    ],
    [
      "a length beside chunks",
      `POST /agui HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
      "invalid_request",
    ],
    [
      "a flood of headers",
      `GET / HTTP/1.1\r\n${"a: b\r\n".repeat(200_000)}`,
      431,
      "headers_too_large",
    ],
    [
      "a long address",
      `GET /${"a".repeat(1_000_000)} HTTP/1.1\r\nHost: a\r\n\r\n`,
      431,
      "headers_too_large",
    ],
    ["CONNECT", `CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n`, 405, "method_not_allowed"],
  ])("answers %s", async (_name, bytes, status, code) => {
    const answer = await rawRequest(server.url, bytes);
    expect({ status: answer.status, code: codeOf(answer) }).toEqual({ status, code });
    if (code !== "invalid_request") expect(answer.headers["connection"]).toBe("close");
  });

  it.each([
    ["headers", "GET / HTTP/1.1\r\nHost: a\r\n"],
    [
      "a body",
      `POST ${TURNS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{`,
    ],
  ])("answers a sender that is too slow with %s, and hangs up", async (_name, bytes) => {
    const settings = { ...SETTINGS, "http.requestTime": "1s" };
    await using hasty = await startServer({ script: SCRIPT, settings });
    using connection = new RawConnection(hasty.url);
    await connection.send(bytes);
    const [answer] = await connection.answers();
    expect(answer?.status).toBe(408);
    expect(codeOf(answer as RawAnswer)).toBe("request_timeout");
    await connection.closed;
  });

  it("closes a connection on which nothing was asked", async () => {
    using connection = new RawConnection(server.url);
    connection.socket.end();
    await connection.closed;
    expect(connection.received).toBe("");
  });
});

describe("a server on localhost", () => {
  it("is at one address, with all its rules, where the name has two", async () => {
    const real = dns.lookup;
    const both = ["127.0.0.1", "127.0.0.2"].map((address) => ({ address, family: 4 }));
    const lookup = (name: string, ...rest: unknown[]): unknown => {
      if (name !== "localhost") return Reflect.apply(real, dns, [name, ...rest]);
      const done = rest.at(-1) as (error: null, ...found: unknown[]) => void;
      const { all = false } = typeof rest[0] === "object" ? (rest[0] as { all?: boolean }) : {};
      return all ? done(null, both) : done(null, "127.0.0.1", 4);
    };
    const spy = vi.spyOn(dns, "lookup").mockImplementation(lookup);
    try {
      const settings = { ...SETTINGS, "listen.host": "localhost" };
      await using named = await startServer({ script: SCRIPT, settings });
      using other = new RawConnection(`http://127.0.0.2:${new URL(named.url).port}`);
      await other.send("hello\r\n\r\n");
      await other.closed;
      // What is refused by the system is by nobody else's rules.
      expect([other.isReset, other.received]).toEqual([true, ""]);
      expect((await fetch(`${named.url}/livez`)).status).toBe(200);
    } finally {
      spy.mockRestore();
    }
  });
});

describe("addresses and methods", () => {
  it.each([
    ["OPTIONS * HTTP/1.1", 404, "not_found"],
    ["GET nowhere HTTP/1.1", 400, "invalid_request"],
    ["GET /%zz HTTP/1.1", 400, "invalid_request"],
    ["GET /v1/agents/%2e%2e%2f%2e%2e%2fetc%2fpasswd HTTP/1.1", 404, "agent_not_found"],
    ["GET /v1/sessions/%00 HTTP/1.1", 404, "session_not_found"],
    [`GET /v1/sessions/${"a".repeat(300)} HTTP/1.1`, 400, "invalid_request"],
    ["GET /../../etc/passwd HTTP/1.1", 404, "not_found"],
    ["GET //livez HTTP/1.1", 404, "not_found"],
    ["DELETE /livez HTTP/1.1", 405, "method_not_allowed"],
    ["PROPFIND /livez HTTP/1.1", 405, "method_not_allowed"],
    ["GET /agui HTTP/1.1", 405, "method_not_allowed"],
    ["GET http://localhost/agui HTTP/1.1", 405, "method_not_allowed"],
    ["PUT /v1/agents/%68elper HTTP/1.1", 405, "method_not_allowed"],
  ])("%s", async (line, status, code) => {
    const answer = await rawRequest(server.url, `${line}\r\nHost: ${host}\r\n\r\n`);
    expect({ status: answer.status, code: codeOf(answer) }).toEqual({ status, code });
    if (status === 405) expect(answer.headers["allow"]).toMatch(/GET|POST/);
  });

  it("answers HEAD as GET without a body, and OPTIONS with the methods", async () => {
    const head = await fetch(`${server.url}/livez`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([
      200,
      "18",
      "",
    ]);
    const options = await fetch(`${server.url}/v1/sessions/x`, { method: "OPTIONS" });
    expect([options.status, options.headers.get("allow")]).toEqual([
      204,
      "GET, HEAD, DELETE, OPTIONS",
    ]);
  });

  it("reads an address in absolute form, and one with a slash at its end", async () => {
    expect((await rawRequest(server.url, get(`http://${host}/livez`))).status).toBe(200);
    expect((await rawRequest(server.url, get(`HTTP://${host}?a=b`))).status).toBe(200);
    expect((await rawRequest(server.url, get("/livez/"))).status).toBe(200);
  });

  it("answers HTTP/1.0 and closes", async () => {
    using connection = new RawConnection(server.url);
    await connection.send(`GET /livez HTTP/1.0\r\n\r\n`);
    const [answer] = await connection.answers();
    expect(answer?.status).toBe(200);
    await connection.closed;
  });
});

describe("bodies", () => {
  it("refuses a body that is too large, and still reads it, however it is sent", async () => {
    const large = Buffer.alloc(5 * 1024 * 1024, 0x20);
    const head = `POST ${TURNS} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\n`;
    for (const close of ["", "Connection: close\r\n"]) {
      const byLength = new RawConnection(server.url);
      await byLength.send(`${head}${close}Content-Length: ${large.length}\r\n\r\n`);
      await byLength.send(large);
      const chunked = new RawConnection(server.url);
      await chunked.send(`${head}${close}Transfer-Encoding: chunked\r\n\r\n`);
      await chunked.send(`${large.length.toString(16)}\r\n`);
      await chunked.send(large);
      await chunked.send("\r\n0\r\n\r\n");
      for (const connection of [byLength, chunked]) {
        using _open = connection;
        const [answer] = await connection.answers();
        expect([answer?.status, codeOf(answer as RawAnswer)]).toEqual([413, "payload_too_large"]);
        expect(connection.isReset).toBe(false);
      }
    }
  });

  it("keeps the connection after a body that it did not want", async () => {
    using connection = new RawConnection(server.url);
    const length = 500_000;
    await connection.send(
      `POST /nowhere HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${length}\r\n\r\n`,
    );
    expect((await connection.answers())[0]?.status).toBe(404);
    await connection.send("x".repeat(length));
    await connection.send(get("/livez"));
    expect((await connection.answers(2))[1]?.status).toBe(200);
  });

  it("does not ask for a body that it refuses", async () => {
    using connection = new RawConnection(server.url);
    const length = 10 * 1024 * 1024;
    await connection.send(
      `POST ${TURNS} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\n` +
        `Content-Length: ${length}\r\nExpect: 100-continue\r\n\r\n`,
    );
    const [answer] = await connection.answers();
    expect(answer?.status).toBe(413);
    expect(connection.received).not.toContain("100 Continue");
    await connection.closed;
  });

  it("asks for a body that it wants", async () => {
    using connection = new RawConnection(server.url);
    const body = JSON.stringify({ input: "hi" });
    await connection.send(
      `POST ${TURNS} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\n` +
        `Content-Length: ${body.length}\r\nExpect: 100-continue\r\n\r\n`,
    );
    await until(() => connection.received.includes("100 Continue"), "to be told to go on");
    await connection.send(body);
    expect((await connection.answers())[0]?.status).toBe(200);
    await empty();
  });

  it.each(["charset=utf-8", 'Charset="UTF-8"', "charset=us-ascii", "profile=x"])(
    "reads a body with %s",
    async (parameter) => {
      const answer = await rawRequest(
        server.url,
        `POST ${TURNS} HTTP/1.1\r\nHost: ${host}\r\n` +
          `Content-Type: application/json; ${parameter}\r\nContent-Length: 2\r\n\r\n{}`,
      );
      expect([answer.status, codeOf(answer)]).toEqual([400, "invalid_request"]);
    },
  );

  it("does not ask HTTP/1.0 for a body, which knows no such thing", async () => {
    using connection = new RawConnection(server.url);
    await connection.send(
      `POST ${TURNS} HTTP/1.0\r\nHost: ${host}\r\nContent-Type: application/json\r\n` +
        "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n{}",
    );
    expect((await connection.answers())[0]?.status).toBe(400);
    expect(connection.received).not.toContain("100 Continue");
  });

  it("cares for no type where there is no body", async () => {
    using _full = await fill();
    const [turnId = ""] = await runningTurns(server);
    const answer = await rawRequest(
      server.url,
      `POST /v1/turns/${turnId}/cancel HTTP/1.1\r\nHost: ${host}\r\n` +
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n\r\n",
    );
    expect(answer.status).toBe(202);
    await empty();
  });

  it("forgets an upload that is broken off", async () => {
    using connection = new RawConnection(server.url);
    await connection.send(
      `POST ${TURNS} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\n` +
        "Content-Length: 1000\r\n\r\n{",
    );
    connection.socket.destroy();
    await empty();
    expect(server.logs.filter(({ level }) => level === "error")).toEqual([]);
  });

  it.each([
    ["compressed", "Content-Encoding: gzip\r\nContent-Type: application/json\r\n", 415],
    ["of another type", "Content-Type: text/plain\r\n", 415],
    ["of a type that is none", "Content-Type: ;;;\r\n", 415],
    ["without a type", "", 415],
    ["in another charset", "Content-Type: application/json; charset=utf-16\r\n", 415],
  ])("refuses a body %s", async (_name, headers, status) => {
    const answer = await rawRequest(
      server.url,
      `POST ${TURNS} HTTP/1.1\r\nHost: ${host}\r\n${headers}Content-Length: 2\r\n\r\n{}`,
    );
    expect([answer.status, codeOf(answer)]).toEqual([status, "unsupported_media_type"]);
  });
});

describe("at capacity", () => {
  it("tells a client that is still sending, before it has sent all", async () => {
    using _full = await fill();
    const length = 1_000_000;
    for (const close of ["", "Connection: close\r\n"]) {
      using connection = new RawConnection(server.url);
      await connection.send(
        `POST ${TURNS} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\n` +
          `${close}Content-Length: ${length}\r\n\r\n{`,
      );
      const [answer] = await connection.answers();
      expect([answer?.status, codeOf(answer as RawAnswer)]).toEqual([429, "at_capacity"]);
      expect(answer?.headers["retry-after"]).toMatch(/^\d+$/);
      for (let sent = 1; sent < length; sent += 100_000) {
        await connection.send("x".repeat(Math.min(100_000, length - sent)));
      }
      expect(connection.isReset).toBe(false);
    }
  });

  it("tells a client that asks before it sends", async () => {
    using _full = await fill();
    using connection = new RawConnection(server.url);
    await connection.send(
      `POST ${TURNS} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\n` +
        "Content-Length: 900000\r\nExpect: 100-continue\r\n\r\n",
    );
    expect((await connection.answers())[0]?.status).toBe(429);
    expect(connection.received).not.toContain("100 Continue");
  });

  it("refuses a page of another origin first, so that it is promised no place", async () => {
    using _full = await fill();
    const { shed } = await server.capacity();
    for (const origin of ["https://evil.example", "null"]) {
      const answer = await rawRequest(server.url, turn("hi", `Origin: ${origin}\r\n`));
      expect([answer.status, codeOf(answer)]).toEqual([403, "foreign_origin"]);
    }
    expect((await server.capacity()).shed).toEqual(shed);
  });

  it("answers pipelined requests in their order", async () => {
    using _full = await fill();
    using connection = new RawConnection(server.url);
    await connection.send(get("/livez") + turn("hi") + get("/nowhere") + get("/readyz"));
    const statuses = (await connection.answers(4)).map(({ status }) => status);
    expect(statuses).toEqual([200, 429, 404, 200]);
  });
});

describe("clients that leave", () => {
  it("answers one that has only ended its side", async () => {
    await empty();
    using one = new RawConnection(server.url);
    await one.send(get("/v1/sessions"));
    one.socket.end();
    expect((await one.answers())[0]?.status).toBe(200);
    for (const accept of ["application/json", "text/event-stream"]) {
      using connection = new RawConnection(server.url);
      await connection.send(turn("while", `Accept: ${accept}\r\n`));
      connection.socket.end();
      const [answer] = await connection.answers();
      expect(answer?.status).toBe(200);
      expect(answer?.body).toContain('"completed"');
      await connection.closed;
      await empty();
    }
  });

  it.each([
    ["closes", "text/event-stream", (one: RawConnection) => one.socket.destroy()],
    ["resets", "text/event-stream", (one: RawConnection) => one.socket.resetAndDestroy()],
    ["closes", "application/json", (one: RawConnection) => one.socket.destroy()],
    ["resets", "application/json", (one: RawConnection) => one.socket.resetAndDestroy()],
  ])("cancels the turn of one that %s while it waits for %s", async (_name, accept, leave) => {
    await empty();
    using connection = new RawConnection(server.url);
    await connection.send(turn("slow", `Accept: ${accept}\r\n`));
    await until(async () => (await inflight()) === 1, "a turn in flight");
    leave(connection);
    await empty();
    expect(server.logs.filter(({ level }) => level === "error")).toEqual([]);
  });

  it("lets garbage after a request not spoil its answer", async () => {
    using connection = new RawConnection(server.url);
    await connection.send(turn("while", "Accept: text/event-stream\r\n"));
    await until(() => connection.received.includes("turn_started"), "the stream to start");
    await connection.send("garbage\r\n\r\n");
    await connection.send("more\r\n\r\n");
    const [answer] = await connection.answers();
    expect(answer?.body).toContain('"completed"');
    expect(connection.received).not.toContain("400 Bad");
    await connection.closed;
    await empty();
  });
});
