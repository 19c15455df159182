/**
 * Goal: to keep a session costs little, however slow the store is and however much the session has.
 * Method: replicas over a store in memory, with a clock that is set forward.
 */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { describe, expect, it, vi } from "vitest";

import { sessionRefOf } from "../../src/session/session-id.ts";
import { transcriptIfAny } from "../../src/session/session-lookup.ts";
import { parseHead, type SessionHead } from "../../src/session/stores/session-head.ts";
import { cleanAfterTest, thread } from "./fixture.ts";
import { begin, LEASE_MS, replicas, required } from "./replicas.ts";
import type { MemoryObjects } from "./stores/memory-objects.ts";

const REF = sessionRefOf(thread("t"));
const isHead = (name: string) => name.endsWith("/head");

/** Has time pass for the intervals of leases, and for nothing else. */
function fakeTime(): void {
  vi.useFakeTimers({ toFake: ["Date", "hrtime", "setInterval", "clearInterval"] });
  cleanAfterTest(async () => void vi.useRealTimers());
}

function headIn(store: MemoryObjects): SessionHead {
  const [, object] = required([...store.objects].find(([name]) => isHead(name)));
  return required(parseHead(object.body));
}

/** One more renewal, of which at least the lease is written. */
async function renewed(store: MemoryObjects): Promise<void> {
  const { lease } = headIn(store);
  await vi.advanceTimersByTimeAsync(LEASE_MS / 3);
  await expect
    .poll(() => headIn(store).lease?.expiresAtMs, { timeout: 60_000 })
    .not.toBe(lease?.expiresAtMs);
}

describe("renewals of a lease", () => {
  it("do not pile up while the store is slow", async () => {
    fakeTime();
    const { store, one } = await replicas();
    const turn = await begin(one, thread("t"));
    let letGo = (): void => {};
    const isLetGo = new Promise<void>((resolve) => (letGo = resolve));
    store.before = async (call, name) => (call === "put" && isHead(name) ? isLetGo : undefined);
    await vi.advanceTimersByTimeAsync(20 * LEASE_MS);
    store.calls.length = 0;
    await turn.say("hello");
    const finished = turn.finish();
    letGo();
    await finished;
    const puts = store.calls.filter(({ call, name }) => call === "put" && isHead(name));
    // What one and its lines write, the one that waited, and the end.
    expect(puts.length).toBeLessThan(8);
    await turn[Symbol.asyncDispose]();
  });

  it("read no file again that nobody has written to, and one that somebody has", async ({
    skip,
  }) => {
    const readBytes = async (): Promise<number> => {
      const io = await readFile("/proc/self/io", "utf8").catch(() => "");
      return Number(/^rchar: (\d+)$/m.exec(io)?.[1] ?? Number.NaN);
    };
    if (Number.isNaN(await readBytes())) skip("there is no /proc/self/io here");
    fakeTime();
    const { store, one } = await replicas();
    const turn = await begin(one, thread("t"));
    await turn.say("hello");
    const { path = "" } = (await transcriptIfAny(one.data, REF)) ?? {};
    const file = join(dirname(path), turn.session.transcriptId, "tool-results", "a.txt");
    await mkdir(dirname(file), { recursive: true });
    const LARGE_BYTES = 24 * 2 ** 20;
    await writeFile(file, Buffer.alloc(LARGE_BYTES, "a"));
    // It is uploaded, then found to be there; the last one says that those before are done.
    for (let round = 0; round < 3; round += 1) await renewed(store);
    const before = await readBytes();
    for (let round = 0; round < 5; round += 1) await renewed(store);
    expect((await readBytes()) - before).toBeLessThan(LARGE_BYTES);

    await writeFile(file, Buffer.alloc(LARGE_BYTES, "b"));
    for (let round = 0; round < 2; round += 1) await renewed(store);
    const pieces = [...store.objects.values()].map(({ body }) => body.toString("utf8", 0, 1));
    expect(pieces).toContain("b");
    expect(pieces).not.toContain("a");
    await turn.finish();
    await turn[Symbol.asyncDispose]();
  });
});
