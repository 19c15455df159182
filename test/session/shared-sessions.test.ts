/**
 * Goal: several replicas on one store have one conversation between them: each turn sees all that
 * were acknowledged before it, no two run at once, and nothing is lost to a crash, a pause or a
 * store that is away.
 * Method: replicas in one process, each with a data directory of its own, over a store in memory
 * that fails when it is told to. Turns write the lines that Claude Code would.
 */

import { appendFile, mkdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import type { AppError, ErrorCode } from "../../src/lib/errors.ts";
import { type SessionInput, sessionRefOf } from "../../src/session/session-id.ts";
import { sessionPathsOf } from "../../src/session/session-paths.ts";
import { transcriptIfAny } from "../../src/session/session-lookup.ts";
import { SessionSweeper } from "../../src/session/session-sweeper.ts";
import {
  byId,
  codeOf,
  errorOf,
  QUEUE_LINE,
  thread,
  threadWithHistory,
  TOTALS,
  userLine,
} from "./fixture.ts";
import {
  allTextIn,
  begin,
  endDuringOutage,
  LEASE_MS,
  pace,
  type Replica,
  replica,
  replicas,
  required,
  saidIn,
  takeTurn,
  wordsIn,
} from "./replicas.ts";
import { MemoryObjects } from "./stores/memory-objects.ts";

/** The lines of a chain: each message names the one before, which a list of texts does not need. */
const chainless = async (at: Replica, input: SessionInput): Promise<number> =>
  (await saidIn(at, input)).length;

describe("replicas that take turns", () => {
  it("continue each other's, with all of its files", async () => {
    const { one, two } = await replicas();
    expect(await takeTurn(one, thread("t"), "first")).toEqual([]);
    expect(await takeTurn(two, threadWithHistory("t"), "second")).toEqual(["first"]);
    expect(await takeTurn(two, threadWithHistory("t"), "third")).toEqual(["first", "second"]);
    expect(await takeTurn(one, threadWithHistory("t"), "fourth")).toEqual([
      "first",
      "second",
      "third",
    ]);
    for (const at of [one, two]) {
      const summary = await at.sessions.read(sessionRefOf(thread("t")), Date.now());
      expect(summary).toMatchObject({ turns: 4, threadId: "t", isBusy: false });
      // Those of four turns.
      expect(summary.totals).toMatchObject({ costUsd: 1, byModel: [{ inputTokens: 40 }] });
      expect(summary.transcriptBytes).toBeGreaterThan(100);
      expect(at.notices).toEqual([]);
    }
  });

  it("bring the transcripts of subagents, and long results of tools", async () => {
    const { one, two } = await replicas();
    const files = {
      "subagents/agent-1.jsonl": `${userLine("from below")}{"torn`,
      "subagents/agent-1.meta.json": '{"agentType":"scout"}',
      "tool-results/long.txt": "\0 a long result without an end of line",
    };
    const first = await begin(one, thread("t"));
    await first.say("hello");
    const { config } = first.session.directories;
    const beside = join(config, "projects", "own", first.session.transcriptId);
    for (const [name, text] of Object.entries(files)) {
      await mkdir(dirname(join(beside, name)), { recursive: true });
      await appendFile(join(beside, name), text);
    }
    await first.finish();
    await first[Symbol.asyncDispose]();
    const second = await begin(two, threadWithHistory("t"));
    const restored = join(
      second.session.directories.config,
      "projects",
      "restored",
      second.session.transcriptId,
    );
    const read = (name: string) => readFile(join(restored, name), "utf8");
    expect(await read("subagents/agent-1.jsonl")).toBe(userLine("from below"));
    expect(await read("subagents/agent-1.meta.json")).toBe(files["subagents/agent-1.meta.json"]);
    expect(await read("tool-results/long.txt")).toBe(files["tool-results/long.txt"]);
    await second[Symbol.asyncDispose]();
  });

  it("refuse each other while one has the session, and say until when", async () => {
    const { one, two } = await replicas();
    await using turn = await begin(one, thread("t"));
    const refused = await errorOf(begin(two, thread("t")));
    expect(refused.code).toBe("session_busy");
    const expiresAt = String(refused.details.extensions?.["expiresAt"]);
    expect(Date.parse(expiresAt) - Date.now()).toBeGreaterThan(LEASE_MS / 2);
    expect(refused.details.retryAfterSeconds).toBeLessThanOrEqual(LEASE_MS / 1000);
    expect((await two.sessions.read(sessionRefOf(thread("t")), Date.now())).isBusy).toBe(true);
    await turn.say("hello");
    await turn.finish();
    expect(await takeTurn(two, threadWithHistory("t"), "then")).toEqual(["hello"]);
  });

  it("let one of many at once have it", async () => {
    const store = new MemoryObjects();
    const all = await Promise.all(
      Array.from({ length: 6 }, (_, at) => replica(`replica-${at}`, store)),
    );
    const begun = await Promise.allSettled(all.map((at) => begin(at, thread("t"))));
    const won = begun.filter((result) => result.status === "fulfilled");
    expect(won).toHaveLength(1);
    for (const result of begun) {
      if (result.status === "rejected")
        expect(result.reason).toMatchObject({ code: "session_busy" });
    }
    for (const { value } of won) await value[Symbol.asyncDispose]();
    const listed = [...store.objects.keys()].filter((name) => name.startsWith("index/"));
    expect(listed).toHaveLength(1);
  });

  it("let a session go whose turn their own disk has failed", async () => {
    const { one, two } = await replicas();
    await takeTurn(one, thread("t"), "hello");
    const { directory } = sessionPathsOf(one.data, sessionRefOf(thread("t")));
    const turn = await begin(one, threadWithHistory("t"));
    await rm(directory, { recursive: true });
    await expect(turn.finish()).rejects.toThrow();
    await turn[Symbol.asyncDispose]();
    expect(await takeTurn(two, threadWithHistory("t"), "then")).toEqual(["hello"]);
    const record = await readFile(
      join(sessionPathsOf(two.data, sessionRefOf(thread("t"))).directory, "session.json"),
    );
    await rm(directory, { recursive: true, force: true });
    await mkdir(join(directory, "store.json"), { recursive: true });
    await writeFile(join(directory, "session.json"), record);
    expect(await codeOf(begin(one, threadWithHistory("t")))).toBe("storage_failed");
    expect(await takeTurn(two, threadWithHistory("t"), "at once")).toEqual(["hello", "then"]);
  });

  it("end a turn well that the store has, whatever their own disk says of the mark", async () => {
    const { one, two } = await replicas();
    await takeTurn(one, thread("t"), "first");
    const mark = join(sessionPathsOf(one.data, sessionRefOf(thread("t"))).directory, "store.json");
    const turn = await begin(one, threadWithHistory("t"));
    await rm(mark);
    await mkdir(join(mark, "in the way"), { recursive: true });
    await turn.say("second");
    await turn.finish();
    await turn[Symbol.asyncDispose]();
    expect(await takeTurn(two, threadWithHistory("t"), "third")).toEqual(["first", "second"]);
    await rm(mark, { recursive: true });
    expect(await takeTurn(one, threadWithHistory("t"), "last")).toEqual([
      "first",
      "second",
      "third",
    ]);
    expect(one.notices).toEqual([]);
  });

  it("never upload a copy that is behind, however long a session takes to open", async () => {
    const { one, two } = await replicas({ leaseTimeMs: 90 });
    await takeTurn(one, thread("t"), "first");
    await takeTurn(two, thread("t"), "second");
    const claim = await one.sessions.claim(thread("t"), Date.now());
    // The lease is renewed a few times before the copy is made that of the store.
    await delay(150);
    expect(await saidIn(two, thread("t"))).toContain("second");
    await claim[Symbol.asyncDispose]();
    expect(await takeTurn(one, thread("t"), "third")).toEqual(["first", "second"]);
  });

  it("let a session go whose turn did not begin", async () => {
    const { one, two } = await replicas();
    await takeTurn(one, thread("t"), "hello");
    const claim = await one.sessions.claim(thread("t"), Date.now());
    await claim[Symbol.asyncDispose]();
    expect(await takeTurn(two, threadWithHistory("t"), "then")).toEqual(["hello"]);
  });
});

describe("what is not there", () => {
  it("is refused before anything is written for it", async () => {
    const { one, store } = await replicas();
    expect(await codeOf(begin(one, threadWithHistory("nobody")))).toBe("session_not_found");
    const id = "5f0c6f2e-8d3a-5b7e-9a41-c2d7e05b9e13";
    expect(await codeOf(begin(one, byId(id)))).toBe("session_not_found");
    expect(store.objects.size).toBe(0);
  });

  it("is a session of another tenant, or of another agent", async () => {
    const { one, two } = await replicas();
    await takeTurn(one, thread("t"), "hello");
    const { sessionId } = sessionRefOf(thread("t"));
    expect(await codeOf(begin(two, byId(sessionId, { tenant: "other" })))).toBe(
      "session_not_found",
    );
    expect(await codeOf(begin(two, byId(sessionId, { agentName: "another" })))).toBe(
      "session_not_found",
    );
    expect(await codeOf(two.sessions.read({ tenant: "other", sessionId }, 1))).toBe(
      "session_not_found",
    );
    // And it is free for its own.
    expect(await takeTurn(two, byId(sessionId), "again")).toEqual(["hello"]);
  });

  it("is more than a tenant may have, wherever they were begun", async () => {
    const { one, two } = await replicas({ maxPerTenant: 2 });
    await takeTurn(one, thread("a"), "hello");
    await takeTurn(one, thread("b"), "hello");
    expect(await codeOf(begin(two, thread("c")))).toBe("too_many_sessions");
    expect(await codeOf(begin(one, thread("c")))).toBe("too_many_sessions");
    expect(await one.sessions.count("acme")).toBe(2);
    await one.sessions.delete(sessionRefOf(thread("a")), Date.now());
    await takeTurn(one, thread("c"), "hello");
  });
});

describe("the sessions that a tenant may have", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["hrtime"] }));
  afterEach(() => void vi.useRealTimers());

  const remove = async ({ sessions }: Replica, name: string) =>
    sessions.delete(sessionRefOf(thread(name)), Date.now());

  it("are those that are there, whoever has deleted the others", async () => {
    const { one, two } = await replicas({ maxPerTenant: 3 });
    for (let at = 0; at < 9; at += 1) {
      await takeTurn(one, thread(`t${at}`), "hello");
      await remove(two, `t${at}`);
      vi.advanceTimersByTime(30_000);
    }
    for (const name of ["a", "b", "c"]) await takeTurn(one, thread(name), "hello");
    vi.advanceTimersByTime(60_001);
    expect(await codeOf(begin(one, thread("d")))).toBe("too_many_sessions");
    // The other one has given back more than it had counted.
    expect(await two.sessions.count("acme")).toBeGreaterThanOrEqual(0);
    vi.advanceTimersByTime(300_001);
    expect(await codeOf(begin(two, thread("d")))).toBe("too_many_sessions");
  });

  it("are not counted each time that one is refused", async () => {
    const { store, one, two } = await replicas({ maxPerTenant: 1 });
    await takeTurn(one, thread("a"), "hello");
    const refuse = async () =>
      expect(await codeOf(begin(one, thread("b")))).toBe("too_many_sessions");
    await refuse();
    vi.advanceTimersByTime(60_001);
    store.calls.length = 0;
    for (let times = 0; times < 10; times += 1) await refuse();
    expect(store.calls.filter(({ call }) => call === "list")).toHaveLength(1);
    await remove(two, "a");
    await refuse();
    vi.advanceTimersByTime(60_001);
    await takeTurn(one, thread("b"), "hello");
  });

  it("are not counted for one that is deleted", async () => {
    const { store, one, two } = await replicas();
    await takeTurn(one, thread("a"), "hello");
    store.calls.length = 0;
    await remove(two, "a");
    const lists = store.calls.filter(
      ({ call, name }) => call === "list" && name.startsWith("index/"),
    );
    expect(lists).toEqual([]);
    expect(await two.sessions.count("acme")).toBe(0);
  });
});

