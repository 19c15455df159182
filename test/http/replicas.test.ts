/**
 * Goal: the feed of another replica is passed on as it comes, with a key that nobody else ever sees, and
 * whatever is wrong with the other side is told in our words.
 * Method: other sides of a test's own that misbehave in every way, and a real one at the end.
 */
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Server } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Relays } from "../../src/http/console/relays.ts";
import { until } from "../helpers/leaks.ts";
import { type InProcessServer, startServer } from "../helpers/server.ts";
import { freePort, makeCertificate } from "../helpers/service.ts";

const SCRIPT = `rules: [{ reply: [{ text: "Hello." }] }]`;
const OTHER_KEY = "key-of-the-other-side-51d0";
const KEY = "operator-key-91bc";
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const authFor = (...keys: readonly string[]) =>
  `auth: { keys: [${keys.map((key, at) => `{ id: k${at}, role: operator, sha256: "${sha256(key)}" }`).join(", ")}] }`;

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** Another side; it answers as it is told, and keeps what it was asked. */
class OtherSide implements AsyncDisposable {
  readonly asked: IncomingMessage[] = [];
  /** Responses that are not over. */
  open = 0;
  readonly #server: Server;

  constructor(answer: Answer, tls?: { readonly key: string; readonly cert: string }) {
    const handle: Answer = (request, response) => {
      this.asked.push(request);
      this.open += 1;
      response.once("close", () => (this.open -= 1));
      answer(request, response);
    };
    this.#server = tls === undefined ? createServer(handle) : createTlsServer(tls, handle);
  }

  static async start(answer: Answer): Promise<OtherSide> {
    const side = new OtherSide(answer);
    await side.listen();
    return side;
  }

