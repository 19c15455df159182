/**
 * Goal: on every store, the SDK's own contract for session stores holds, and what it leaves open:
 * entries with a known uuid do not come twice, no character is lost, no batch is too large, and a
 * deleted session is gone to the last byte.
 * Method: one suite against the real services; the SDK's own functions and a real turn on top.
 */

import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";

import { PGlite } from "@electric-sql/pglite";
import {
  deleteSession,
  getSessionMessages,
  listSessions,
  type SessionStoreEntry,
} from "@anthropic-ai/claude-agent-sdk";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

import { BUILT_IN_SCRIPT } from "../../../src/rehearsal/built-in-script.ts";
import { startRehearsal } from "../../../src/rehearsal/server.ts";
import { StoreArchive } from "../../../src/session/session-archive.ts";
import { sessionRefOf } from "../../../src/session/session-id.ts";
import type { ObjectStore } from "../../../src/session/stores/object-store.ts";
import { openObjectStore } from "../../../src/session/stores/open-object-store.ts";
import { openSessionStore } from "../../../src/session/stores/open-session-store.ts";
import { type Row, setUpPostgresObjects } from "../../../src/session/stores/postgres-objects.ts";
import { SdkSessionStore } from "../../../src/session/stores/sdk-session-store.ts";
import { hasPostgres, startPostgres } from "../../helpers/postgres-server.ts";
import { hasRedis, startRedis } from "../../helpers/redis-server.ts";
import { S3_KEYS, startS3 } from "../../helpers/s3-server.ts";
import { askClaude, claudeHome } from "../../rehearsal/ask-claude.ts";
import { cleanAfterTest, thread } from "../fixture.ts";
import { replicas, takeTurn } from "../replicas.ts";
import { MemoryObjects } from "./memory-objects.ts";

type Opened = { readonly open: () => Promise<ObjectStore> } & AsyncDisposable;

const at = (url: string) => () => openObjectStore({ url: new URL(url), timeoutMs: 20_000 });

async function memory(): Promise<Opened> {
  const store = new MemoryObjects();
  return { open: async () => store, async [Symbol.asyncDispose]() {} };
}

async function directory(): Promise<Opened> {
  const path = await mkdtemp(join(tmpdir(), "plimsoll-store-"));
  const remove = () => rm(path, { recursive: true });
  return { open: at(pathToFileURL(path).href), [Symbol.asyncDispose]: remove };
}

async function redis(): Promise<Opened> {
  const server = await startRedis();
  return Object.assign(server, { open: at(server.url) });
}

async function postgres(): Promise<Opened> {
  const server = await startPostgres(["-c", "fsync=off"]);
  return Object.assign(server, { open: at(`${server.url}/postgres`) });
}

async function pglite(): Promise<Opened> {
  const database = await PGlite.create();
  const client = {
    query: (statement: string, values: readonly unknown[] = []) =>
      database.query<Row>(statement, [...values]),
    end: async () => undefined,
  };
  const open = () =>
    setUpPostgresObjects({ client, place: "pglite", schema: "plimsoll", timeoutMs: 20_000 });
  return { open, [Symbol.asyncDispose]: async () => database.close() };
}

async function s3(): Promise<Opened> {
  const server = await startS3();
  process.env["AWS_ACCESS_KEY_ID"] = S3_KEYS.accessKeyId;
  process.env["AWS_SECRET_ACCESS_KEY"] = S3_KEYS.secretAccessKey;
  const endpoint = encodeURIComponent(server.endpoint);
  const query = `region=eu-central-1&endpoint=${endpoint}&pathStyle=true`;
  return Object.assign(server, { open: at(`s3://sessions/sdk?${query}`) });
}

const entry = (text: string, uuid: string = randomUUID()): SessionStoreEntry => ({
  type: "user",
  uuid,
  timestamp: "2026-01-01T00:00:00.000Z",
  message: { role: "user", content: text },
});
const title = (text: string): SessionStoreEntry => ({ type: "custom-title", customTitle: text });
const textsOf = (entries: SessionStoreEntry[] | null) =>
  entries?.map((each) => (each["message"] as { content: string } | undefined)?.content);

/** Of a project that no other test has. */
const newKey = () => ({ projectKey: `project ${randomUUID()}`, sessionId: randomUUID() });

