/**
 * Goal: what a replica has on its disk of sessions in a store is never mixed up, kept too long or
 * taken away too early, whatever tools, a full disk or a kill make of it.
 * Method: replicas in one process over a store in memory; files are planted and removed as tools
 * would.
 */

import { appendFile, mkdir, readdir, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { describe, expect, it } from "vitest";

import { openDataDirectory } from "../../src/session/data-directory.ts";
import { FileSessions } from "../../src/session/file-sessions.ts";
import type { StoredSession } from "../../src/session/retention.ts";
import { sessionRefOf } from "../../src/session/session-id.ts";
import { transcriptIfAny } from "../../src/session/session-lookup.ts";
import { SessionLocks } from "../../src/session/session-locks.ts";
import { dataPathsOf, sessionPathsOf } from "../../src/session/session-paths.ts";
import { codeOf, thread, threadWithHistory, TOTALS, userLine, writeTranscript } from "./fixture.ts";
import {
  allTextIn,
  begin,
  endDuringOutage,
  pace,
  type Replica,
  replicas,
  required,
  takeTurn,
} from "./replicas.ts";
import type { MemoryObjects } from "./stores/memory-objects.ts";

const REF = sessionRefOf(thread("t"));

/** Where the files are that belong to the transcript. */
async function besideAt(at: Replica): Promise<string> {
  const { path } = required(await transcriptIfAny(at.data, REF));
  return path.replace(/\.jsonl$/, "");
}

const allOf = (at: Replica) => allTextIn(sessionPathsOf(at.data, REF).directory);

/** A turn has been had, and left a long result of a tool beside the transcript. */
async function withResult() {
  const made = await replicas();
  const turn = await begin(made.one, thread("t"));
  await turn.say("first");
  const results = join(await besideAt(made.one), "tool-results");
  await mkdir(results, { recursive: true });
  const result = join(results, "a.txt");
  await writeFile(result, "a long result");
  await turn.finish();
  await turn[Symbol.asyncDispose]();
  return { ...made, results, result };
}

describe("a process that stayed", () => {
  it.each([
    ["removed", (result: string) => rm(result)],
    ["emptied", (result: string) => truncate(result)],
    ["cut", (result: string) => truncate(result, 3)],
    [
      "a link to itself",
      async (result: string) => {
        await rm(dirname(result), { recursive: true });
        await symlink("tool-results", dirname(result));
      },
    ],
  ])("is told to go before its copy is made anew: a file of it is %s", async (_what, change) => {
    const { one, two, result } = await withResult();
    await change(result);
    const claim = await one.sessions.claim(threadWithHistory("t"), Date.now());
    expect(claim.hasMovedOn).toBe(true);
    await claim[Symbol.asyncDispose]();
    expect(await takeTurn(one, threadWithHistory("t"), "second")).toEqual(["first"]);
    expect(await allOf(one)).toContain("a long result");
    expect(await takeTurn(two, threadWithHistory("t"), "last")).toEqual(["first", "second"]);
  });

  it("has its files left to it, whatever becomes of them once its turn has begun", async () => {
    const { one, two, result } = await withResult();
    const lock = one.locks.lock(REF);
    const claim = await one.sessions.claim(threadWithHistory("t"), Date.now());
    expect(claim.hasMovedOn).toBe(false);
    // By something that it runs behind its turns.
    await rm(result);
    await one.sessions.open(threadWithHistory("t"), Date.now(), { processStayed: true });
    const { path } = required(await transcriptIfAny(one.data, REF));
    expect(path).toContain("/own/");
    await appendFile(path, userLine("second", "u-second"));
    await one.sessions.finish(REF, { totals: TOTALS, endedAtMs: Date.now(), processStays: true });
    await claim[Symbol.asyncDispose]();
    lock[Symbol.dispose]();
    expect((await two.sessions.read(REF, Date.now())).turns).toBe(2);
    // What was removed is gone for all: nothing has to be made anew for the next turn.
    const next = await begin(one, threadWithHistory("t"));
    expect(next.claim.hasMovedOn).toBe(false);
    await next[Symbol.asyncDispose]();
    expect(await takeTurn(two, threadWithHistory("t"), "third")).toEqual(["first", "second"]);
    expect(await allOf(two)).not.toContain("a long result");
  });
});

describe("a claim", () => {
  it("is given back where the copy cannot be compared with the store", async () => {
    const { store, one, two } = await replicas();
    await takeTurn(one, thread("t"), "first");
    await truncate(required(await transcriptIfAny(one.data, REF)).path, 20);
    store.faultOf = (call, name) => (call === "get" && !name.endsWith("/head") ? "before" : null);
    expect(await codeOf(one.sessions.claim(threadWithHistory("t"), Date.now()))).toBe(
      "store_unavailable",
    );
    store.faultOf = () => null;
    expect(await takeTurn(two, threadWithHistory("t"), "at once")).toEqual(["first"]);
  });
});

describe("a turn whose files cannot be read as it ends", () => {
  it("fails for the disk, and not for a bug", async () => {
    const { one } = await replicas();
    await using turn = await begin(one, thread("t"));
    await turn.say("first");
    const beside = await besideAt(one);
    await symlink(beside, beside);
    expect(await codeOf(turn.finish())).toBe("storage_failed");
  });
});

describe("files beside a transcript", () => {
  it("go from the store when a turn has removed them", async () => {
    const { one, two, results } = await withResult();
    await takeTurn(two, threadWithHistory("t"), "second");
    const turn = await begin(one, threadWithHistory("t"));
    await rm(join(await besideAt(one), "tool-results"), { recursive: true });
    await turn.say("third");
    await turn.finish();
    await turn[Symbol.asyncDispose]();
    expect(results).toContain("/own/");
    await takeTurn(two, threadWithHistory("t"), "last");
    expect(await allOf(two)).not.toContain("a long result");
  });

  it("stay in the store where a power cut has taken them from a turn that comes late", async () => {
    const { store, one, two, result } = await withResult();
    const turn = await begin(one, threadWithHistory("t"));
    await turn.say("second");
    store.faultOf = () => "before";
    await turn.finish();
    await turn[Symbol.asyncDispose]();
    await one.sessions[Symbol.asyncDispose]();
    await rm(result);
    store.faultOf = () => null;
    const again = await one.restarted();
    await expect.poll(() => again.notices).toContain("delivered");
    expect(await takeTurn(two, threadWithHistory("t"), "third")).toEqual(["first", "second"]);
    expect(await allOf(two)).toContain("a long result");
  });

  it.each(["constructor", "__proto__", "hasOwnProperty", "toString/length"])(
    "may be called %s",
    async (name) => {
      const { one, two } = await replicas();
      const turn = await begin(one, thread("t"));
      await turn.say("first");
      const file = join(await besideAt(one), name);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, "planted");
      await turn.finish();
      await turn[Symbol.asyncDispose]();
      expect(await takeTurn(two, threadWithHistory("t"), "second")).toEqual(["first"]);
      expect(await takeTurn(one, threadWithHistory("t"), "third")).toEqual(["first", "second"]);
      expect(await takeTurn(two, threadWithHistory("t"), "last")).toContain("third");
    },
  );

  it("may become directories, and directories files", async () => {
    const { one, two } = await replicas();
    await takeTurn(one, thread("t"), "0");
    const said = ["0"];
    for (const [at, name, below] of [
      [one, "x", false],
      [one, "x/y", true],
      [two, "x/y/z", true],
      [one, "x", false],
      [two, "x/y", true],
    ] as const) {
      const turn = await begin(at, threadWithHistory("t"));
      expect(turn.history).toEqual(said);
      const beside = await besideAt(at);
      await rm(join(beside, "x"), { recursive: true, force: true });
      const file = join(beside, name);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, `${name} is a file${below ? " below" : ""}`);
      said.push(`${said.length}`);
      await turn.say(required(said.at(-1)));
      await turn.finish();
      await turn[Symbol.asyncDispose]();
    }
    for (const at of [one, two]) {
      await takeTurn(at, threadWithHistory("t"), "last");
      expect(await allOf(at)).toContain("x/y is a file below");
      expect(await allOf(at)).not.toContain("x is a file");
    }
  });

  it("may become directories in a turn that comes late", async () => {
    const { store, one, two, result } = await withResult();
    const turn = await begin(one, threadWithHistory("t"));
    await turn.say("second");
    await rm(result);
    await mkdir(result);
    await writeFile(join(result, "page"), "one page");
    store.faultOf = () => "before";
    await turn.finish();
    await turn[Symbol.asyncDispose]();
    await one.sessions[Symbol.asyncDispose]();
    store.faultOf = () => null;
    const again = await one.restarted();
    await expect.poll(() => again.notices).toContain("delivered");
    expect(await takeTurn(two, threadWithHistory("t"), "third")).toEqual(["first", "second"]);
    expect(await allOf(two)).toContain("one page");
  });
});