describe("a replica that is killed", () => {
  it("is followed by another as soon as its lease is over", async () => {
    const { one, two } = await replicas();
    await takeTurn(one, thread("t"), "acknowledged");
    const killed = await begin(one, threadWithHistory("t"));
    await killed.say("never acknowledged");
    // Nothing of it renews the lease any more.
    const nowMs = Date.now() + LEASE_MS + 1;
    expect(await codeOf(begin(two, threadWithHistory("t")))).toBe("session_busy");
    const next = await begin(two, threadWithHistory("t"), nowMs).catch((thrown: unknown) => thrown);
    // A look is by the clock of this test's machine, a claim by the time it is given.
    expect(next).toMatchObject({ code: "session_busy" });
    const claim = await two.sessions.claim(threadWithHistory("t"), nowMs);
    await claim[Symbol.asyncDispose]();
    expect(await chainless(two, thread("t"))).toBe(1);
    expect(await takeTurn(two, threadWithHistory("t"), "second")).toEqual(["acknowledged"]);
  });

  it("goes on with what it had written itself, at once", async () => {
    const { one } = await replicas();
    await takeTurn(one, thread("t"), "first");
    const killed = await begin(one, threadWithHistory("t"));
    await killed.say("cut off");
    const again = await one.restarted();
    expect(await takeTurn(again, threadWithHistory("t"), "second")).toEqual(["first", "cut off"]);
    expect(again.notices).toEqual([]);
  });

  it("and comes back late does not bring back what others went on without", async () => {
    const { one, two } = await replicas();
    await takeTurn(one, thread("t"), "first");
    const killed = await begin(one, threadWithHistory("t"));
    await killed.say("cut off");
    const claim = await two.sessions.claim(threadWithHistory("t"), Date.now() + LEASE_MS + 1);
    await claim[Symbol.asyncDispose]();
    expect(await takeTurn(two, threadWithHistory("t"), "second")).toEqual(["first"]);
    const again = await one.restarted();
    expect(await takeTurn(again, threadWithHistory("t"), "third")).toEqual(["first", "second"]);
    expect(again.notices).toEqual(["superseded"]);
    const { directory } = sessionPathsOf(one.data, sessionRefOf(thread("t")));
    const id = killed.session.transcriptId;
    expect(await wordsIn(join(directory, "superseded", "own", `${id}.jsonl`))).toContain("cut off");
  });
});

