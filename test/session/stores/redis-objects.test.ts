import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { openObjectStore } from "../../../src/session/stores/open-object-store.ts";
import { until } from "../../helpers/leaks.ts";
import { startLossyProxy } from "../../helpers/lossy-proxy.ts";
import { hasRedis, type RedisServer, startRedis } from "../../helpers/redis-server.ts";
import { hasService, makeCertificate } from "../../helpers/service.ts";
import { cleanAfterTest, errorOf, temporaryDirectory } from "../fixture.ts";
import { countOf, countUp, countUpElsewhere } from "./count-up.ts";
import { describeObjectStore, textOf } from "./object-store-conformance.ts";
import { describeOutages, patiently } from "./object-store-outages.ts";

const isHere = hasRedis();

async function openRedis(url: string) {
  const store = await openObjectStore({ url: new URL(url), timeoutMs: 10_000 });
  cleanAfterTest(async () => store[Symbol.asyncDispose]());
  return store;
}

describe.runIf(isHere)("objects in Redis", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  describeObjectStore({
    open: () => openObjectStore({ url: new URL(server.url), timeoutMs: 10_000 }),
    manyNames: 20_000,
    listedNames: 1_100,
    randomRuns: 60,
    hasFreshVersions: true,
  });

  it("loses no count of several processes", async () => {
    const store = await openRedis(server.url);
    const elsewhere = countUpElsewhere(new URL(server.url), "p/count", 200, 2);
    await Promise.all([elsewhere, countUp(store, "p/count", 200)]);
    expect(countOf((await store.get("p/count"))?.body)).toBe(600);
  });

  it("never says that nothing was written when the answer was lost", async () => {
    await using proxy = await startLossyProxy(server.port);
    const to = new URL(server.url);
    to.port = `${proxy.port}`;
    const store = await openRedis(to.href);
    for (let round = 0; round < 5; round += 1) {
      proxy.answersToLose = 1;
      const put = store.put(`lost/${round}`, Buffer.from("1"), "absent");
      expect((await errorOf(put)).code).toBe("store_unavailable");
      await until(() => proxy.answersToLose === 0, "the answer to be lost");
      expect(await patiently(() => textOf(store, `lost/${round}`))).toBe("1");
    }
  });

  it("keeps stores of different prefixes and databases apart", async () => {
    const urls = [server.url, `${server.url}?prefix=other`, `${server.url}/3`];
    const stores = await Promise.all(urls.map((url) => openRedis(url)));
    for (const [index, store] of stores.entries()) {
      await store.put("apart", Buffer.from(`${index}`), "any");
    }
    for (const [index, store] of stores.entries()) {
      expect(await textOf(store, "apart")).toBe(`${index}`);
      await store.delete(["apart"]);
      expect(await store.list({ prefix: "apart", limit: 9 })).toEqual([]);
    }
  });

  it("leaves no key of what is deleted, and has all keys of a store in one slot", async () => {
    const store = await openRedis(`${server.url}?prefix=slots`);
    await store.put("a/b", Buffer.from("1"), "absent");
    const client = new Redis(server.url);
    cleanAfterTest(async () => client.disconnect());
    const keys = await client.keys("*slots*");
    expect(keys.sort()).toEqual(["{slots}:names", "{slots}:o:a/b", "{slots}:o:meta/layout"]);
    expect(keys.every((key) => key.startsWith("{slots}:"))).toBe(true);
    await store.delete(["a/b", "meta/layout"]);
    expect(await client.keys("*slots*")).toEqual([]);
  });

  it("goes on when the server has forgotten its scripts", async () => {
    const store = await openRedis(server.url);
    await store.put("scripts", Buffer.from("1"), "any");
    const client = new Redis(server.url);
    cleanAfterTest(async () => client.disconnect());
    await client.script("FLUSH");
    expect(await store.put("scripts", Buffer.from("2"), "any")).not.toBeNull();
    await store.delete(["scripts"]);
  });

  it.each([
    ["a wrong password", (url: URL) => (url.password = "s3cret"), "its user or password is wrong"],
    ["no password", (url: URL) => (url.password = ""), "its user or password is wrong"],
    ["a user who is not there", (url: URL) => (url.username = "ada"), "its user or password"],
    ["a database that is not there", (url: URL) => (url.pathname = "/99"), "no database of this"],
    ["a path that is none", (url: URL) => (url.pathname = "/a"), "must be a number"],
    ["an unknown parameter", (url: URL) => (url.search = "?prefx=a"), "known are prefix"],
    ["a prefix that does not fit", (url: URL) => (url.search = "?prefix={a}"), "`prefix` must be"],
  ])("cannot be opened with %s", async (_kind, change, state) => {
    const url = new URL(server.url);
    change(url);
    const error = await errorOf(openObjectStore({ url, timeoutMs: 5_000 }));
    expect(error).toMatchObject({ code: "store_unusable" });
    expect(error.message).toContain(`Cannot open the session store at ${url.protocol}//127.0.0.1:`);
    expect(error.message).toContain(state);
    expectNoSecret(error, url.password);
  });

  it("cannot be opened over TLS where there is none", async () => {
    // Redis takes the greeting for the beginning of a command, and waits for more.
    const url = new URL(server.url.replace(":", "s:"));
    const error = await errorOf(openObjectStore({ url, timeoutMs: 1_000 }));
    expect(error).toMatchObject({ code: "store_unavailable" });
    expect(error.message).toContain(
      "it does not answer in time over TLS, which `rediss:` asks for",
    );
  });

  it("cannot be opened by a user who may not do what is needed", async () => {
    const client = new Redis(server.url);
    cleanAfterTest(async () => client.disconnect());
    await client.call("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@read", "+ping");
    const url = new URL(server.url);
    [url.username, url.password] = ["reader", "secret"];
    const error = await errorOf(openObjectStore({ url, timeoutMs: 5_000 }));
    expect(error.code).toBe("store_unusable");
    expect(error.message).toContain("its user may not do what is needed");
    await client.call("ACL", "SETUSER", "writer", "on", ">secret", "~{plimsoll}:*");
    await client.call("ACL", "SETUSER", "writer", "+@read", "+@write", "+@scripting");
    url.username = "writer";
    expect((await openRedis(url.href)).warnings).toEqual([]);
  });

  it("has nothing to warn of where sessions are kept", async () => {
    expect((await openRedis(server.url)).warnings).toEqual([]);
    expect((await openRedis(`${server.url}/2`)).place).toBe(`redis://127.0.0.1:${server.port}/2`);
  });
});