describe("a sweep of copies", () => {
  it("leaves one alone that had a turn since it was looked at", async () => {
    const { one } = await replicas();
    await takeTurn(one, thread("t"), "first");
    const seen = await seenAt(one);
    await delay(5);
    const turn = await begin(one, threadWithHistory("t"));
    await writeFile(join(turn.session.directories.work, "report"), "made by a tool");
    await turn.say("second");
    await turn.finish();
    await turn[Symbol.asyncDispose]();
    for (const each of seen) {
      expect(await one.sessions.copies.deleteUnused(each, Date.now())).toBe(false);
    }
    expect(seen).toHaveLength(1);
    expect(await allOf(one)).toContain("made by a tool");
  });

  it("drops what was superseded of a deleted session, and what its copy was left with", async () => {
    const { store, one, two } = await replicas();
    await takeTurn(one, thread("t"), "first");
    const turn = await begin(one, threadWithHistory("t"));
    await writeFile(join(turn.session.directories.work, "note"), "secret");
    await endDuringOutage(store, turn);
    await writeFile(sessionPathsOf(one.data, REF).record, "{");
    store.faultOf = () => null;
    await expect.poll(() => one.notices, { timeout: 10_000 }).toContain("superseded");
    expect(await allOf(one)).toContain("during");
    await two.sessions.delete(REF, Date.now());
    expect(await one.sessions.copies.dropDeleted(Date.now(), pace())).toBe(1);
    expect(await allOf(one)).toBe("");
  });

  it("drops one without a mark, unless the store knows nothing of its session", async () => {
    const { store, one, two } = await replicas();
    for (const name of ["t", "lost"]) {
      const ref = sessionRefOf(thread(name));
      await takeTurn(one, thread(name), "secret");
      // As of one that was cut off while it was made anew.
      await rm(join(sessionPathsOf(one.data, ref).directory, "store.json"));
    }
    await two.sessions.delete(REF, Date.now());
    const lost = sessionRefOf(thread("lost"));
    for (const name of store.objects.keys()) {
      if (name.includes(lost.sessionId)) store.objects.delete(name);
    }
    expect(await one.sessions.copies.dropDeleted(Date.now(), pace())).toBe(1);
    expect(await allOf(one)).toBe("");
    expect(await allTextIn(sessionPathsOf(one.data, lost).directory)).toContain("secret");
  });
});