describe("a replica that stands still", () => {
  it("cannot write to a session that was taken over meanwhile, and is told", async () => {
    const { one, two } = await replicas();
    await takeTurn(one, thread("t"), "first");
    const paused = await begin(one, threadWithHistory("t"));
    await paused.say("too late");
    const claim = await two.sessions.claim(threadWithHistory("t"), Date.now() + LEASE_MS + 1);
    await claim[Symbol.asyncDispose]();
    await takeTurn(two, threadWithHistory("t"), "second");
    expect(await codeOf(paused.finish())).toBe("session_taken_over");
    await paused[Symbol.asyncDispose]();
    expect(await takeTurn(two, threadWithHistory("t"), "third")).toEqual(["first", "second"]);
    expect(await takeTurn(one, threadWithHistory("t"), "fourth")).toEqual([
      "first",
      "second",
      "third",
    ]);
  });

  it("hears of it as it wakes up, while its turn still runs", async () => {
    const { one, two } = await replicas({ leaseTimeMs: 90 });
    await takeTurn(one, thread("t"), "first");
    await using paused = await begin(one, threadWithHistory("t"));
    const claim = await two.sessions.claim(threadWithHistory("t"), Date.now() + 1000);
    await claim[Symbol.asyncDispose]();
    await expect.poll(() => paused.claim.lost.aborted).toBe(true);
    expect(paused.claim.lost.reason).toMatchObject({ code: "session_taken_over" });
  });
});

describe("a turn that lasts", () => {
  it("keeps its lease, and what it says is in the store soon after", async () => {
    const { one, two } = await replicas({ leaseTimeMs: 3_000 });
    await using turn = await begin(one, thread("t"));
    await turn.say("while it runs");
    await delay(7_000);
    expect(await codeOf(begin(two, thread("t")))).toBe("session_busy");
    expect(await saidIn(two, thread("t"))).toEqual(["while it runs"]);
    await turn.say("at its end");
    await turn.finish();
    expect(await takeTurn(two, threadWithHistory("t"), "next")).toEqual([
      "while it runs",
      "at its end",
    ]);
  });
});

describe("a transcript that is not what the store has", () => {
  it("was begun anew, because its first turn died before it said anything", async () => {
    const { store, one, two } = await replicas({ leaseTimeMs: 300 });
    const killed = await begin(one, thread("t"));
    const { config } = killed.session.directories;
    const file = join(config, "projects", "own", `${killed.session.transcriptId}.jsonl`);
    await mkdir(dirname(file), { recursive: true });
    await appendFile(file, QUEUE_LINE);
    const hasPiece = () => [...store.objects.values()].some(({ body }) => body.includes("enqueue"));
    await expect.poll(hasPiece).toBe(true);
    const again = await one.restarted();
    await takeTurn(again, thread("t"), "a question that is longer than what was there before");
    expect(await takeTurn(two, threadWithHistory("t"), "next")).toEqual([
      "a question that is longer than what was there before",
    ]);
  });

  it.each([
    ["longer", "first, and more of it"],
    ["as long", "fIRST"],
    ["shorter", "1st"],
  ])("was changed by hand, and is %s now", async (_what, text) => {
    const { one, two } = await replicas();
    await takeTurn(one, thread("t"), "first");
    await takeTurn(one, threadWithHistory("t"), "second");
    const found = await transcriptIfAny(one.data, sessionRefOf(thread("t")));
    const before = await readFile(found?.path ?? "", "utf8");
    await writeFile(found?.path ?? "", before.replace("first", text));
    await takeTurn(one, threadWithHistory("t"), "third");
    expect(await takeTurn(two, threadWithHistory("t"), "next")).toEqual([text, "second", "third"]);
  });
});

