/**
 * Goal: browsers are shown the console at `/`, everybody else the links; nothing but the files of the
 * page is ever served, with headers under which it can do no harm.
 * Method: a page of a test's own, beside files that are none of its business, over real HTTP.
 */
import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ConsolePage } from "../../src/http/console/console-page.ts";
import { type InProcessServer, startServer } from "../helpers/server.ts";
import { rawRequest } from "./raw.ts";

const SCRIPT = `rules: [{ reply: [{ text: "Hello." }] }]`;
const INDEX = `<!doctype html><script type="module" src="/console/assets/index-abcd1234.js"></script>`;
const SCRIPT_FILE = "index-abcd1234.js";
const CODE = "export const words = 'so that it can be packed, so that it can be packed';\n";
const MARK = "<svg/>";
/** Of a browser that opens an address. */
const BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";

let directory: string;
let server: InProcessServer;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll-page-"));
  await mkdir(join(directory, "console", "assets", "deeper"), { recursive: true });
  await writeFile(join(directory, "secret.txt"), "nobody's business");
  await writeFile(join(directory, "secret.js"), "nobody's business");
  await writeFile(join(directory, "console", "index.html"), INDEX);
  await writeFile(join(directory, "console", "other.html"), "not the page");
  await writeFile(join(directory, "console", "mark.svg"), MARK);
  const assets = join(directory, "console", "assets");
  await writeFile(join(assets, SCRIPT_FILE), CODE);
  await writeFile(join(assets, "index-abcd1234.js.map"), "{}");
  await writeFile(join(assets, "noise-abcd1234.png"), randomBytes(400));
  await writeFile(join(assets, "deeper", "x.js"), "too deep");
  server = await startServer({ script: SCRIPT, pageDirectory: pageAt("console") });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

function pageAt(name: string): URL {
  return pathToFileURL(`${join(directory, name)}/`);
}

function get(path: string, headers: Record<string, string> = {}, method = "GET") {
  return fetch(server.url + path, { headers, method });
}

describe("GET /", () => {
  it.each([
    ["a browser", BROWSER, "text/html"],
    ["a program", "application/json", "application/json"],
    ["curl", "*/*", "application/json"],
    ["whoever says nothing", "", "application/json"],
    ["who wants neither", "image/png", "application/json"],
    ["who likes JSON better", "text/html;q=0.5, application/json", "application/json"],
  ])("answers %s", async (_who, accept, type) => {
    const answer = await get("/", { accept });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toContain(type);
    expect(answer.headers.get("vary")).toContain("Accept");
    const body = await answer.text();
    if (type === "text/html") expect(body).toBe(INDEX);
    else
      expect(JSON.parse(body)).toMatchObject({ name: "plimsoll", links: { turns: "/v1/turns" } });
  });

  it("is asked again whether it is the newest, and says so in few bytes", async () => {
    const first = await get("/", { accept: BROWSER });
    expect(first.headers.get("cache-control")).toBe("no-cache");
    const etag = first.headers.get("etag") ?? "";
    const again = await get("/", { accept: BROWSER, "if-none-match": `"x", ${etag}` });
    expect([again.status, await again.text(), again.headers.get("etag")]).toEqual([304, "", etag]);
    expect((await get("/", { accept: BROWSER, "if-none-match": '"x"' })).status).toBe(200);
  });

  it("lets the page run no script but its own, and in no frame", async () => {
    for (const path of ["/", `/console/assets/${SCRIPT_FILE}`]) {
      const { headers } = await get(path, { accept: BROWSER });
      const policy = headers.get("content-security-policy") ?? "";
      expect(policy.split("; ")).toEqual(
        expect.arrayContaining([
          "default-src 'none'",
          "script-src 'self'",
          "style-src 'self'",
          "connect-src 'self'",
          "base-uri 'none'",
          "frame-ancestors 'none'",
        ]),
      );
      expect(policy).not.toMatch(/unsafe|\*|https?:/);
      expect({
        referrer: headers.get("referrer-policy"),
        sniff: headers.get("x-content-type-options"),
        opener: headers.get("cross-origin-opener-policy"),
        resource: headers.get("cross-origin-resource-policy"),
      }).toEqual({
        referrer: "no-referrer",
        sniff: "nosniff",
        opener: "same-origin",
        resource: "same-origin",
      });
    }
  });
});