/** What a sweep sees of the copies. */
async function seenAt(at: Replica): Promise<StoredSession[]> {
  const seen: StoredSession[] = [];
  for await (const some of at.sessions.copies.scan({ withDiskUsage: false })) {
    seen.push(...some.filter((each) => each !== "unreadable"));
  }
  return seen;
}

const isHeadOf = (ref: { readonly sessionId: string }) => (name: string) =>
  name.endsWith(`/${ref.sessionId}/head`);

describe("a copy of which the store knows nothing", () => {
  const DAY_MS = 86_400_000;

  it.each<[string, (store: MemoryObjects, head: string) => unknown]>([
    ["it came back empty", (store) => store.objects.clear()],
    ["its head is damaged", (store, head) => store.put(head, Buffer.from("{"), "any")],
  ])("goes when it was idle for long, and for no room before: %s", async (_what, harm) => {
    const { store, one } = await replicas({ maxIdleMs: 30 * DAY_MS });
    await takeTurn(one, thread("t"), "all that is left");
    await harm(store, required([...store.objects.keys()].find(isHeadOf(REF))));
    const [seen] = await seenAt(one);
    const copy = required(seen);
    const atMs = copy.lastUseAtMs + 30 * DAY_MS;
    expect(await one.sessions.copies.deleteUnused(copy, atMs)).toBe(false);
    expect(await seenAt(one)).toEqual([{ ...copy, goesByTimeAlone: true }]);
    // Nor as the store is away by now.
    store.faultOf = () => "before";
    expect(await one.sessions.copies.deleteUnused(copy, atMs)).toBe(false);
    store.faultOf = () => null;
    expect(await allOf(one)).toContain("all that is left");
    expect(await one.sessions.copies.deleteUnused(copy, atMs + 1)).toBe(true);
    expect(await allOf(one)).toBe("");
  });

  it("stays where none goes for its time, and makes room again once the store knows it", async () => {
    const { store, one } = await replicas();
    await takeTurn(one, thread("t"), "all that is left");
    const objects = [...store.objects];
    store.objects.clear();
    const [seen] = await seenAt(one);
    const copy = required(seen);
    expect(await one.sessions.copies.deleteUnused(copy, Date.now() + 9_999 * DAY_MS)).toBe(false);
    for (const [name, object] of objects) store.objects.set(name, object);
    await one.sessions.copies.dropDeleted(Date.now(), pace());
    expect(await seenAt(one)).toEqual([copy]);
    expect(await one.sessions.copies.deleteUnused(copy, Date.now())).toBe(true);
  });
});