describe("a replica whose machine loses power", () => {
  /** Two turns, and what the store has of a subagent and of a tool's result. */
  async function prepare() {
    const { one, two } = await replicas();
    await takeTurn(one, thread("t"), "first");
    const { path, bytes } = required(await transcriptIfAny(one.data, sessionRefOf(thread("t"))));
    const beside = path.replace(/\.jsonl$/, "");
    await mkdir(beside);
    await writeFile(join(beside, "agent.jsonl"), userLine("from below") + userLine("and more"));
    await writeFile(join(beside, "result.txt"), "a long result");
    await takeTurn(one, threadWithHistory("t"), "second");
    const cut = async (name: string, toBytes: number) => truncate(join(beside, name), toBytes);
    return { one, two, path, bytes, beside, cut };
  }

  it.each(["to a whole line", "to half a line", "to nothing", "with its file"])(
    "has its copy made anew where a transcript lost its end: %s",
    async (how) => {
      const { one, two, path, bytes } = await prepare();
      if (how === "with its file") await rm(path);
      else
        await truncate(path, { "to a whole line": bytes, "to half a line": bytes + 9 }[how] ?? 0);
      const again = await one.restarted();
      expect(await takeTurn(again, threadWithHistory("t"), "third")).toEqual(["first", "second"]);
      expect(again.notices).toEqual([]);
      const all = ["first", "second", "third"];
      expect(await takeTurn(two, threadWithHistory("t"), "last")).toEqual(all);
    },
  );

  it("has it made anew where a file beside the transcript lost its end", async () => {
    for (const name of ["agent.jsonl", "result.txt"]) {
      const { one, two, cut, beside } = await prepare();
      const before = await readFile(join(beside, name), "utf8");
      await cut(name, name === "result.txt" ? 5 : userLine("from below").length);
      await takeTurn(await one.restarted(), threadWithHistory("t"), "third");
      await takeTurn(two, threadWithHistory("t"), "last");
      const { directory } = sessionPathsOf(two.data, sessionRefOf(thread("t")));
      expect(await allTextIn(directory)).toContain(before);
    }
  });

  it("goes on with a turn that was cut off after the transcript was shortened for it", async () => {
    const { one } = await replicas();
    const long = "long ".repeat(200);
    for (let turn = 0; turn < 5; turn += 1) await takeTurn(one, thread("t"), `${turn} ${long}`);
    const ref = sessionRefOf(thread("t"));
    await one.sessions.claim(thread("t"), Date.now());
    const limit = { maxBytes: 3_000, whenFull: "shorten" } as const;
    const { shortened } = await one.sessions.open(thread("t"), Date.now(), { transcript: limit });
    expect(shortened?.keptBytes).toBeLessThan(3_000);
    const { path } = required(await transcriptIfAny(one.data, ref));
    await appendFile(path, userLine("cut off", "uuid-cut-off"));
    const history = await takeTurn(await one.restarted(), threadWithHistory("t"), "next");
    expect(history).toEqual([`4 ${long}`, "cut off"]);
  });
});

describe("a turn that has a key", () => {
  const key = { hash: "h", inputHash: "i" };
  const turn = { ...key, turnId: "t1", startedAtMs: 5 };

  it("is known to all before anything of it runs, and what came of it afterwards", async () => {
    const { one, two } = await replicas();
    const ref = sessionRefOf(thread("t"));
    const running = await begin(one, thread("t"));
    expect(await two.sessions.keptTurn(ref, "helper", key)).toBeUndefined();
    await one.sessions.keepBegun(ref, turn);
    const found = { threadId: "t", turn };
    expect(await one.sessions.keptTurn(ref, "helper", key)).toEqual(found);
    // It runs: to say that it was cut off would have the client ask for it again.
    expect(await codeOf(two.sessions.keptTurn(ref, "helper", key))).toBe("session_busy");
    for (const at of [one, two]) {
      expect(await at.sessions.keptTurn(ref, "another", key)).toBeUndefined();
    }
    await running.say("hello");
    const answer = { outcome: CANCELLED, hasRun: true, text: "so far", messageId: "m1" };
    await one.sessions.finish(ref, { totals: TOTALS, endedAtMs: 9, keyed: { key, answer } });
    await running[Symbol.asyncDispose]();
    const kept = await two.sessions.keptTurn(ref, "helper", key);
    expect(kept?.turn).toMatchObject({ ...turn, end: { text: "so far", messageId: "m1" } });
    expect(await two.sessions.read(ref, 10)).not.toHaveProperty("keptTurns");
  });

  it("is not begun by a second replica that looked before the first one wrote", async () => {
    const { one, two } = await replicas();
    const ref = sessionRefOf(thread("t"));
    const first = await begin(one, thread("t"));
    await one.sessions.keepBegun(ref, turn);
    await first.finish();
    await first[Symbol.asyncDispose]();
    await using second = await begin(two, thread("t"));
    expect(await codeOf(two.sessions.keepBegun(ref, { ...turn, turnId: "t2" }))).toBe(
      "session_busy",
    );
    expect(second.claim.lost.aborted).toBe(false);
  });
});

const CANCELLED = {
  status: "cancelled",
  cause: "client_gone",
  usage: {
    inputTokens: 1,
    outputTokens: 1,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    costUsd: 0,
    steps: 1,
    durationMs: 1,
    firstTokenMs: null,
    byModel: [],
  },
} as const;

/** Writes wait until the function that is returned is called. */
function holdWrites(store: MemoryObjects): () => void {
  let goOn: (() => void) | undefined;
  const held = new Promise<void>((resolve) => (goOn = resolve));
  const put = store.put.bind(store);
  store.put = async (...args) => held.then(async () => put(...args));
  return () => goOn?.();
}