describe.each([
  ["memory", true, memory],
  ["a directory", true, directory],
  ["Redis", hasRedis(), redis],
  ["PostgreSQL", hasPostgres(), postgres],
  ["PGlite", true, pglite],
  ["S3", true, s3],
] as const)("the SDK's session store on %s", (_name, isHere, start) => {
  describe.runIf(isHere)("keeps the contract:", () => {
    let opened: Opened;
    let objects: ObjectStore;
    let store: SdkSessionStore;
    beforeAll(async () => {
      opened = await start();
      objects = await opened.open();
      store = new SdkSessionStore(objects);
    });
    afterAll(async () => {
      await objects?.[Symbol.asyncDispose]();
      await opened?.[Symbol.asyncDispose]();
    });

    it("entries come back in the order of their writing, of one call and of many", async () => {
      const key = newKey();
      await store.append(key, [entry("1"), entry("2")]);
      await store.append(key, [entry("3")]);
      await store.append(key, []);
      expect(textsOf(await store.load(key))).toEqual(["1", "2", "3"]);
    });

    it("nothing comes of what was never written", async () => {
      const key = newKey();
      expect(await store.load(key)).toBeNull();
      await store.append(key, []);
      expect(await store.load(key)).toBeNull();
      expect(await store.listSessions(key.projectKey)).toEqual([]);
      expect(await store.listSubkeys(key)).toEqual([]);
      await store.delete(key);
      await store.append(key, [entry("1")]);
      expect(await store.load({ ...key, subpath: "subagents/agent-1" })).toBeNull();
    });

    it("a uuid comes once, whoever writes it again; what has none comes each time", async () => {
      const key = newKey();
      const [one, two] = [entry("1"), entry("2")];
      await store.append(key, [one, title("a")]);
      await store.append(key, [one, two, title("a")]);
      expect((await store.load(key))?.map(({ type, uuid }) => uuid ?? type)).toEqual([
        one.uuid,
        "custom-title",
        two.uuid,
        "custom-title",
      ]);
    });

    it("no character is lost", async () => {
      const key = newKey();
      const texts = ["\0", "a\0b", "\uD800", "x\uDC00y", "🚢", "\u2028\u2029", '"\\\n\r\t', ""];
      const entries = texts.map((text) => entry(text));
      await store.append(key, entries);
      expect(await store.load(key)).toEqual(entries);
    });

    it("no batch is too large", async () => {
      const key = newKey();
      const many = Array.from({ length: 70_000 }, (_, index) => entry(String(index)));
      await store.append(key, many);
      const large = entry("x".repeat(5 * 2 ** 20));
      await store.append(key, [large]);
      const loaded = await store.load(key);
      expect(loaded).toHaveLength(70_001);
      expect(textsOf(loaded)?.[69_999]).toBe("69999");
      expect(loaded?.at(-1)).toEqual(large);
    });

    it("subagents and the session do not mix", async () => {
      const key = newKey();
      const paths = ["subagents/agent-1", "subagents/workflows/run/agent-2"];
      await store.append(key, [entry("main")]);
      for (const subpath of paths) await store.append({ ...key, subpath }, [entry(subpath)]);
      expect(textsOf(await store.load(key))).toEqual(["main"]);
      for (const subpath of paths) {
        expect(textsOf(await store.load({ ...key, subpath }))).toEqual([subpath]);
      }
      expect((await store.listSubkeys(key)).toSorted()).toEqual(paths);
      expect(await store.listSessions(key.projectKey)).toHaveLength(1);
    });

    it("projects do not see each other's", async () => {
      const key = newKey();
      const other = { ...key, projectKey: newKey().projectKey };
      await store.append(key, [entry("one")]);
      await store.append(other, [entry("other")]);
      expect(textsOf(await store.load(key))).toEqual(["one"]);
      await store.delete(other);
      expect(textsOf(await store.load(key))).toEqual(["one"]);
      expect(await store.listSessions(other.projectKey)).toEqual([]);
    });

    it("sessions are listed with the time of their last write", async () => {
      const { projectKey } = newKey();
      const ids = [randomUUID(), randomUUID()];
      const beganAtMs = Date.now();
      for (const sessionId of ids) await store.append({ projectKey, sessionId }, [entry("1")]);
      const first = await store.listSessions(projectKey);
      expect(first.map(({ sessionId }) => sessionId).toSorted()).toEqual(ids.toSorted());
      const [older = ""] = ids;
      await new Promise((resolve) => setTimeout(resolve, 5));
      await store.append({ projectKey, sessionId: older }, [entry("2")]);
      const mtimes = new Map(
        (await store.listSessions(projectKey)).map(({ sessionId, mtime }) => [sessionId, mtime]),
      );
      expect(mtimes.size).toBe(2);
      expect(mtimes.get(older)).toBeGreaterThan(mtimes.get(ids[1] ?? "") ?? 0);
      for (const mtime of mtimes.values()) {
        expect(Number.isInteger(mtime)).toBe(true);
        expect(mtime).toBeGreaterThanOrEqual(beganAtMs);
      }
    });

    it("summaries tell of each session what the SDK wants to list, at the same times", async () => {
      const { projectKey } = newKey();
      for (const text of ["first", "second"]) {
        await store.append({ projectKey, sessionId: randomUUID() }, [entry(text), title(text)]);
      }
      const summaries = await store.listSessionSummaries(projectKey);
      const listed = await store.listSessions(projectKey);
      expect(summaries.map(({ sessionId, mtime }) => ({ sessionId, mtime }))).toEqual(listed);
      const infos = await listSessions({ dir: "/", sessionStore: forAnyProject(projectKey) });
      expect(new Set(infos.map(({ customTitle }) => customTitle))).toEqual(
        new Set(["first", "second"]),
      );
    });

    it("a deletion is of one subagent, or of everything, to the last byte", async () => {
      const key = newKey();
      const subpath = "subagents/agent-1";
      await store.append(key, [entry("secret-of-main")]);
      await store.append({ ...key, subpath }, [entry("secret-of-subagent")]);
      expect(await bytesOf(objects, key.sessionId)).toContain("secret-of-subagent");
      await store.delete({ ...key, subpath });
      expect(await store.load({ ...key, subpath })).toBeNull();
      expect(await store.listSubkeys(key)).toEqual([]);
      expect(await bytesOf(objects, key.sessionId)).not.toContain("secret-of-subagent");
      expect(textsOf(await store.load(key))).toEqual(["secret-of-main"]);
      await store.delete(key);
      expect(await store.load(key)).toBeNull();
      expect(await store.listSessionSummaries(key.projectKey)).toEqual([]);
      expect(await bytesOf(objects, key.sessionId)).toBe("");
    });

    it("two writers at once lose nothing", async () => {
      const key = newKey();
      const other = await opened.open();
      const stores = [store, new SdkSessionStore(other)];
      await Promise.all(
        stores.map(async (each, which) => {
          for (let number = 0; number < 12; number += 1) {
            await each.append(key, [entry(`${which}/${number}`)]);
          }
        }),
      );
      const texts = textsOf(await store.load(key)) ?? [];
      for (const which of ["0", "1"]) {
        const own = texts.filter((text) => text?.startsWith(`${which}/`));
        expect(own).toEqual(Array.from({ length: 12 }, (_, number) => `${which}/${number}`));
      }
      if (other !== objects) await other[Symbol.asyncDispose]();
    });

    it("hundreds of small writes become few pieces", async () => {
      const key = newKey();
      for (let number = 0; number < 100; number += 1) await store.append(key, [entry(`${number}`)]);
      expect(textsOf(await store.load(key))).toHaveLength(100);
      const names = (await objects.list({ prefix: "sessions/", limit: 10_000 })).filter((name) =>
        name.includes(key.sessionId),
      );
      expect(names.length).toBeLessThan(40);
    });

    it("a session id that is none is refused", async () => {
      const key = { projectKey: "p", sessionId: "../../etc" };
      await expect(store.append(key, [entry("1")])).rejects.toMatchObject({
        code: "session_not_found",
      });
    });

    /** As if every project were this one: the SDK makes its key of a directory. */
    function forAnyProject(projectKey: string): SdkSessionStore {
      const bound = new SdkSessionStore(objects);
      bound.listSessions = () => store.listSessions(projectKey);
      bound.listSessionSummaries = () => store.listSessionSummaries(projectKey);
      return bound;
    }
  });
});