  async listen(): Promise<this> {
    await once(this.#server.listen(0, "127.0.0.1"), "listening");
    return this;
  }

  get port(): number {
    const address = this.#server.address();
    return address !== null && typeof address === "object" ? address.port : 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    if ("closeAllConnections" in this.#server)
      (this.#server as ReturnType<typeof createServer>).closeAllConnections();
    await once(this.#server, "close");
  }
}

const EVENTS = { "content-type": "text/event-stream; charset=utf-8" };
const stream =
  (...chunks: readonly string[]): Answer =>
  (_request, response) => {
    response.writeHead(200, EVENTS);
    for (const chunk of chunks) response.write(chunk);
  };

/** A whole server that shows this one as `b`, and one at which nobody listens as `gone`. */
async function serverFor(b: { readonly port: number }): Promise<InProcessServer> {
  const serverFile = `
${authFor(KEY)}
console:
  replicas:
    - { name: b, url: "http://127.0.0.1:${b.port}/below", key: ${OTHER_KEY} }
    - { name: gone, url: "http://127.0.0.1:${await freePort()}", key: ${OTHER_KEY} }
`;
  return startServer({ script: SCRIPT, serverFile });
}

const headers = { authorization: `Bearer ${KEY}` };
const ask = (server: InProcessServer, id: string, signal?: AbortSignal) =>
  fetch(`${server.url}/v1/replicas/${id}/feed`, { headers, ...(signal && { signal }) });

describe("the feed of another replica", () => {
  it("is passed on byte by byte, with the key of the other side and nothing else of this one", async () => {
    const texts = [": ping\n\n", 'event: capacity\ndata: {"type":"capa', 'city"}\n\n'];
    await using side = await OtherSide.start((_request, response) => {
      response.writeHead(200, EVENTS);
      for (const text of texts) response.write(text);
      response.end();
    });
    await using server = await serverFor(side);
    const answer = await ask(server, "b");
    expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
    expect(answer.headers.get("cache-control")).toContain("no-cache");
    // The other side ends it, so it ends here, in order.
    expect(await answer.text()).toBe(texts.join(""));
    const [asked] = side.asked;
    expect([asked?.method, asked?.url]).toEqual(["GET", "/below/v1/feed"]);
    expect(asked?.headers.authorization).toBe(`Bearer ${OTHER_KEY}`);
    expect(JSON.stringify(asked?.rawHeaders)).not.toContain(KEY);
    expect(asked?.headers.cookie).toBeUndefined();
  });

  it("ends on the other side when its reader leaves", async () => {
    await using side = await OtherSide.start(stream("data: 1\n\n"));
    await using server = await serverFor(side);
    const leave = new AbortController();
    const answer = await ask(server, "b", leave.signal);
    await answer.body?.getReader().read();
    expect(side.open).toBe(1);
    leave.abort();
    await until(() => side.open === 0, "the other side to be left");
  });

  it("is not waited for by a reader who has left before it answered", async () => {
    await using side = await OtherSide.start(() => undefined);
    await using server = await serverFor(side);
    const leave = new AbortController();
    const asking = ask(server, "b", leave.signal).catch(() => "left");
    await until(() => side.open === 1, "the other side to be asked");
    leave.abort();
    expect(await asking).toBe("left");
    await until(() => side.open === 0, "the other side to be left");
  });

  it("ends in order when this server stops", async () => {
    await using side = await OtherSide.start(stream("data: 1\n\n"));
    await using server = await serverFor(side);
    const answer = await ask(server, "b");
    const text = answer.text();
    await until(() => side.open === 1, "the other side to be read");
    await server.stop();
    expect(await text).toBe("data: 1\n\n");
    await until(() => side.open === 0, "the other side to be left");
  });
});

describe("another replica that gives none", () => {
  const SECRETIVE = "a text of the other side";

  it.each<[string, Answer, string]>([
    [
      "with another key",
      (_, response) => response.writeHead(401).end(SECRETIVE),
      "does not take the key",
    ],
    [
      "for a caller",
      (_, response) => response.writeHead(403).end(SECRETIVE),
      "does not take the key",
    ],
    ["as it is older", (_, response) => response.writeHead(404).end(SECRETIVE), "has no feed"],
    ["as it is full", (_, response) => response.writeHead(503).end(SECRETIVE), "status 503"],
    ["as it is no replica", (_, response) => response.writeHead(200).end(SECRETIVE), "status 200"],
    ["that breaks off", (_, response) => void response.destroy(), "cannot be reached"],
  ])("%s is told as such", async (_how, answer, state) => {
    await using side = await OtherSide.start(answer);
    await using server = await serverFor(side);
    const refused = await ask(server, "b");
    const body = await refused.text();
    expect([refused.status, refused.headers.get("content-type")]).toEqual([
      502,
      "application/problem+json",
    ]);
    expect(JSON.parse(body)).toMatchObject({ code: "replica_unavailable", retryable: true });
    expect(body).toContain(state);
    const told = body + JSON.stringify(server.logs) + (await server.metrics(KEY));
    for (const secret of [SECRETIVE, OTHER_KEY, String(side.port)])
      expect(told).not.toContain(secret);
    await until(() => side.open === 0, "the other side to be left");
  });

  it("and wants to be asked elsewhere gets no key to take there", async () => {
    await using thief = await OtherSide.start(stream("data: stolen\n\n"));
    await using side = await OtherSide.start((_request, response) => {
      response.writeHead(307, { location: `http://127.0.0.1:${thief.port}/v1/feed` }).end();
    });
    await using server = await serverFor(side);
    expect((await ask(server, "b")).status).toBe(502);
    expect(thief.asked).toEqual([]);
  });

  it("is there for operators alone, by the names of the settings", async () => {
    await using side = await OtherSide.start(stream());
    await using server = await serverFor(side);
    const list = await fetch(`${server.url}/v1/replicas`, { headers });
    const replicas = ["b", "gone"].map((name) => ({ id: name, name }));
    expect(await list.json()).toEqual({ replicas });
    const refused = await ask(server, "gone");
    expect([refused.status, await refused.json()]).toEqual([
      502,
      expect.objectContaining({ detail: expect.stringContaining("ECONNREFUSED") as string }),
    ]);
    for (const id of ["c", "..%2f..", "http:%2f%2f127.0.0.1:1", "__proto__"]) {
      expect([id, (await ask(server, id)).status]).toEqual([id, 404]);
    }
    expect((await fetch(`${server.url}/v1/replicas/b/feed`)).status).toBe(401);
    expect(side.asked).toEqual([]);
  });
});

describe("Relays", () => {
  const relaysFor = (url: string, times?: ConstructorParameters<typeof Relays>[1]) =>
    new Relays([{ name: "b", url, key: null }], times);
  const never = new AbortController().signal;

  it("do not wait for ever for an answer", async () => {
    await using side = await OtherSide.start(() => undefined);
    const times = { answerTimeoutMs: 50, silenceTimeoutMs: 60_000 };
    using relays = relaysFor(`http://127.0.0.1:${side.port}/`, times);
    await expect(relays.read("b", never)).rejects.toMatchObject({
      code: "replica_unavailable",
      message: expect.stringContaining("in time") as string,
    });
    await until(() => side.open === 0, "the other side to be left");
    expect(side.asked[0]?.headers.authorization).toBeUndefined();
  });

  it("end what is silent", async () => {
    await using side = await OtherSide.start((_request, response) => {
      response.writeHead(200, EVENTS).flushHeaders();
    });
    const times = { answerTimeoutMs: 60_000, silenceTimeoutMs: 50 };
    using relays = relaysFor(`http://127.0.0.1:${side.port}/`, times);
    for await (const bytes of await relays.read("b", never)) expect(bytes).toBeUndefined();
    await until(() => side.open === 0, "the other side to be left");
  });

  it("have so many readers, and room again when one leaves, also one who never read", async () => {
    await using side = await OtherSide.start(stream("data: 1\n\n"));
    using relays = relaysFor(`http://127.0.0.1:${side.port}/`);
    const readers = Array.from({ length: 64 }, () => new AbortController());
    await Promise.all(readers.map(({ signal }) => relays.read("b", signal)));
    await expect(relays.read("b", never)).rejects.toMatchObject({ code: "too_many_readers" });
    readers[0]?.abort();
    await relays.read("b", never);
    await expect(relays.read("b", never)).rejects.toMatchObject({ code: "too_many_readers" });
  });

  it("take no new reader once they are closed", async () => {
    const relays = relaysFor("http://127.0.0.1:1/");
    relays[Symbol.dispose]();
    await expect(relays.read("b", never)).rejects.toMatchObject({ code: "draining" });
  });

  it("trust no certificate that the system does not trust", async () => {
    const directory = await mkdtemp(join(tmpdir(), "plimsoll-tls-"));
    try {
      const files = makeCertificate(directory);
      const [key, cert] = await Promise.all(
        [files.key, files.certificate].map((file) => readFile(file, "utf8")),
      );
      await using side = new OtherSide(stream("data: 1\n\n"), { key: key ?? "", cert: cert ?? "" });
      await side.listen();
      using relays = relaysFor(`https://127.0.0.1:${side.port}/`);
      await expect(relays.read("b", never)).rejects.toMatchObject({
        code: "replica_unavailable",
        message: expect.stringContaining("SELF_SIGNED_CERT") as string,
      });
      expect(side.asked).toEqual([]);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});

describe("two real replicas", () => {
  let other: InProcessServer;
  let server: InProcessServer;

  beforeAll(async () => {
    other = await startServer({ script: SCRIPT, serverFile: authFor(OTHER_KEY) });
    const serverFile = `
${authFor(KEY)}
console: { replicas: [{ name: other, url: "${other.url}", key: ${OTHER_KEY} }] }`;
    server = await startServer({ script: SCRIPT, serverFile });
  });

  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await other[Symbol.asyncDispose]();
  });

  it("are both seen from one of them, also with the cookie of the console", async () => {
    const login = await fetch(`${server.url}/console/session`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ key: KEY }),
    });
    const cookie = login.headers.getSetCookie()[0]?.split(";")[0] ?? "";
    const leave = new AbortController();
    const answer = await fetch(`${server.url}/v1/replicas/other/feed`, {
      headers: { cookie, "sec-fetch-site": "same-origin" },
      signal: leave.signal,
    });
    expect(answer.status).toBe(200);
    let text = "";
    const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
    await until(async () => {
      text += (await reader?.read())?.value ?? "";
      return text.includes("event: capacity");
    }, "the load of the other replica");
    expect(text).toContain("event: hello");
    leave.abort();
  });
});