describe("a store that does not answer", () => {
  it("lets turns end, hears of them later, and takes no new ones until then", async () => {
    const { store, one, two } = await replicas();
    await takeTurn(one, thread("t"), "first");
    await endDuringOutage(store, await begin(one, threadWithHistory("t")));
    expect(one.notices).toEqual(["unavailable", "kept"]);
    expect(await codeOf(begin(one, threadWithHistory("t")))).toBe("store_unavailable");
    expect(await codeOf(begin(two, thread("u")))).toBe("store_unavailable");
    expect(await codeOf(one.sessions.list({ tenant: "acme" }))).toBe("store_unavailable");
    store.faultOf = () => null;
    // The next turn here does not wait for the outbox's own pace.
    expect(await takeTurn(one, threadWithHistory("t"), "after")).toEqual(["first", "during"]);
    expect(one.notices.slice(2)).toEqual(["delivered"]);
    expect(await takeTurn(two, threadWithHistory("t"), "last")).toEqual([
      "first",
      "during",
      "after",
    ]);
  });

  it("that is only slow lets a turn end whose end is waited for, and has it before the next", async () => {
    const { store, one, two } = await replicas();
    await takeTurn(one, thread("t"), "first");
    const turn = await begin(one, threadWithHistory("t"));
    await turn.say("during");
    const goOn = holdWrites(store);
    const end = { totals: TOTALS, endedAtMs: Date.now(), isAwaited: true };
    await one.sessions.finish(sessionRefOf(thread("t")), end);
    await turn[Symbol.asyncDispose]();
    expect(await codeOf(begin(two, threadWithHistory("t")))).toBe("session_busy");
    const next = takeTurn(one, threadWithHistory("t"), "after");
    // It waits for the first one.
    expect(await Promise.race([next, delay(50, "waits")])).toBe("waits");
    goOn();
    expect(await next).toEqual(["first", "during"]);
    expect(await takeTurn(two, threadWithHistory("t"), "last")).toHaveLength(3);
    expect(one.notices).toEqual([]);
  });

  it("hears of one that was waited for, too, when it answers again", async () => {
    const { store, one, two } = await replicas();
    const turn = await begin(one, thread("t"));
    await turn.say("during");
    const goOn = holdWrites(store);
    const end = { totals: TOTALS, endedAtMs: Date.now(), isAwaited: true };
    await one.sessions.finish(sessionRefOf(thread("t")), end);
    await turn[Symbol.asyncDispose]();
    store.faultOf = () => "before";
    goOn();
    await expect.poll(() => one.notices).toEqual(["unavailable", "kept"]);
    store.faultOf = () => null;
    await expect.poll(() => one.notices).toContain("delivered");
    expect(await takeTurn(two, threadWithHistory("t"), "next")).toEqual(["during"]);
  });

  it("hears of them from the outbox by itself, also after a restart", async () => {
    const { store, one, two } = await replicas();
    await endDuringOutage(store, await begin(one, thread("t")));
    await one.sessions[Symbol.asyncDispose]();
    const again = await one.restarted();
    await delay(100);
    expect(again.notices).not.toContain("delivered");
    store.faultOf = () => null;
    await expect.poll(() => again.notices).toContain("delivered");
    expect(await takeTurn(two, threadWithHistory("t"), "next")).toEqual(["during"]);
  });

  it("has heard of a turn all the same when only its answer was lost, whoever went on", async () => {
    const { store, one, two } = await replicas();
    const turn = await begin(one, thread("t"));
    await turn.say("first");
    const head = `${turn.session.sessionId}/head`;
    let written = false;
    store.faultOf = (call, name) => {
      if (written) return "before";
      written = call === "put" && name.endsWith(head);
      return written ? "after" : null;
    };
    await turn.finish();
    await turn[Symbol.asyncDispose]();
    await one.sessions[Symbol.asyncDispose]();
    expect(one.notices).toEqual(["unavailable", "kept"]);
    store.faultOf = () => null;
    expect(await takeTurn(two, threadWithHistory("t"), "second")).toEqual(["first"]);
    const again = await one.restarted();
    await expect.poll(() => again.notices).toEqual(["delivered"]);
    expect(await takeTurn(again, threadWithHistory("t"), "third")).toEqual(["first", "second"]);
    expect(again.notices).toEqual(["delivered"]);
  });

  it("leaves a key free whose turn was not begun because of it", async () => {
    const { store, one, two } = await replicas();
    const ref = sessionRefOf(thread("t"));
    const key = { hash: "h", inputHash: "i" };
    const turn = await begin(one, thread("t"));
    let written = false;
    store.faultOf = (call) => {
      if (written || call !== "put") return null;
      written = true;
      return "after";
    };
    const keeping = one.sessions.keepBegun(ref, { ...key, turnId: "t1", startedAtMs: 5 });
    expect(await codeOf(keeping)).toBe("store_unavailable");
    await turn[Symbol.asyncDispose]();
    for (const at of [one, two]) {
      expect(await at.sessions.keptTurn(ref, "helper", key)).toBeUndefined();
    }
  });

  it("has its outbox bounded", async () => {
    const { store, one } = await replicas({ outboxBytes: 200 });
    const turn = await begin(one, thread("t"));
    await turn.say("x".repeat(1000));
    store.faultOf = () => "before";
    await turn.finish();
    await turn[Symbol.asyncDispose]();
    store.faultOf = (_call, name) => (name.includes(turn.session.sessionId) ? "before" : null);
    expect(await codeOf(begin(one, thread("other")))).toBe("store_unavailable");
    store.faultOf = () => null;
    await expect.poll(() => one.notices).toContain("delivered");
    await takeTurn(one, thread("other"), "hello");
  });
});