describe("the SDK", () => {
  it("takes a turn with it, and the next one on another machine", async () => {
    const objects = new MemoryObjects();
    const script = { ...BUILT_IN_SCRIPT, defaults: { firstTokenMs: 1, tokensPerSecond: 5_000 } };
    await using rehearsal = await startRehearsal({ script });
    const sessionId = randomUUID();
    using first = claudeHome();
    const sessionStore = new SdkSessionStore(objects);
    const turn = (home: { path: string }, prompt: string, options: object) =>
      askClaude(
        prompt,
        { url: rehearsal.url, home: home.path },
        // One directory for both: the SDK makes the project's key of it.
        { cwd: first.path, sessionStore, ...options },
        { CLAUDE_CONFIG_DIR: `${home.path}/config`, HOME: `${home.path}/home` },
      );
    await turn(first, "my name is Ada", { sessionId });
    using second = claudeHome();
    const { result } = await turn(second, "and now?", { resume: sessionId });
    expect(result.subtype).toBe("success");
    const of = { dir: first.path, sessionStore };
    const messages = await getSessionMessages(sessionId, of);
    expect(messages.filter(({ type }) => type === "user")).toHaveLength(2);
    expect(messages.at(-1)?.type).toBe("assistant");
    expect((await listSessions(of)).map((info) => info.sessionId)).toEqual([sessionId]);
    await deleteSession(sessionId, of);
    expect(await listSessions(of)).toEqual([]);
    expect(objects.objects.size).toBe(0);
  });
});