describe("a session on hold that is not the one in the store", () => {
  /** Those that lie in `held/`, as a command would open them. */
  async function heldAt(at: Replica): Promise<FileSessions> {
    const [name] = await readdir(join(at.data, "held"));
    const dataDirectory = join(at.data, "held", required(name));
    const locks = new SessionLocks();
    return new FileSessions({ dataDirectory, maxPerTenant: 9, locks });
  }

  async function mustBeKept(at: Replica): Promise<void> {
    const held = await heldAt(at);
    expect(await allTextIn(join(at.data, "held"))).toContain("evidence");
    expect((await held.read(REF, Date.now())).onHoldSinceMs).toBeDefined();
    expect(await codeOf(held.delete(REF, Date.now()))).toBe("session_on_hold");
    expect(at.notices).toEqual(["held"]);
    await held.hold(REF, false, Date.now());
    await held.delete(REF, Date.now());
    expect(await allTextIn(join(at.data, "held"))).not.toContain("evidence");
  }

  /** As of a replica that had its sessions for itself, and of which none was taken along. */
  async function notTakenAlong() {
    const made = await replicas();
    const { data: dataDirectory, locks } = made.one;
    const own = new FileSessions({ dataDirectory, maxPerTenant: 9, locks });
    const session = await own.open(thread("t"), 1);
    await writeTranscript(session, userLine("evidence", "u-evidence"));
    await own.finish(REF, { totals: TOTALS, endedAtMs: 1 });
    await own.hold(REF, true, 1);
    return made;
  }

  it.each<[string, (made: Awaited<ReturnType<typeof replicas>>) => Promise<unknown>]>([
    ["a turn here", async ({ one }) => takeTurn(one, thread("t"), "anew")],
    [
      "a turn elsewhere, and a sweep here",
      async ({ one, two }) => {
        await takeTurn(two, thread("t"), "anew");
        await one.sessions.copies.dropDeleted(Date.now(), pace());
      },
    ],
    [
      "a turn elsewhere, and a deletion here",
      async ({ one, two }) => {
        await takeTurn(two, thread("t"), "anew");
        await one.sessions.delete(REF, Date.now());
      },
    ],
    [
      "a turn and a deletion elsewhere, and a sweep here",
      async ({ one, two }) => {
        await takeTurn(two, thread("t"), "anew");
        await two.sessions.delete(REF, Date.now());
        await one.sessions.copies.dropDeleted(Date.now(), pace());
      },
    ],
  ])("is moved to held/, as it was not taken along, by %s", async (_what, work) => {
    const made = await notTakenAlong();
    await work(made);
    await mustBeKept(made.one);
    expect(await allOf(made.one)).not.toContain("evidence");
  });

  it("is moved to held/ where the store has lost it, and the thread goes on without it", async () => {
    const { store, one, two } = await replicas();
    await takeTurn(one, thread("t"), "evidence");
    await two.sessions.hold(REF, true, Date.now());
    await one.sessions.copies.dropDeleted(Date.now(), pace());
    store.objects.clear();
    await one.sessions.copies.dropDeleted(Date.now(), pace());
    await takeTurn(two, thread("t"), "anew");
    expect(await takeTurn(one, threadWithHistory("t"), "on")).toEqual(["anew"]);
    await mustBeKept(one);
  });

  it("goes with the session that it is a copy of, which had been released before", async () => {
    const { one, two } = await replicas();
    await takeTurn(one, thread("t"), "evidence");
    await two.sessions.hold(REF, true, Date.now());
    await one.sessions.copies.dropDeleted(Date.now(), pace());
    await two.sessions.hold(REF, false, Date.now());
    await two.sessions.delete(REF, Date.now());
    expect(await one.sessions.copies.dropDeleted(Date.now(), pace())).toBe(1);
    expect(await allTextIn(one.data)).not.toContain("evidence");
    expect(one.notices).toEqual([]);
  });
});

