/**
 * Goal: what nobody can read any more is in nobody's way for ever, but where it may be on hold; and what
 * a newer version wrote is left to that (newer-version.test.ts).
 * Method: replicas in one process over a store in memory, whose objects are harmed.
 */

import { describe, expect, it } from "vitest";

import { StoreArchive } from "../../src/session/session-archive.ts";
import { sessionRefOf } from "../../src/session/session-id.ts";
import { logKeyOf } from "../../src/session/stored-record.ts";
import { headNameOf } from "../../src/session/stores/names.ts";
import { codeOf, thread, threadWithHistory, userLine } from "./fixture.ts";
import { begin, pace, replicas, required, takeTurn } from "./replicas.ts";
import type { MemoryObjects } from "./stores/memory-objects.ts";

const REF = sessionRefOf(thread("t"));

describe("a session in the store that cannot be read", () => {
  const DAMAGES: [string, (head: string) => string][] = [
    ["its head is cut short", (head) => head.slice(0, 40)],
    ["its head is nothing", () => ""],
    ["its record is damaged", (head) => head.replace('"threadId":"t"', '"threadId":5')],
  ];

  function damage(store: MemoryObjects, change: (head: string) => string): void {
    const head = required(store.objects.get(headNameOf(logKeyOf(REF))));
    head.body = Buffer.from(change(head.body.toString("utf8")));
  }

  it.each(DAMAGES)("can be deleted, and its thread begins anew: %s", async (_what, change) => {
    const { store, one, two } = await replicas();
    await takeTurn(one, thread("t"), "old");
    damage(store, change);
    expect(await codeOf(two.sessions.read(REF, Date.now()))).toBe("session_unreadable");
    await two.sessions.delete(REF, Date.now());
    expect(await codeOf(begin(two, threadWithHistory("t")))).toBe("session_gone");
    const all = [...store.objects.values()].map(({ body }) => body.toString("utf8")).join("");
    expect(all).not.toContain("old");
    expect(await takeTurn(two, thread("t"), "new")).toEqual([]);
    expect(await takeTurn(one, threadWithHistory("t"), "more")).toEqual(["new"]);
  });

  it.each(DAMAGES)(
    "lets nobody write to it who had it, once it was deleted: %s",
    async (_what, change) => {
      const { store, one, two } = await replicas();
      await using late = await begin(one, thread("t"));
      await late.say("late");
      // A lease that can be read is heeded.
      damage(store, (head) => change(head.replace(/"expiresAtMs":\d+/, '"expiresAtMs":0')));
      await two.sessions.delete(REF, Date.now());
      await takeTurn(two, thread("t"), "new");
      expect(await codeOf(late.finish())).toBe("session_taken_over");
      await late[Symbol.asyncDispose]();
      expect(await takeTurn(one, threadWithHistory("t"), "more")).toEqual(["new"]);
    },
  );

  it.each(DAMAGES)("can be replaced by a copy of it: %s", async (_what, change) => {
    const { store, one } = await replicas();
    await takeTurn(one, thread("t"), "old");
    const archive = new StoreArchive(store);
    const record = required(await archive.find(REF.sessionId));
    damage(store, change);
    const transcripts = {
      paths: [""],
      async *load() {
        yield Buffer.from(userLine("from the backup", "u-backup"));
      },
    };
    const unasked = await archive.put(record, transcripts, false).catch(() => "refused");
    expect(unasked).not.toBe("copied");
    expect(await archive.put(record, transcripts, true)).toBe("copied");
    expect(await takeTurn(one, threadWithHistory("t"), "more")).toEqual(["from the backup"]);
  });

  it.each<[string, (head: string) => string]>([
    ["its head says so", (head) => head.slice(0, -1)],
    ["its record says so", (head) => head.replace('"threadId":"t"', '"threadId":5')],
  ])("is neither deleted nor replaced where it is on hold: %s", async (_what, change) => {
    const { store, one, two } = await replicas();
    await takeTurn(one, thread("t"), "evidence");
    await two.sessions.hold(REF, true, Date.now());
    const archive = new StoreArchive(store);
    const record = required(await archive.find(REF.sessionId));
    damage(store, change);
    const before = [...store.objects.keys()];
    expect(await codeOf(two.sessions.delete(REF, Date.now()))).toBe("session_on_hold");
    const none = { paths: [], async *load() {} };
    expect(await codeOf(archive.put(record, none, true))).toBe("session_on_hold");
    expect([...store.objects.keys()]).toEqual(before);
  });

  it("is not deleted where it is known here to be on hold", async () => {
    const { store, one } = await replicas();
    await takeTurn(one, thread("t"), "evidence");
    await one.sessions.hold(REF, true, Date.now());
    await one.sessions.copies.dropDeleted(Date.now(), pace());
    damage(store, () => "");
    expect(await codeOf(one.sessions.delete(REF, Date.now()))).toBe("session_on_hold");
  });
});