describe("a deletion", () => {
  it("leaves nothing, anywhere, and the thread can begin anew", async () => {
    const { store, one, two } = await replicas();
    await takeTurn(one, thread("t"), "secret");
    await takeTurn(two, threadWithHistory("t"), "secret");
    const ref = sessionRefOf(thread("t"));
    expect((await two.sessions.delete(ref, Date.now())).bytes).toBeGreaterThan(0);
    const all = [...store.objects.values()].map(({ body }) => body.toString("utf8")).join("");
    expect(all).not.toContain("secret");
    for (const at of [one, two]) {
      expect(await codeOf(at.sessions.read(ref, Date.now()))).toBe("session_gone");
      expect(await codeOf(begin(at, threadWithHistory("t")))).toBe("session_gone");
      expect((await at.sessions.list({ tenant: "acme" })).sessions).toEqual([]);
    }
    // The other replica's copy is not read again.
    expect(await takeTurn(one, thread("t"), "anew")).toEqual([]);
    expect(await takeTurn(two, threadWithHistory("t"), "and on")).toEqual(["anew"]);
  });

  it("is known to be one also when nobody remembers it, and as many turns were taken since", async () => {
    const { one, two } = await replicas();
    await takeTurn(one, thread("t"), "before");
    const nowMs = Date.now();
    await two.sessions.delete(sessionRefOf(thread("t")), nowMs);
    await two.sessions.forgetGone(nowMs + 8 * 24 * 3600 * 1000, pace());
    await takeTurn(two, thread("t"), "anew");
    expect(await takeTurn(one, threadWithHistory("t"), "and on")).toEqual(["anew"]);
    expect(await takeTurn(two, threadWithHistory("t"), "last")).toEqual(["anew", "and on"]);
  });

  it.each([
    ["", []],
    [": without a mark", ["store.json"]],
    [": without a mark and a record", ["store.json", "session.json"]],
  ])("leaves nothing for the next session of the thread, on any replica%s", async (_what, lost) => {
    const { one, two } = await replicas();
    const ref = sessionRefOf(thread("t"));
    const first = await begin(one, thread("t"));
    const { work, home } = first.session.directories;
    for (const directory of [work, home]) await writeFile(join(directory, "note"), "secret");
    await first.say("hello");
    await first.finish();
    await first[Symbol.asyncDispose]();
    const { directory } = sessionPathsOf(one.data, ref);
    for (const name of lost) await rm(join(directory, name));
    await two.sessions.delete(ref, Date.now());
    await using second = await begin(one, thread("t"));
    const left = await allTextIn(directory);
    for (const words of ["secret", "hello"]) expect(left).not.toContain(words);
    expect(second.history).toEqual([]);
  });

  it("takes the copies of other replicas with it, and no other ones", async () => {
    const { store, one, two } = await replicas();
    const names = ["gone", "anew", "kept", "lost", "damaged"];
    for (const name of names) await takeTurn(one, thread(name), "secret");
    for (const name of ["gone", "anew"]) {
      await two.sessions.delete(sessionRefOf(thread(name)), Date.now());
    }
    await takeTurn(two, thread("anew"), "other words");
    // Of a store that has lost a session, the copy may be all that is left.
    const lost = sessionRefOf(thread("lost")).sessionId;
    for (const name of store.objects.keys()) if (name.includes(lost)) store.objects.delete(name);
    const damaged = sessionRefOf(thread("damaged")).sessionId;
    for (const name of store.objects.keys()) {
      if (name.endsWith(`/${damaged}/head`)) await store.put(name, Buffer.from("{"), "any");
    }
    const over = { ...pace(), signal: AbortSignal.abort() };
    expect(await one.sessions.copies.dropDeleted(Date.now(), over)).toBe(0);
    expect(await one.sessions.copies.dropDeleted(Date.now(), pace())).toBe(2);
    const textOf = (name: string) =>
      allTextIn(sessionPathsOf(one.data, sessionRefOf(thread(name))).directory);
    for (const name of ["gone", "anew"]) expect(await textOf(name)).toBe("");
    for (const name of ["kept", "lost", "damaged"]) expect(await textOf(name)).toContain("secret");
    expect(await takeTurn(one, threadWithHistory("kept"), "on")).toEqual(["secret"]);
  });

  /**
   * Has the thread begin anew before one of the calls that a deletion has of the store.
   *
   * @param since Of which calls it is one.
   * @returns Whether there were so many.
   */
  async function isLeftAlone(
    work: (at: Replica) => Promise<unknown>,
    since: (store: MemoryObjects) => boolean,
    callsBefore: number,
  ): Promise<boolean> {
    const { store, one, two } = await replicas();
    await takeTurn(one, thread("t"), "old");
    await delay(1);
    let calls = -1;
    let anew: Promise<readonly string[] | ErrorCode> | undefined;
    store.before = async () => {
      if (calls < 0 && !since(store)) return;
      calls += 1;
      if (calls !== callsBefore) return;
      anew = takeTurn(two, thread("t"), "new").catch((thrown: AppError) => thrown.code);
      await anew;
    };
    await work(one);
    store.before = async () => {};
    if (anew === undefined) return false;
    // It may be told to come again, but what was acknowledged is there.
    if ((await anew) === "session_busy") await takeTurn(two, thread("t"), "new");
    else expect(await anew).toEqual([]);
    expect(await saidIn(two, thread("t"))).toEqual(["new"]);
    expect(await takeTurn(one, threadWithHistory("t"), "next")).toEqual(["new"]);
    await one.sessions.forgetGone(Date.now() + 8 * 24 * 3600 * 1000, pace());
    expect(await takeTurn(two, threadWithHistory("t"), "last")).toEqual(["new", "next"]);
    expect((await one.sessions.list({ tenant: "acme" })).sessions).toHaveLength(1);
    const all = [...store.objects.values()].map(({ body }) => body.toString("utf8")).join("");
    expect(all).not.toContain(`"old"`);
    return true;
  }

  const isDeleted = ({ objects }: MemoryObjects) =>
    [...objects.values()].some(({ body }) => body.includes("deletedAtMs"));

  it("takes nothing of a session that begins anew meanwhile, whenever that is", async () => {
    const remove = ({ sessions }: Replica) =>
      sessions.delete(sessionRefOf(thread("t")), Date.now());
    let calls = 0;
    while (await isLeftAlone(remove, isDeleted, calls)) calls += 1;
    expect(calls).toBeGreaterThan(4);
  });

  it("is forgotten without taking one that begins anew meanwhile, whenever that is", async () => {
    const DAY_MS = 86_400_000;
    const forget = async ({ sessions }: Replica) => {
      await sessions.delete(sessionRefOf(thread("t")), Date.now() - 8 * DAY_MS);
      await sessions.forgetGone(Date.now(), pace());
    };
    let calls = 0;
    while (await isLeftAlone(forget, isDeleted, calls)) calls += 1;
    expect(calls).toBeGreaterThan(8);
  });

  it("that was cut short leaves nothing to a session that begins anew before a sweep", async () => {
    for (const isForgotten of [false, true]) {
      const { store, one, two } = await replicas();
      await takeTurn(one, thread("t"), "secret");
      store.faultOf = (call, name) =>
        call === "list" && name.startsWith("sessions/") ? "before" : null;
      const ref = sessionRefOf(thread("t"));
      expect(await codeOf(one.sessions.delete(ref, Date.now()))).toBe("store_unavailable");
      store.faultOf = () => null;
      await takeTurn(two, thread("t"), "anew");
      if (isForgotten) await one.sessions.forgetGone(Date.now() + 8 * 24 * 3600 * 1000, pace());
      const all = [...store.objects.values()].map(({ body }) => body.toString("utf8")).join("");
      expect(all).not.toContain("secret");
      expect(await takeTurn(one, threadWithHistory("t"), "next")).toEqual(["anew"]);
    }
  });

  it("is refused while anybody has the session, or it is on hold", async () => {
    const { one, two } = await replicas();
    const ref = sessionRefOf(thread("t"));
    const turn = await begin(one, thread("t"));
    expect(await codeOf(two.sessions.delete(ref, Date.now()))).toBe("session_busy");
    expect(await codeOf(one.sessions.delete(ref, Date.now()))).toBe("session_busy");
    // A hold comes through, whoever writes to the session meanwhile.
    await two.sessions.hold(ref, true, 5);
    await turn.say("hello");
    await turn.finish();
    await turn[Symbol.asyncDispose]();
    expect((await one.sessions.read(ref, Date.now())).onHoldSinceMs).toBe(5);
    expect(await codeOf(one.sessions.delete(ref, Date.now()))).toBe("session_on_hold");
    await one.sessions.hold(ref, false, 6);
    await two.sessions.delete(ref, Date.now());
  });

  it("is forgotten in time", async () => {
    const { store, one } = await replicas();
    await takeTurn(one, thread("t"), "hello");
    const nowMs = Date.now();
    await one.sessions.delete(sessionRefOf(thread("t")), nowMs);
    await one.sessions.forgetGone(nowMs + 6 * 24 * 3600 * 1000, pace());
    expect(store.objects.size).toBe(2);
    await one.sessions.forgetGone(nowMs + 8 * 24 * 3600 * 1000, pace());
    expect(store.objects.size).toBe(0);
  });
});

