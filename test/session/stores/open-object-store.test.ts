import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { describe, expect, it } from "vitest";

import type { ObjectStore } from "../../../src/session/stores/object-store.ts";
import { LAYOUT_NAME } from "../../../src/session/stores/names.ts";
import { openObjectStore, storePlaceOf } from "../../../src/session/stores/open-object-store.ts";
import { driverErrorOf, loadDriver } from "../../../src/session/stores/store-calls.ts";
import { cleanAfterTest, errorOf, temporaryDirectory } from "../fixture.ts";
import { textOf } from "./object-store-conformance.ts";

async function openFiles(directory: string): Promise<ObjectStore> {
  const store = await openObjectStore({ url: pathToFileURL(directory), timeoutMs: 5_000 });
  cleanAfterTest(async () => store[Symbol.asyncDispose]());
  return store;
}

describe("openObjectStore", () => {
  it("marks a new store, once", async () => {
    const directory = await temporaryDirectory();
    const stores = await Promise.all(Array.from({ length: 5 }, () => openFiles(directory)));
    expect(await textOf(stores[0] as ObjectStore, LAYOUT_NAME)).toBe('{"version":1}');
    const marks = await Promise.all(stores.map((store) => store.get(LAYOUT_NAME)));
    expect(new Set(marks.map((mark) => mark?.version)).size).toBe(1);
    expect(await (stores[0] as ObjectStore).list({ prefix: "", limit: 9 })).toEqual([LAYOUT_NAME]);
  });

  it.each([
    ['{"version":2}', "it was written by a newer Plimsoll"],
    ['{"version":1000,"more":true}', "it was written by a newer Plimsoll"],
    ['{"version":0}', "is none of Plimsoll's"],
    ['{"version":"1"}', "is none of Plimsoll's"],
    ["no JSON", "is none of Plimsoll's"],
    ["", "is none of Plimsoll's"],
  ])("refuses a store that is marked %j", async (mark, state) => {
    const directory = await temporaryDirectory();
    const store = await openFiles(directory);
    await store.put(LAYOUT_NAME, Buffer.from(mark), "any");
    const error = await errorOf(openFiles(directory));
    expect(error.code).toBe("store_unusable");
    expect(error.message).toContain(state);
    await store.put(LAYOUT_NAME, Buffer.from('{"version":1,"more":true}'), "any");
    await openFiles(directory);
  });

  it.each([
    ["mysql://user:s3cret@host/a", "its URL begins with mysql:"],
    ["https://user:s3cret@host/a?b=s3cret", "its URL begins with https:"],
    ["file://host/a", "its URL must be as file:///directory"],
    ["file:///a?b=s3cret", "its URL must be as file:///directory"],
    ["file:///nonexistent/a", "the directory is not there"],
  ])("refuses %s", async (href, state) => {
    const error = await errorOf(openObjectStore({ url: new URL(href), timeoutMs: 1_000 }));
    expect(error.code).toBe("store_unusable");
    expect(error.message).toMatch(/^Cannot open the session store/);
    expect(error.message).toContain(state);
    expect(error.message).not.toContain("s3cret");
  });

  it.each([
    "redis://user:s3%cret@127.0.0.1:1/0",
    "rediss://us%er:s3cret@127.0.0.1:1/0",
    "postgres://user:s3%ffcret@127.0.0.1:1/db",
  ])("says what is wrong with a URL as %j", async (href) => {
    const error = await errorOf(openObjectStore({ url: new URL(href), timeoutMs: 1_000 }));
    expect(error.code).toBe("store_unusable");
    expect(error.message).toMatch(/its URL has a `%` .*`%25`/);
    expect(error.message).not.toContain("cret");
  });

  it.runIf(process.platform === "linux")("refuses where nobody may write", async () => {
    const error = await errorOf(openFiles("/sys"));
    expect(error).toMatchObject({ code: "store_unusable" });
    expect(error.message).toContain("this process may not write there");
  });

  it("refuses files where there should be directories", async () => {
    const directory = await temporaryDirectory();
    await writeFile(join(directory, "file"), "");
    const error = await errorOf(openFiles(join(directory, "file")));
    expect(error).toMatchObject({ code: "store_unusable" });
    expect(error.message).toContain("it is not a directory");
    await mkdir(join(directory, "store"));
    await writeFile(join(directory, "store", "objects"), "");
    expect((await errorOf(openFiles(join(directory, "store")))).code).toBe("store_unusable");
  });
});

describe("storePlaceOf", () => {
  it.each([
    ["redis://user:s3cret@host", "redis://host:6379/0"],
    ["rediss://:s3cret@host:1/5?prefix=a", "rediss://host:1/5"],
    ["postgres://u:s3cret@[::1]/db?password=s3cret", "postgres://[::1]:5432/db"],
    ["postgresql://u:s3cret@host:1/db", "postgresql://host:1/db"],
    ["s3://bucket/a/b?endpoint=http%3A%2F%2Fs3cret%40host", "s3://bucket/a/b"],
    ["file:///a/b", "file:///a/b"],
  ])("of %s is %s", (href, place) => {
    expect(storePlaceOf(new URL(href))).toBe(place);
  });
});

describe("loadDriver", () => {
  it("says which package to install", async () => {
    const name = "plimsoll-has-no-such-driver";
    const error = await errorOf(loadDriver(name, () => import(name)));
    expect(error.code).toBe("store_unusable");
    expect(error.message).toBe(
      `Cannot use the session store: the package ${name} is not installed; run \`npm install ${name}\``,
    );
  });

  it("leaves what is wrong within a driver as it is", async () => {
    const broken = Object.assign(new Error("Cannot find package 'other'"), {
      code: "ERR_MODULE_NOT_FOUND",
    });
    await expect(loadDriver("driver", () => Promise.reject(broken))).rejects.toBe(broken);
  });
});

describe("driverErrorOf", () => {
  it("keeps the text and the code, and nothing else", () => {
    const thrown = Object.assign(new Error("text"), { code: "C", command: { args: ["s3cret"] } });
    const kept = driverErrorOf(thrown);
    expect(kept).toMatchObject({ message: "text", code: "C" });
    expect(JSON.stringify(kept)).not.toContain("s3cret");
    expect(Object.keys(kept)).not.toContain("command");
  });

  it("takes the first of several", () => {
    const first = Object.assign(new Error("first"), { code: "ECONNREFUSED" });
    expect(driverErrorOf(new AggregateError([first, new Error("second")], "")).message).toBe(
      "first",
    );
  });
});
