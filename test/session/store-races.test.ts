/**
 * Goal: what is read of a session is of that session as it was, whole, or refused; and what takes
 * long, or is refused, costs nobody a lease and leaves nothing behind.
 * Method: replicas over a store in memory, in which others come in between.
 */

import { readFile, writeFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

import { describe, expect, it } from "vitest";

import { sessionRefOf } from "../../src/session/session-id.ts";
import { transcriptIfAny } from "../../src/session/session-lookup.ts";
import type { SessionHead } from "../../src/session/stores/session-head.ts";
import { codeOf, thread, threadWithHistory } from "./fixture.ts";
import { begin, type Replica, replicas, saidIn, takeTurn } from "./replicas.ts";
import type { MemoryObjects } from "./stores/memory-objects.ts";

const REF = sessionRefOf(thread("t"));
const isPiece = (name: string) => /^sessions\/.+(?<!\/head)$/.test(name);

async function talk(at: Replica, words: readonly string[]): Promise<void> {
  for (const [turn, word] of words.entries()) {
    await takeTurn(at, turn === 0 ? thread("t") : threadWithHistory("t"), word);
  }
}

/** Reads an export, and has something happen after its first part. */
async function exportedWhile(at: Replica, happens: () => Promise<void>): Promise<string> {
  let text = "";
  let parts = 0;
  for await (const part of await at.sessions.exported(REF, Date.now())) {
    text += part.toString();
    parts += 1;
    if (parts === 1) await happens();
  }
  return text;
}

/** Takes a turn before which the transcript was cut, as for an agent that takes no long ones. */
async function takeShortened(at: Replica): Promise<void> {
  await using turn = await begin(at, threadWithHistory("t"));
  const { path = "" } = (await transcriptIfAny(at.data, REF)) ?? {};
  const lines = (await readFile(path, "utf8")).split("\n");
  await writeFile(path, lines.slice(2).join("\n"));
  await turn.say("after the cut");
  await turn.finish();
}

describe("an export that is read", () => {
  it("does not go on in the next session of the thread", async () => {
    const { one, two } = await replicas();
    await talk(one, ["a1", "a2", "a3"]);
    const reading = exportedWhile(one, async () => {
      await two.sessions.delete(REF, Date.now());
      await talk(two, [`b1 ${"x".repeat(2_000)}`, "b2"]);
    });
    expect(await codeOf(reading)).toBe("session_gone");
  });

  it("does not go on in what was left of the session as it was shortened", async () => {
    const { one, two } = await replicas();
    await talk(one, ["a1", "a2", "a3", "a4"]);
    expect(await codeOf(exportedWhile(one, () => takeShortened(two)))).toBe("session_gone");
  });

  it("goes on where its pieces have become one", async () => {
    const { store, one, two } = await replicas();
    const words = Array.from({ length: 15 }, (_, at) => `word ${at}`);
    await talk(one, words);
    const before = [...store.objects.keys()].filter(isPiece).length;
    const text = await exportedWhile(one, async () => {
      for (const word of ["x", "y", "z"]) await takeTurn(two, threadWithHistory("t"), word);
    });
    expect([...store.objects.keys()].filter(isPiece).length).toBeLessThan(before);
    for (const word of words) expect(text.split(`"${word}"`)).toHaveLength(2);
  });
});

it("a transcript that is shortened while it is read is read anew", async () => {
  const { store, one, two } = await replicas();
  await talk(one, ["a1", "a2", "a3", "a4"]);
  let gets = 0;
  store.before = async (call, name) => {
    if (call !== "get" || !isPiece(name)) return;
    gets += 1;
    if (gets !== 1) return;
    store.before = async () => {};
    await takeShortened(two);
  };
  expect(await saidIn(one, thread("t"))).toEqual(["after the cut"]);
});

describe("a piece that is shorter than it was", () => {
  async function cutPiece(store: MemoryObjects): Promise<() => Promise<unknown>> {
    const name = [...store.objects.keys()].find(isPiece) ?? "";
    const whole = store.objects.get(name)?.body ?? Buffer.alloc(0);
    await store.put(name, whole.subarray(0, whole.length - 5), "any");
    return async () => store.put(name, whole, "any");
  }

  it("has its session refused, and given back", async () => {
    const { store, one, two } = await replicas();
    await talk(one, ["hello"]);
    const mend = await cutPiece(store);
    expect(await codeOf(two.sessions.transcript(REF, Date.now()))).toBe("session_unreadable");
    expect(await codeOf(exportedWhile(two, async () => {}))).toBe("session_unreadable");
    expect(await codeOf(begin(two, threadWithHistory("t")))).toBe("session_unreadable");
    await mend();
    expect(await takeTurn(two, threadWithHistory("t"), "next")).toEqual(["hello"]);
  });
});

describe("a lease", () => {
  it("begins when it is taken, however long the session was waited for", async () => {
    const leaseTimeMs = 900;
    const { store, one, two } = await replicas({ leaseTimeMs });
    await talk(two, ["hello"]);
    let goOn: (() => void) | undefined;
    const held = new Promise<void>((resolve) => (goOn = resolve));
    store.before = async (call, name) => {
      if (call === "get" && isPiece(name)) await held;
    };
    const refreshing = one.sessions.refresh(REF);
    await delay(50);
    const leftMs = leasesWritten(store);
    const starting = begin(one, threadWithHistory("t"));
    await delay(leaseTimeMs + 100);
    store.before = async () => {};
    goOn?.();
    await refreshing;
    await using _turn = await starting;
    expect(leftMs[0]).toBeGreaterThan(leaseTimeMs / 2);
  });

  it("begins when it is taken also where the session is new", async () => {
    const leaseTimeMs = 900;
    const { store, one } = await replicas({ leaseTimeMs });
    store.before = async (call) => {
      if (call === "list") await delay(leaseTimeMs + 100);
    };
    const leftMs = leasesWritten(store);
    await using _turn = await begin(one, thread("t"));
    expect(leftMs[0]).toBeGreaterThan(leaseTimeMs / 2);
  });
});

/** How long each lease that is written from now on has left at that moment. */
function leasesWritten(store: MemoryObjects): readonly number[] {
  const leftMs: number[] = [];
  const put = store.put.bind(store);
  store.put = async (name, body, condition) => {
    if (name.endsWith("/head")) {
      const head = JSON.parse(Buffer.from(body).toString()) as SessionHead;
      if (head.lease !== null) leftMs.push(head.lease.expiresAtMs - Date.now());
    }
    return put(name, body, condition);
  };
  return leftMs;
}

it("a deletion that is refused leaves nothing behind", async () => {
  const { store, one, two } = await replicas();
  await using _turn = await begin(one, thread("t"));
  const before = [...store.objects.keys()];
  for (let tries = 0; tries < 3; tries += 1) {
    expect(await codeOf(two.sessions.delete(REF, Date.now()))).toBe("session_busy");
    await delay(2);
  }
  expect([...store.objects.keys()]).toEqual(before);
});