describe("a sweep", () => {
  const DAY_MS = 86_400_000;
  const limits = {
    maxAgeMs: null,
    maxIdleMs: 30 * DAY_MS,
    sessionsPerTenant: null,
    bytesPerTenant: null,
    maxBytes: null,
    keepFreeBytes: null,
  };

  it("lets go what is due, whoever had its turns, and nothing that anybody has", async () => {
    const { store, one, two } = await replicas();
    for (const name of ["idle", "held", "used"]) await takeTurn(one, thread(name), "hello");
    await takeTurn(two, threadWithHistory("idle"), "hello");
    await two.sessions.hold(sessionRefOf(thread("held")), true, 5);
    const laterMs = Date.now() + 31 * DAY_MS;
    // A turn of another replica runs then, and its lease says since when.
    const claim = await one.sessions.claim(threadWithHistory("used"), laterMs - DAY_MS);
    const sweeper = new SessionSweeper({ sessions: two.sessions, limits, directory: null });
    const dry = await sweeper.sweep(laterMs, { isDryRun: true });
    expect(dry).toMatchObject({ seen: 3, onHold: 1 });
    const { swept } = await sweeper.sweep(laterMs);
    const { sessionId } = sessionRefOf(thread("idle"));
    expect(swept.map((each) => each.sessionId)).toEqual([sessionId]);
    await claim[Symbol.asyncDispose]();
    const all = [...store.objects.keys()].filter((name) => name.includes(sessionId));
    // What is left says that it was deleted.
    expect(new Set(all.map((name) => name.split("/")[0]))).toEqual(new Set(["gone", "sessions"]));
    const byBytes = { ...limits, maxIdleMs: null, maxBytes: 1 };
    const rest = new SessionSweeper({ sessions: one.sessions, limits: byBytes, directory: null });
    const found = await rest.sweep(laterMs);
    expect(found.seenBytes).toBeGreaterThan(100);
    expect(found.swept).toHaveLength(1);
  });

  it("takes away places in the list that turns which were killed have left", async () => {
    const { store, one, two } = await replicas();
    const names = () => [...store.objects.keys()].filter((name) => name.startsWith("index/"));
    for (const name of ["gone", "kept", "late"]) await takeTurn(one, thread(name), "hello");
    await delay(2);
    // Killed when the head was written, and nothing after it.
    store.faultOf = (call, name) =>
      call === "delete" && name.startsWith("index/") ? "before" : null;
    for (const name of ["gone", "kept"]) await takeTurn(one, threadWithHistory(name), "again");
    // The store is away at the end of this one, when it has its new place.
    const late = await begin(one, threadWithHistory("late"));
    await late.say("again");
    store.faultOf = (call, name) => (call === "put" && name.endsWith("/head") ? "before" : null);
    await late.finish();
    await late[Symbol.asyncDispose]();
    const remove = two.sessions.delete(sessionRefOf(thread("gone")), Date.now());
    expect(await codeOf(remove)).toBe("store_unavailable");
    const sweeper = new SessionSweeper({ sessions: two.sessions, limits, directory: null });
    const sweep = async (nowMs: number) => {
      await sweeper.sweep(nowMs);
      await two.sessions.forgetGone(nowMs, pace());
    };
    const before = names().length;
    await sweep(Date.now());
    // What is this new may be of a write under way.
    expect(names()).toHaveLength(before);
    let sweeps = 0;
    store.before = async (call, name) => {
      if (call !== "put" || !name.endsWith("/head") || sweeps > 0) return;
      sweeps += 1;
      await sweep(Date.now() + DAY_MS);
    };
    store.faultOf = () => null;
    // A day late: it has its place in the list, and then the head says so.
    await one.sessions.settle(sessionRefOf(thread("late")));
    expect(sweeps).toBe(1);
    await two.sessions.delete(sessionRefOf(thread("gone")), Date.now());
    const { sessions } = await two.sessions.list({ tenant: "acme" });
    expect(sessions.map(({ threadId }) => threadId).sort()).toEqual(["kept", "late"]);
    expect(await (await replica("three", store)).sessions.count("acme")).toBe(2);
    await sweep(Date.now() + DAY_MS);
    expect(names()).toHaveLength(2);
  });

  it("of copies takes none that the store has not heard all of", async () => {
    const { store, one } = await replicas();
    await takeTurn(one, thread("old"), "hello");
    const turn = await begin(one, thread("kept"));
    await turn.say("only here");
    store.faultOf = () => "before";
    await turn.finish();
    await turn[Symbol.asyncDispose]();
    const sweeper = new SessionSweeper({
      sessions: one.sessions.copies,
      limits: { ...limits, maxIdleMs: 1 },
      directory: one.data,
    });
    const swept = await sweeper.sweep(Date.now() + DAY_MS);
    // It is not even tried.
    expect(swept).toMatchObject({ seen: 2, skipped: 0 });
    expect(swept.swept).toHaveLength(1);
    store.faultOf = () => null;
    expect(await takeTurn(one, threadWithHistory("kept"), "next")).toEqual(["only here"]);
    expect(await takeTurn(one, threadWithHistory("old"), "next")).toEqual(["hello"]);
  });
});

