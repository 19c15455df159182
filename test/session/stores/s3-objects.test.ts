import { once } from "node:events";
import { createServer, request as passOn } from "node:http";
import type { AddressInfo } from "node:net";

import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";

import { openObjectStore } from "../../../src/session/stores/open-object-store.ts";
import { S3_KEYS, type S3Server, startS3 } from "../../helpers/s3-server.ts";
import { cleanAfterTest, errorOf } from "../fixture.ts";
import { describeObjectStore, textOf } from "./object-store-conformance.ts";
import { describeOutages } from "./object-store-outages.ts";

const EXTERNAL = process.env["TEST_S3_URL"];

function urlOf(server: S3Server, path = "sessions/a/b"): URL {
  const url = new URL(`s3://${path}?region=eu-central-1&pathStyle=true`);
  url.searchParams.set("endpoint", server.endpoint);
  return url;
}

/** Whoever does not say it in the environment gets those of the machine. */
function useKeys(accessKeyId: string, secretAccessKey: string): void {
  vi.stubEnv("AWS_ACCESS_KEY_ID", accessKeyId);
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", secretAccessKey);
  vi.stubEnv("AWS_SESSION_TOKEN", undefined);
  vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
  vi.stubEnv("AWS_CONFIG_FILE", "/nonexistent");
  vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
}

