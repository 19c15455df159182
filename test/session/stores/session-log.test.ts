/**
 * Goal: a session's head and its pieces never disagree, whoever writes at once and wherever a call
 * is lost; nothing of a deleted session stays.
 * Method: a store in memory that fails before or after any call it is told to.
 */

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { AppError } from "../../../src/lib/errors.ts";
import { headNameOf, ownerOf, prefixOf } from "../../../src/session/stores/names.ts";
import { chunksOf, writeStartOf } from "../../../src/session/stores/pieces.ts";
import {
  transcriptBytesOf,
  deleted,
  taken,
  tokenOf,
} from "../../../src/session/stores/session-head.ts";
import { SessionLog } from "../../../src/session/stores/session-log.ts";
import { MemoryObjects } from "./memory-objects.ts";

const KEY = {
  owner: ownerOf("tenant", "default"),
  sessionId: "5f0c6f2e-8d3a-5b7e-9a41-c2d7e05b9e13",
};
const TERMS = { holder: "one", nowMs: 0, leaseTimeMs: 1000 };

async function contentOf(log: SessionLog, path = ""): Promise<string> {
  const head = await log.read(KEY);
  if (head === null) return "";
  const chunks: Buffer[] = [];
  for await (const chunk of log.load(KEY, head, path)) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

function piecesIn(store: MemoryObjects): number {
  return [...store.objects.keys()].filter((name) => name !== headNameOf(KEY)).length;
}

describe("two at once", () => {
  it("lose no change of the head", async () => {
    const store = new MemoryObjects();
    const logs = Array.from({ length: 8 }, () => new SessionLog(store));
    await Promise.all(
      logs.map(async (log) => {
        for (let times = 0; times < 10; times += 1) {
          await log.update(KEY, (head) => ({ ...head, record: Number(head.record ?? 0) + 1 }));
        }
      }),
    );
    const head = await new SessionLog(store).read(KEY);
    expect(head).toMatchObject({ record: 80, revision: 80 });
  });

  it("lose nothing of what they add", async () => {
    const store = new MemoryObjects();
    await Promise.all(
      Array.from({ length: 10 }, async (_, at) => {
        const chunks = [Buffer.from(`${at}\n`)];
        await new SessionLog(store).append(KEY, null, [{ path: "", fromBytes: null, chunks }]);
      }),
    );
    const lines = (await contentOf(new SessionLog(store))).trimEnd().split("\n");
    expect(lines.map(Number).sort((one, other) => one - other)).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
    ]);
  });
});

describe("a turn's writes over a store that loses calls", () => {
  it("end with every byte once, whatever was tried again", async () => {
    const faults = fc.array(fc.constantFrom("before", "after", null, null, null), {
      minLength: 1,
      maxLength: 40,
    });
    const turns = fc.array(fc.string({ minLength: 1, maxLength: 40 }), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(faults, turns, async (planned, texts) => {
        const store = new MemoryObjects();
        const log = new SessionLog(store);
        const { head: first } = await log.update(KEY, (head) => taken(head, TERMS, "a"));
        const token = tokenOf(first);
        const pending = [...planned];
        store.faultOf = () => pending.shift() ?? null;
        let local = Buffer.alloc(0);
        for (const text of texts) {
          local = Buffer.concat([local, Buffer.from(`${text}\n`)]);
          // As the outbox does: again, from what the store then has.
          for (;;) {
            try {
              const head = await log.read(KEY);
              const fromBytes = head === null ? 0 : writeStartOf(head, "");
              const chunks = chunksOf(local.subarray(fromBytes));
              await log.append(KEY, token, [{ path: "", fromBytes, chunks }]);
              break;
            } catch (thrown) {
              expect(thrown).toMatchObject({ code: "store_unavailable" });
            }
          }
        }
        store.faultOf = () => null;
        expect(await contentOf(log)).toBe(local.toString("utf8"));
        await log.update(KEY, (head) => deleted(head, TERMS));
        await log.clear(KEY);
        expect([...store.objects.keys()]).toEqual([headNameOf(KEY)]);
      }),
      { numRuns: 200 },
    );
  });

  it("leave no piece behind when they are refused", async () => {
    const store = new MemoryObjects();
    const log = new SessionLog(store);
    const { head: first } = await log.update(KEY, (head) => taken(head, TERMS, "a"));
    await log.update(KEY, (head) => taken(head, { ...TERMS, holder: "two", nowMs: 2000 }, "b"));
    const tail = { path: "", fromBytes: 0, chunks: [Buffer.from("late\n")] };
    await expect(log.append(KEY, tokenOf(first), [tail])).rejects.toMatchObject({
      code: "session_taken_over",
    });
    expect(piecesIn(store)).toBe(0);
  });
});