it("is opened by its URL, for a program of one's own", async () => {
  const path = await mkdtemp(join(tmpdir(), "plimsoll-store-"));
  const key = newKey();
  for (const text of ["one", "two"]) {
    await using store = await openSessionStore(pathToFileURL(path));
    await store.append(key, [entry(text)]);
  }
  await using store = await openSessionStore(pathToFileURL(path).href, { timeoutMs: 20_000 });
  expect(textsOf(await store.load(key))).toEqual(["one", "two"]);
  await rm(path, { recursive: true });
});

/** All that the store has of a session, as text. */
async function bytesOf(objects: ObjectStore, sessionId: string): Promise<string> {
  const texts: string[] = [];
  for (let after = ""; ;) {
    const page = { prefix: "", limit: 500, ...(after !== "" && { after }) };
    const names = await objects.list(page);
    for (const name of names.filter((each) => each.includes(sessionId))) {
      texts.push((await objects.get(name))?.body.toString("utf8") ?? "");
    }
    if (names.length < 500) return texts.join("");
    after = names.at(-1) ?? "";
  }
}

describe("a deletion of the SDK's session store", () => {
  /** @returns Whether the deletion has so many calls. */
  async function losesNothing(callsBefore: number): Promise<boolean> {
    const objects = new MemoryObjects();
    const store = new SdkSessionStore(objects);
    const key = newKey();
    await store.append(key, [entry("old")]);
    const hasHead = () => [...objects.objects.values()].some(({ body }) => body.includes('"old"'));
    let calls = -1;
    let appended: Promise<void> | undefined;
    let isOfNewLife = false;
    objects.before = async () => {
      calls += 1;
      if (calls !== callsBefore) return;
      isOfNewLife = !hasHead() || isMarked(objects);
      appended = store.append(key, [entry("new")]);
      await Promise.race([appended, delay(20)]);
    };
    await store.delete(key);
    objects.before = async () => {};
    if (appended === undefined) return false;
    await appended;
    const said = textsOf(await store.load(key));
    if (isOfNewLife) expect(said).toEqual(["new"]);
    else expect([["new"], undefined]).toContainEqual(said);
    await store.append(key, [entry("more")]);
    expect(textsOf(await store.load(key))).toEqual([...(said ?? []), "more"]);
    expect((await store.listSessions(key.projectKey)).length).toBe(1);
    return true;
  }

  const isMarked = ({ objects }: MemoryObjects) =>
    [...objects.values()].some(({ body }) => body.includes("deletedAtMs"));

  it("loses nothing that is appended meanwhile and acknowledged, whenever that is", async () => {
    let calls = 0;
    while (await losesNothing(calls)) calls += 1;
    expect(calls).toBeGreaterThan(4);
  });

  it("that was cut short leaves nothing to what is appended afterwards", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    cleanAfterTest(async () => void vi.useRealTimers());
    const objects = new MemoryObjects();
    const store = new SdkSessionStore(objects);
    const key = newKey();
    await store.append(key, [entry("old")]);
    objects.faultOf = (call) => (call === "list" ? "before" : null);
    await expect(store.delete(key)).rejects.toMatchObject({ code: "store_unavailable" });
    objects.faultOf = () => null;
    expect(await store.load(key)).toBeNull();
    vi.setSystemTime(Date.now() + 61_000);
    await store.append(key, [entry("new")]);
    expect(textsOf(await store.load(key))).toEqual(["new"]);
    expect(await bytesOf(objects, key.sessionId)).not.toContain("old");
    await store.delete(key);
    expect(await bytesOf(objects, key.sessionId)).toBe("");
  });
});

describe("a session of the SDK's on the store of a server", () => {
  it("is none of the server's: it is not listed, looked at, or taken for a damaged one", async () => {
    const { store: objects, one } = await replicas();
    const store = new SdkSessionStore(objects);
    const key = newKey();
    await store.append(key, [entry("of a program")]);
    await takeTurn(one, thread("t"), "of the server");
    const { sessionId } = sessionRefOf(thread("t"));

    const seen = [];
    for await (const some of one.sessions.scan()) seen.push(...some);
    expect(seen).toMatchObject([{ sessionId }]);
    const archive = new StoreArchive(objects);
    const { records, unreadable } = await archive.all();
    expect(records).toMatchObject([{ sessionId }]);
    expect(unreadable).toEqual([]);
    expect(await archive.find(key.sessionId)).toBeUndefined();
    expect(textsOf(await store.load(key))).toEqual(["of a program"]);
  });
});