describe("objects in S3", () => {
  let server: S3Server;
  beforeAll(async () => {
    server = await startS3();
  });
  beforeAll(() => useKeys(S3_KEYS.accessKeyId, S3_KEYS.secretAccessKey));
  beforeEach(() => useKeys(S3_KEYS.accessKeyId, S3_KEYS.secretAccessKey));
  afterAll(async () => {
    vi.unstubAllEnvs();
    await server[Symbol.asyncDispose]();
  });

  async function openS3(url = urlOf(server), timeoutMs = 10_000) {
    const store = await openObjectStore({ url, timeoutMs });
    cleanAfterTest(async () => store[Symbol.asyncDispose]());
    return store;
  }

  describeObjectStore({
    open: () => openObjectStore({ url: urlOf(server), timeoutMs: 10_000 }),
    manyNames: 2_500,
    listedNames: 2_100,
    randomRuns: 30,
    hasFreshVersions: false,
  });

  it("keeps stores of different prefixes apart, and one without any", async () => {
    const store = await openS3(urlOf(server, "sessions/one"));
    const other = await openS3(urlOf(server, "sessions"));
    await store.put("apart", Buffer.from("1"), "any");
    expect(await other.get("apart")).toBeNull();
    expect(await textOf(other, "one/apart")).toBe("1");
    expect(await store.list({ prefix: "", limit: 9 })).toEqual(["apart", "meta/layout"]);
    expect(store.place).toBe("s3://sessions/one");
  });

  it("leaves nothing of how it found out about conditions", async () => {
    await openS3(urlOf(server, "sessions/clean"));
    const keys = [...(server.buckets.get("sessions")?.keys() ?? [])];
    expect(keys.filter((key) => key.includes("probe"))).toEqual([]);
  });

  it("is not opened behind a proxy that lets no piece pass, and says so", async () => {
    const proxy = createServer((request, response) => {
      if (Number(request.headers["content-length"] ?? 0) > 2 ** 20) {
        request.resume().on("end", () => response.writeHead(413).end("<html>too large</html>"));
        return;
      }
      const { method, url: path, headers } = request;
      const to = { host: "127.0.0.1", port: new URL(server.endpoint).port, method, path, headers };
      const passed = passOn(to, (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(response);
      });
      request.pipe(passed);
    });
    await once(proxy.listen(0, "127.0.0.1"), "listening");
    cleanAfterTest(async () => {
      proxy.closeAllConnections();
      proxy.close();
    });
    const url = urlOf(server);
    const { port } = proxy.address() as AddressInfo;
    url.searchParams.set("endpoint", `http://127.0.0.1:${port}`);
    const { code, message } = await errorOf(openObjectStore({ url, timeoutMs: 10_000 }));
    expect(code).toBe("store_unavailable");
    expect(message).toContain("failed to take one of 4 MiB");
    const keys = [...(server.buckets.get("sessions")?.keys() ?? [])];
    expect(keys.filter((key) => key.includes("probe"))).toEqual([]);
  });

  describe("faults", () => {
    it("sends again what the service puts off, and gives up in time", async () => {
      const store = await openS3();
      const { faults } = server;
      faults.slowDowns = 2;
      const version = await store.put("fault", Buffer.from("1"), "any");
      expect(version).not.toBeNull();
      faults.conflicts = 2;
      const next = await store.put("fault", Buffer.from("2"), { version: version ?? "" });
      expect(next).not.toBeNull();
      for (const fault of ["slowDowns", "internalErrors", "dropped"] as const) {
        faults[fault] = 2;
        expect(await textOf(store, "fault"), fault).toBe("2");
        faults[fault] = 2;
        expect(await store.list({ prefix: "fault", limit: 5 }), fault).toEqual(["fault"]);
        faults[fault] = 2;
        await store.delete(["none"]);
        expect(faults[fault]).toBe(0);
      }
      faults.slowDowns = 1_000;
      expect((await errorOf(store.get("fault"))).code).toBe("store_unavailable");
      const conditional = store.put("fault", Buffer.from("3"), "absent");
      expect((await errorOf(conditional)).code).toBe("store_unavailable");
      faults.slowDowns = 0;
    });

    it("never says that nothing was written when it cannot know", async () => {
      const store = await openS3();
      for (const fault of ["unanswered", "dropped", "internalErrors"] as const) {
        await store.delete(["lost"]);
        server.faults[fault] = 1;
        const error = await errorOf(store.put("lost", Buffer.from(fault), "absent"));
        expect(error.code).toBe("store_unavailable");
        expect(server.faults[fault]).toBe(0);
        expect(await textOf(store, "lost")).toBe(fault === "unanswered" ? fault : undefined);
      }
      server.faults.unanswered = 1;
      expect(await store.put("lost", Buffer.from("any"), "any")).not.toBeNull();
      expect(await textOf(store, "lost")).toBe("any");
    });
  });

  describe("cannot be opened", () => {
    it.each([
      ["without such a bucket", (url: URL) => (url.hostname = "none"), "no bucket of this name"],
      ["with credentials in it", (url: URL) => (url.username = "a"), "they belong into the env"],
      ["with an unknown parameter", (url: URL) => (url.search += "&a=b"), "known are region"],
      ["with a prefix that does not fit", (url: URL) => (url.pathname = "/a b"), "its path must"],
      [
        "with an endpoint that is none",
        (url: URL) => url.searchParams.set("endpoint", "host:9000"),
        "`endpoint` must be",
      ],
      [
        "with an endpoint that has credentials",
        (url: URL) => url.searchParams.set("endpoint", "http://s3cret:s3cret@host"),
        "`endpoint` must be",
      ],
      [
        "with a style that is none",
        (url: URL) => url.searchParams.set("pathStyle", "yes"),
        "`pathStyle` is true or false",
      ],
      ["without a region", (url: URL) => url.searchParams.delete("region"), "has no `region`"],
      [
        "over TLS where there is none",
        (url: URL) => url.searchParams.set("endpoint", server.endpoint.replace("http:", "https:")),
        "it does not speak TLS",
      ],
    ])("%s", async (_kind, change, state) => {
      vi.stubEnv("AWS_REGION", undefined);
      vi.stubEnv("AWS_DEFAULT_REGION", undefined);
      const url = urlOf(server);
      change(url);
      const error = await errorOf(openObjectStore({ url, timeoutMs: 5_000 }));
      expect(error.message).toContain(state);
      expect(error.message).toContain("Cannot open the session store at s3://");
      expect(error.message).not.toContain("s3cret");
      expect(error.code).toBe("store_unusable");
    });

    it.each([
      ["a key that is not known", "AKIDOTHER", S3_KEYS.secretAccessKey, "credentials in the env"],
      ["a wrong secret", S3_KEYS.accessKeyId, "wr0ng", "credentials in the environment are wrong"],
      ["no credentials", "", "", "there are no credentials in the environment"],
    ])("with %s", async (_kind, accessKeyId, secretAccessKey, state) => {
      useKeys(accessKeyId, secretAccessKey);
      const error = await errorOf(openObjectStore({ url: urlOf(server), timeoutMs: 5_000 }));
      expect(error.message).toContain(state);
      expect(error.code).toBe("store_unusable");
    });

    it.each(["GET", "PUT", "POST"])("by one who may not %s", async (method) => {
      server.faults.denied = [method];
      const error = await errorOf(openObjectStore({ url: urlOf(server), timeoutMs: 5_000 }));
      server.faults.denied = [];
      expect(error.message).toContain("the credentials may not do what is needed");
      expect(error.code).toBe("store_unusable");
    });

    it("where conditions are ignored", async () => {
      server.faults.ignoresConditions = true;
      const error = await errorOf(openObjectStore({ url: urlOf(server), timeoutMs: 5_000 }));
      server.faults.ignoresConditions = false;
      expect(error.code).toBe("store_unusable");
      expect(error.message).toContain("it ignores the condition of a write");
    });
  });

  it("warns of versions, which keep what is deleted", async () => {
    expect((await openS3()).warnings).toEqual([]);
    server.faults.hasVersions = true;
    const { warnings } = await openS3();
    server.faults.hasVersions = false;
    expect(warnings).toEqual([expect.stringContaining("S3 keeps what is deleted")]);
  });

  describe("a service", () => {
    describeOutages({
      start: () => startS3(),
      urlOf: (service) => urlOf(service as S3Server),
    });
  });
});

describe.runIf(EXTERNAL !== undefined)("objects in the S3 of TEST_S3_URL", () => {
  describeObjectStore({
    open: () => openObjectStore({ url: new URL(EXTERNAL ?? ""), timeoutMs: 30_000 }),
    manyNames: 2_500,
    listedNames: 1_100,
    randomRuns: 15,
    hasFreshVersions: false,
  });
});