describe("pieces", () => {
  it("stay few, and are written three times at most", async () => {
    const store = new MemoryObjects();
    const log = new SessionLog(store);
    let local = Buffer.alloc(0);
    let writtenBytes = 0;
    for (let turn = 0; turn < 400; turn += 1) {
      local = Buffer.concat([local, Buffer.from(`${String(turn).padEnd(5000, ".")}\n`)]);
      const head = await log.read(KEY);
      const fromBytes = head === null ? 0 : writeStartOf(head, "");
      const chunks = chunksOf(local.subarray(fromBytes));
      writtenBytes += local.length - fromBytes;
      await log.append(KEY, null, [{ path: "", fromBytes, chunks }]);
    }
    expect(await contentOf(log)).toBe(local.toString("utf8"));
    expect(piecesIn(store)).toBeLessThan(40);
    expect(writtenBytes / local.length).toBeLessThan(3);
  });

  it("are cut to what one write may be", () => {
    const chunks = chunksOf(Buffer.alloc(9 * 2 ** 20 + 1));
    expect(chunks.map(({ length }) => length)).toEqual([4 * 2 ** 20, 4 * 2 ** 20, 2 ** 20 + 1]);
    expect(chunksOf(Buffer.alloc(0))).toEqual([]);
  });

  it("that were merged while they are read are read by their new names", async () => {
    const store = new MemoryObjects();
    const log = new SessionLog(store);
    for (const text of ["one\n", "two\n", "three\n"]) {
      await log.append(KEY, null, [{ path: "", fromBytes: null, chunks: [Buffer.from(text)] }]);
    }
    const head = await log.read(KEY);
    if (head === null) throw new Error("nothing was written");
    const read: string[] = [];
    for await (const chunk of log.load(KEY, head)) {
      read.push(chunk.toString());
      if (read.length !== 1) continue;
      const merged = Buffer.from("one\ntwo\nthree\n");
      const more = Buffer.concat([merged, Buffer.from("four\n")]);
      await log.append(KEY, null, [{ path: "", fromBytes: 0, chunks: [more] }]);
    }
    expect(read.join("")).toBe("one\ntwo\nthree\nfour\n");
  });

  it("that are lost are told of, and not left out", async () => {
    const store = new MemoryObjects();
    const log = new SessionLog(store);
    await log.append(KEY, null, [{ path: "", fromBytes: null, chunks: [Buffer.from("one\n")] }]);
    const [name] = [...store.objects.keys()].filter((each) => each !== headNameOf(KEY));
    store.objects.delete(name ?? "");
    await expect(contentOf(log)).rejects.toMatchObject({ code: "session_gone" });
  });
});

describe("a deletion", () => {
  it("leaves nothing, of thousands of pieces either", async () => {
    const store = new MemoryObjects();
    const log = new SessionLog(store);
    await log.update(KEY, (head) => deleted(head, TERMS));
    for (let at = 0; at < 1200; at += 1) {
      store.objects.set(`${prefixOf(KEY)}piece-${at}`, { body: Buffer.alloc(1), version: at });
    }
    await log.clear(KEY);
    await log.forget([KEY]);
    expect(store.objects.size).toBe(0);
  });

  it("says so when something stays", async () => {
    const store = new MemoryObjects();
    const log = new SessionLog(store);
    await log.append(KEY, null, [{ path: "", fromBytes: null, chunks: [Buffer.from("one\n")] }]);
    await log.update(KEY, (head) => deleted(head, TERMS));
    store.delete = async () => {};
    const failure = await log.clear(KEY).catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(AppError);
    expect(failure).toMatchObject({ code: "store_unavailable" });
  });
});

describe("a head that is none", () => {
  it.each(["{", '{"version":1}'])("is %j: nothing is written over it", async (text) => {
    const store = new MemoryObjects();
    store.objects.set(headNameOf(KEY), { body: Buffer.from(text), version: 1 });
    const log = new SessionLog(store);
    await expect(log.read(KEY)).rejects.toMatchObject({ code: "session_unreadable" });
    await expect(log.update(KEY, (head) => taken(head, TERMS, "a"))).rejects.toMatchObject({
      code: "session_unreadable",
    });
    expect(store.objects.get(headNameOf(KEY))?.body.toString()).toBe(text);
  });

  it("is that of another session", async () => {
    const store = new MemoryObjects();
    const log = new SessionLog(store);
    await log.update(KEY, (head) => ({ ...head, record: 1 }));
    const found = store.objects.get(headNameOf(KEY));
    const other = { ...KEY, sessionId: KEY.sessionId.replace("5f", "6f") };
    if (found !== undefined) store.objects.set(headNameOf(other), found);
    await expect(log.read(other)).rejects.toMatchObject({ code: "session_unreadable" });
  });
});

it("sums what each path has", async () => {
  const log = new SessionLog(new MemoryObjects());
  const tails = ["", "subagents/agent-1"].map((path, at) => ({
    path,
    fromBytes: 0,
    chunks: [Buffer.alloc(at + 1), Buffer.alloc(2)],
  }));
  const { head } = await log.append(KEY, null, tails);
  expect([
    transcriptBytesOf(head),
    transcriptBytesOf(head, "subagents/agent-1"),
    head.revision,
  ]).toEqual([3, 4, 1]);
});