describe("the files of the page", () => {
  it("never change, and are packed for those who take that", async () => {
    const { headers } = await get(`/console/assets/${SCRIPT_FILE}`);
    expect(headers.get("content-type")).toBe("text/javascript; charset=utf-8");
    expect(headers.get("cache-control")).toContain("immutable");
    const ask = async (encoding: string) => {
      const bytes = `GET /console/assets/${SCRIPT_FILE} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: ${encoding}\r\n\r\n`;
      const { headers: got, body } = await rawRequest(server.url, bytes);
      return { encoding: got["content-encoding"], vary: got["vary"], bytes: body.length, body };
    };
    const packed = await ask("gzip, br");
    expect(packed).toMatchObject({ encoding: "gzip", vary: "Accept-Encoding" });
    for (const refusing of ["", "br", "gzip;q=0", "gzip;q=0.0", "gzip;q=0.00001", "gzip;q=x"]) {
      expect(await ask(refusing)).toMatchObject({ encoding: undefined, body: CODE });
    }
    const unpacked = await get(`/console/assets/${SCRIPT_FILE}`, {
      "accept-encoding": "gzip;q=0.5",
    });
    expect(await unpacked.text()).toBe(CODE);
  });

  it("that have no hash in their names are asked for anew each time", async () => {
    const { headers, status } = await get("/console/mark.svg");
    expect([status, headers.get("content-type"), headers.get("cache-control")]).toEqual([
      200,
      "image/svg+xml",
      "no-cache",
    ]);
  });

  it("are sent as they are where packing makes them no shorter", async () => {
    const { headers } = await get("/console/assets/noise-abcd1234.png");
    expect([headers.get("content-encoding"), headers.get("content-length")]).toEqual([null, "400"]);
  });

  it("have a HEAD like their GET", async () => {
    for (const path of ["/", `/console/assets/${SCRIPT_FILE}`]) {
      const facts = async (method: string) => {
        const answer = await get(path, { accept: BROWSER, "accept-encoding": "identity" }, method);
        const names = ["etag", "content-type", "content-length", "cache-control"];
        return [answer.status, ...names.map((name) => answer.headers.get(name))];
      };
      expect(await facts("HEAD")).toEqual(await facts("GET"));
      expect(await (await get(path, { accept: BROWSER }, "HEAD")).text()).toBe("");
    }
  });

  it.each([
    "/console/assets/nothing.js",
    "/console/assets/../index.html",
    "/console/assets/..%2f..%2fsecret.js",
    "/console/assets/%2e%2e%2fother.html",
    "/console/assets/..%5c..%5csecret.js",
    "/console/assets/index-abcd1234.js%00.png",
    "/console/assets/index-abcd1234.js.map",
    "/console/assets/deeper%2fx.js",
    "/console/assets/deeper",
    "/console/assets%2findex-abcd1234.js.map",
    "/console/assets",
    "/console/assets/__proto__",
    "/console/assets/",
    "/console/other.html",
    "/console/index.html",
    "/console/",
  ])("are all there is: %s is not there", async (path) => {
    // By hand: a client would tidy the path up.
    const { status, body } = await rawRequest(
      server.url,
      `GET ${path} HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n`,
    );
    expect([status, JSON.parse(body)]).toEqual([
      404,
      expect.objectContaining({ code: "not_found" }),
    ]);
  });
});

describe("a page", () => {
  it("that was not built says what to do, and is shown once it is there", async () => {
    await using bare = await startServer({ script: SCRIPT, pageDirectory: pageAt("later") });
    const headers = { accept: BROWSER };
    const missing = await fetch(bare.url, { headers });
    expect([missing.status, missing.headers.get("content-type")]).toEqual([
      503,
      "text/html; charset=utf-8",
    ]);
    expect(await missing.text()).toContain("npm run build");
    expect((await fetch(bare.url)).status).toBe(200);
    await mkdir(join(directory, "later", "assets"), { recursive: true });
    await writeFile(join(directory, "later", "index.html"), INDEX);
    expect(await (await fetch(bare.url, { headers })).text()).toBe(INDEX);
  });

  it("is read once, whoever asks meanwhile", async () => {
    const page = new ConsolePage(pageAt("console"));
    const [one, other] = await Promise.all([page.index(), page.index()]);
    expect(one).toBe(other);
    expect(one?.etag).toContain(
      createHash("sha256").update(INDEX).digest("base64url").slice(0, 22),
    );
    expect(gunzipSync((await page.file(`assets/${SCRIPT_FILE}`))?.gzipped ?? "").toString()).toBe(
      CODE,
    );
  });

  it("that is far too large is not held", async () => {
    const assets = join(directory, "huge", "assets");
    await mkdir(assets, { recursive: true });
    await writeFile(join(directory, "huge", "index.html"), INDEX);
    await writeFile(join(assets, "a.js"), Buffer.alloc(5 * 1024 * 1024));
    await expect(new ConsolePage(pageAt("huge")).index()).rejects.toThrow("bytes");
    await rm(join(assets, "a.js"));
    for (let at = 0; at < 101; at += 1) await symlink("../index.html", join(assets, `${at}.js`));
    await expect(new ConsolePage(pageAt("huge")).index()).rejects.toThrow("files");
  });

  it("is switched off by one setting", async () => {
    const settings = { "console.enabled": "false" };
    await using off = await startServer({
      script: SCRIPT,
      pageDirectory: pageAt("console"),
      settings,
    });
    const answer = await fetch(off.url, { headers: { accept: BROWSER } });
    expect(answer.headers.get("content-type")).toContain("application/json");
    const openapi = (await (await fetch(`${off.url}/openapi.json`)).json()) as { paths: object };
    expect(Object.keys(openapi.paths).filter((path) => /console|replicas/.test(path))).toEqual([]);
    expect((await fetch(`${off.url}/console/assets/${SCRIPT_FILE}`)).status).toBe(404);
  });
});