describe("a store that was restored from a backup", () => {
  it("is what counts, also where a copy has had as many writes", async () => {
    const { store, one, two } = await replicas();
    await takeTurn(one, thread("t"), "first");
    const backup = new Map(store.objects);
    await takeTurn(one, threadWithHistory("t"), "lost with the store");
    store.objects.clear();
    for (const [name, object] of backup) store.objects.set(name, object);
    await takeTurn(two, threadWithHistory("t"), "second");
    expect(await takeTurn(one, threadWithHistory("t"), "third")).toEqual(["first", "second"]);
    expect(await takeTurn(two, threadWithHistory("t"), "last")).toEqual([
      "first",
      "second",
      "third",
    ]);
  });
});

describe("a list", () => {
  it("is the newest first, in pages, whoever had the turns", async () => {
    const { one, two } = await replicas();
    for (let at = 0; at < 7; at += 1) {
      await takeTurn(at % 2 === 0 ? one : two, thread(`t${at}`), "hello");
      await delay(2);
    }
    await takeTurn(two, threadWithHistory("t0"), "again");
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const query = { tenant: "acme", limit: 3, ...(cursor !== undefined && { cursor }) };
      const page = await one.sessions.list(query);
      seen.push(...page.sessions.map(({ threadId }) => threadId));
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
    expect(seen).toEqual(["t0", "t6", "t5", "t4", "t3", "t2", "t1"]);
    const only = await two.sessions.list({ tenant: "acme", agentName: "helper", threadId: "t3" });
    expect(only.sessions.map(({ threadId }) => threadId)).toEqual(["t3"]);
    expect((await two.sessions.list({ tenant: "other" })).sessions).toEqual([]);
  });
});

describe("a copy", () => {
  it("can be lost at any time", async () => {
    const { one } = await replicas();
    await takeTurn(one, thread("t"), "first");
    await rm(sessionPathsOf(one.data, sessionRefOf(thread("t"))).directory, { recursive: true });
    expect(await takeTurn(one, threadWithHistory("t"), "second")).toEqual(["first"]);
  });
});

it("loses and repeats nothing, whatever happens to whom", async () => {
  const happening = fc.constantFrom("turn", "crash", "outage", "lost copy", "lost answers");
  const steps = fc.array(fc.record({ at: fc.nat(2), what: happening }), { maxLength: 14 });
  await fc.assert(
    fc.asyncProperty(steps, fc.infiniteStream(fc.nat(5)), async (planned, picks) => {
      const store = new MemoryObjects();
      const all = [];
      for (const name of ["a", "b", "c"]) all.push(await replica(name, store));
      const acknowledged: string[] = [];
      let number = 0;
      for (const { at, what } of planned) {
        const here = all[at] as Replica;
        const input = acknowledged.length === 0 ? thread("t") : threadWithHistory("t");
        number += 1;
        const text = `${number}`;
        if (what === "lost copy") {
          const { directory } = sessionPathsOf(here.data, sessionRefOf(input));
          await rm(directory, { recursive: true, force: true });
          continue;
        }
        if (what === "lost answers") {
          store.faultOf = () => ((picks.next().value ?? 0) === 0 ? "after" : null);
        }
        try {
          const turn = await begin(here, input);
          expect(turn.history.filter((each) => acknowledged.includes(each))).toEqual(acknowledged);
          await turn.say(text);
          if (what === "outage") store.faultOf = () => "before";
          if (what === "crash") {
            all[at] = await here.restarted();
            // Of the others, that would have to wait.
            const release = await all[at].sessions.claim(input, Date.now());
            await release[Symbol.asyncDispose]();
          } else {
            await turn.finish();
            acknowledged.push(text);
          }
          await turn[Symbol.asyncDispose]();
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: "store_unavailable" });
        }
        store.faultOf = () => null;
        // Whoever has something in the outbox is heard first, as a lease would see to.
        for (const each of all) await each.sessions.settle(sessionRefOf(input)).catch(() => {});
        // A lease whose giving back was lost is over some time.
        for (const object of store.objects.values()) {
          const expired = object.body
            .toString("utf8")
            .replace(/"expiresAtMs":\d+/, '"expiresAtMs":0');
          if (expired !== object.body.toString("utf8")) object.body = Buffer.from(expired);
        }
      }
      if (acknowledged.length > 0) {
        const last = await begin(all[0] as Replica, threadWithHistory("t"));
        expect(last.history.filter((each) => acknowledged.includes(each))).toEqual(acknowledged);
        expect(new Set(last.history).size).toBe(last.history.length);
        await last[Symbol.asyncDispose]();
      }
    }),
    { numRuns: 40 },
  );
});

describe("a turn that asks for what is not there", () => {
  it("is refused before it takes anything", async () => {
    const { one, two } = await replicas({ maxPerTenant: 1 });
    const input = thread("t");
    const first = await begin(one, input);
    await first.say("hello");
    await first.finish();
    await first[Symbol.asyncDispose]();
    const { sessionId } = sessionRefOf(input);
    const size = (asked: SessionInput) => two.sessions.transcriptBytes(asked, Date.now());
    expect(await size(byId(sessionId))).toBeGreaterThan(0);
    for (const [asked, code] of [
      [byId(sessionId, { agentName: "another" }), "session_not_found"],
      [byId("11111111-2222-5333-8444-555555555555"), "session_not_found"],
      [threadWithHistory("new"), "session_not_found"],
      [thread("new"), "too_many_sessions"],
    ] as const) {
      expect(await codeOf(size(asked))).toBe(code);
    }
  });
});