describe("a copy that was not finished", () => {
  const isPiece = (name: string) => name.startsWith("sessions/") && !name.endsWith("/head");

  it("leaves nothing behind", async () => {
    const { store, one, two } = await withResult();
    let pieces = 0;
    store.faultOf = (call, name) => {
      if (call !== "get" || !isPiece(name)) return null;
      pieces += 1;
      return pieces > 1 ? "before" : null;
    };
    expect(await codeOf(begin(two, threadWithHistory("t")))).toBe("store_unavailable");
    expect(pieces).toBe(2);
    store.faultOf = () => null;
    await one.sessions.delete(REF, Date.now());
    expect(await allTextIn(two.data)).not.toContain("first");
  });

  it("is gone with the next start where it was killed", async () => {
    const { store, two } = await withResult();
    let pieces = 0;
    let kill = () => {};
    const killed = new Promise<never>((_, reject) => (kill = () => reject(new Error("killed"))));
    store.before = async (call, name) => {
      if (call !== "get" || !isPiece(name)) return;
      pieces += 1;
      if (pieces > 1) await killed;
    };
    const beginning = codeOf(begin(two, threadWithHistory("t")));
    await expect.poll(() => pieces).toBe(2);
    expect(await allTextIn(two.data)).toContain("first");
    // As the next run finds it, once it has taken the lock over.
    await rm(dataPathsOf(two.data).lock);
    const next = await openDataDirectory(two.data, 1);
    expect(await allTextIn(two.data)).not.toContain("first");
    await next[Symbol.asyncDispose]();
    // Its files are closed, as the kernel would.
    kill();
    await beginning;
  });

  it("leaves room for a spare where there was nothing to copy", async () => {
    const { one } = await replicas();
    await using turn = await begin(one, thread("t"));
    expect(await readdir(turn.session.directories.config)).toEqual([]);
  });
});

describe("a turn that comes too late", () => {
  it("is moved to superseded/ also where the transcript was shortened for it", async () => {
    const { store, one, two } = await replicas();
    for (let turn = 0; turn < 8; turn += 1) {
      await takeTurn(one, thread("t"), `${turn} ${"x".repeat(2_000)}`);
    }
    const lock = one.locks.lock(REF);
    const claim = await one.sessions.claim(threadWithHistory("t"), Date.now());
    const transcript = { maxBytes: 10_000, whenFull: "shorten" } as const;
    await one.sessions.open(threadWithHistory("t"), Date.now(), { transcript });
    const { path } = required(await transcriptIfAny(one.data, REF));
    await appendFile(path, userLine("acknowledged", "u-last"));
    store.faultOf = () => "before";
    await one.sessions.finish(REF, { totals: TOTALS, endedAtMs: Date.now() });
    await claim[Symbol.asyncDispose]();
    lock[Symbol.dispose]();
    await one.sessions[Symbol.asyncDispose]();
    store.faultOf = () => null;
    for (const object of store.objects.values()) {
      const text = object.body.toString("utf8");
      object.body = Buffer.from(text.replace(/"expiresAtMs":\d+/, '"expiresAtMs":0'));
    }
    await takeTurn(two, threadWithHistory("t"), "others went on");
    const again = await one.restarted();
    await expect.poll(() => again.notices, { timeout: 10_000 }).toContain("superseded");
    const history = await takeTurn(again, threadWithHistory("t"), "next");
    expect(history).toContain("others went on");
    expect(history).not.toContain("acknowledged");
    const { directory } = sessionPathsOf(one.data, REF);
    expect(await allTextIn(join(directory, "superseded"))).toContain("acknowledged");
  });
});