describe.runIf(isHere)("a Redis", () => {
  it("that drops keys, and keeps nothing on disk, is warned of", async () => {
    const args = ["--maxmemory-policy", "allkeys-lru", "--appendonly", "no"];
    await using server = await startRedis({ args });
    const store = await openRedis(server.url);
    expect(store.warnings).toEqual([
      expect.stringContaining("drops keys when its memory is full (allkeys-lru)"),
      expect.stringContaining("keeps nothing on disk"),
    ]);
  });

  it.runIf(hasService("openssl", "openssl"))(
    "is spoken to over TLS, if its certificate can be verified",
    async () => {
      const certificate = makeCertificate(await temporaryDirectory());
      await using server = await startRedis({ tls: certificate });
      const error = await errorOf(openObjectStore({ url: new URL(server.url), timeoutMs: 5_000 }));
      expect(error.code).toBe("store_unusable");
      expect(error.message).toContain("its TLS certificate cannot be verified");
      const plain = new URL(server.url.replace("rediss:", "redis:"));
      const refused = await errorOf(openObjectStore({ url: plain, timeoutMs: 5_000 }));
      expect(refused).toMatchObject({ code: "store_unavailable" });
      expect(refused.message).toContain("it may speak TLS alone, which `rediss:` asks for");
      const trusting = { NODE_EXTRA_CA_CERTS: certificate.certificate };
      await countUpElsewhere(new URL(server.url), "count", 1, 1, trusting);
    },
  );

  describeOutages({
    start: () => startRedis(),
    urlOf: (server) => new URL((server as RedisServer).url),
  });
});

/** Neither in the message nor in what a log may show of the cause. */
function expectNoSecret(error: Error, secret: string): void {
  if (secret === "") return;
  const shown = JSON.stringify([error.message, error.cause, { ...(error.cause as object) }]);
  expect(shown).not.toContain(secret);
  expect(shown).not.toContain(decodeURIComponent(secret));
}
