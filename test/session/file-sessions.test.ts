import { mkdir, readFile, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { sessionIdOf } from "../../src/session/session-id.ts";
import { sessionPathsOf } from "../../src/session/session-paths.ts";
import { TOMBSTONE_AGE_MS } from "../../src/session/tombstones.ts";
import {
  TOTALS,
  byId,
  codeOf,
  errorOf,
  openSessions,
  takeTurn,
  thread,
  threadWithHistory,
  writeTranscript,
} from "./fixture.ts";

const unknownId = sessionIdOf({ tenant: "acme", agentName: "helper", threadId: "unknown" });

describe("FileSessions.open", () => {
  it("starts a session for a new thread, with private directories", async () => {
    const { sessions, data } = await openSessions();
    const session = await sessions.open(thread("t"), 5);
    expect(session).toMatchObject({ threadId: "t", isNew: true, transcriptBytes: 0 });
    for (const directory of Object.values(session.directories)) {
      expect(directory.startsWith(data)).toBe(true);
      expect((await stat(directory)).mode & 0o777).toBe(0o700);
    }
  });

  it("continues it under the same paths", async () => {
    const { sessions } = await openSessions();
    const first = await takeTurn(sessions, thread("t"), 5);
    for (const input of [thread("t"), threadWithHistory("t"), byId(first.sessionId)]) {
      const next = await sessions.open(input, 6);
      expect(next).toMatchObject({ isNew: false, sessionId: first.sessionId });
      expect(next.directories).toEqual(first.directories);
      expect(next.transcriptBytes).toBeGreaterThan(0);
    }
  });

  it("continues after a restart", async () => {
    const { sessions, reopened } = await openSessions();
    await takeTurn(sessions, thread("t"), 5);
    expect(await reopened().open(threadWithHistory("t"), 6)).toMatchObject({ isNew: false });
    expect(await reopened().count("acme")).toBe(1);
  });

  it("gives each turn an empty TMPDIR, and leaves none behind", async () => {
    const { sessions } = await openSessions();
    const { directories, sessionId } = await sessions.open(thread("t"), 5);
    await writeFile(join(directories.tmp, "scratch"), "x");
    await sessions.open(thread("t"), 6);
    expect(await readdir(directories.tmp)).toEqual([]);
    await sessions.finish({ tenant: "acme", sessionId }, { totals: TOTALS, endedAtMs: 7 });
    await expect(stat(directories.tmp)).rejects.toThrow("ENOENT");
  });

  it.each([
    ["an unknown session id", byId(unknownId)],
    ["an id that is none of ours", byId("../../x")],
    ["a thread that should have history", threadWithHistory("unknown")],
  ])("does not find %s, and makes nothing for it", async (_name, input) => {
    const { sessions, data } = await openSessions();
    expect(await codeOf(sessions.open(input, 5))).toBe("session_not_found");
    expect(await readdir(join(data, "tenants"))).toEqual([]);
  });

  it("does not find the session of another tenant or another agent", async () => {
    const { sessions } = await openSessions();
    const { sessionId } = await takeTurn(sessions, thread("t"), 5);
    const foreign = byId(sessionId, { tenant: "other" });
    const misled = byId(sessionId, { agentName: "painter" });
    const unknown = await errorOf(sessions.open(byId(unknownId), 6));
    for (const input of [foreign, misled]) {
      const error = await errorOf(sessions.open(input, 6));
      expect([error.code, error.message]).toEqual([unknown.code, unknown.message]);
    }
    const ref = { tenant: "other", sessionId };
    expect(await codeOf(sessions.read(ref, 6))).toBe("session_not_found");
    expect(await codeOf(sessions.transcript(ref, 6))).toBe("session_not_found");
    expect(await codeOf(sessions.delete(ref, 6))).toBe("session_not_found");
    expect((await sessions.list({ tenant: "other" })).sessions).toEqual([]);
  });

  it("keeps one thread id apart between tenants and agents", async () => {
    const { sessions } = await openSessions();
    const ids = new Set<string>();
    for (const more of [{}, { tenant: "other" }, { agentName: "painter" }]) {
      ids.add((await takeTurn(sessions, thread("t", more), 5)).sessionId);
    }
    expect(ids.size).toBe(3);
  });

  it("refuses one session more than a tenant may have, but not a known one", async () => {
    const { sessions } = await openSessions({ maxPerTenant: 2 });
    const results = await Promise.allSettled(
      ["a", "b", "c", "d"].map((name) => sessions.open(thread(name), 5)),
    );
    expect(results.filter((result) => result.status === "fulfilled")).toHaveLength(2);
    expect(await codeOf(sessions.open(thread("e"), 6))).toBe("too_many_sessions");
    const known = (await sessions.list({ tenant: "acme" })).sessions[0];
    await sessions.open(thread(known?.threadId ?? ""), 6);
    await sessions.open(thread("a", { tenant: "other" }), 6);
    expect(await sessions.count("acme")).toBe(2);
  });

  it("opens again what a start that was cut short left behind, and counts it once", async () => {
    const { sessions, data, reopened } = await openSessions();
    const { sessionId } = await sessions.open(thread("t"), 5);
    await rm(sessionPathsOf(data, { tenant: "acme", sessionId }).record);
    const next = reopened();
    expect(await next.count("acme")).toBe(1);
    expect(await next.open(thread("t"), 6)).toMatchObject({ isNew: true });
    expect(await next.count("acme")).toBe(1);
  });

  it("does not rebuild a data directory that has vanished", async () => {
    const { sessions, data } = await openSessions();
    const known = await takeTurn(sessions, thread("t"), 5);
    await rm(join(data, "tenants"), { recursive: true });
    for (const input of [thread("new"), byId(known.sessionId), threadWithHistory("t")]) {
      const error = await errorOf(sessions.open(input, 6));
      expect(error.code).toBe("storage_failed");
      expect(error.message).not.toContain(data);
    }
  });

  it("reports a damaged record as the operator's trouble, and deletes it for who asks", async () => {
    const { sessions, data } = await openSessions();
    const { sessionId } = await takeTurn(sessions, thread("t"), 5);
    const ref = { tenant: "acme", sessionId };
    await writeFile(sessionPathsOf(data, ref).record, "{");
    expect(await codeOf(sessions.open(thread("t"), 6))).toBe("session_unreadable");
    const page = await sessions.list({ tenant: "acme" });
    expect([page.sessions, page.unreadable]).toEqual([[], 1]);
    await sessions.delete(ref, 7);
    expect(await codeOf(sessions.read(ref, 8))).toBe("session_gone");
  });
});

describe("FileSessions.finish", () => {
  it("adds to the totals what each turn has used", async () => {
    const { sessions } = await openSessions();
    await takeTurn(sessions, thread("t"), 5);
    const { sessionId } = await takeTurn(sessions, thread("t"), 6);
    const ref = { tenant: "acme", sessionId };
    const other = { ...TOTALS, byModel: [{ ...TOTALS.byModel[0]!, model: "other" }] };
    await sessions.finish(ref, { totals: other, endedAtMs: 7 });
    expect(await sessions.read(ref, 8)).toMatchObject({
      totals: {
        costUsd: 0.75,
        byModel: [
          { model: "m", inputTokens: 20, outputTokens: 10, costUsd: 0.5 },
          { model: "other", inputTokens: 10, outputTokens: 5, costUsd: 0.25 },
        ],
      },
    });
  });

  it("counts a turn with a result, and keeps the totals after one without", async () => {
    const { sessions } = await openSessions();
    const { sessionId } = await takeTurn(sessions, thread("t"), 5);
    const ref = { tenant: "acme", sessionId };
    await sessions.finish(ref, { totals: null, endedAtMs: 9 });
    expect(await sessions.read(ref, 10)).toEqual({
      sessionId,
      threadId: "t",
      agentName: "helper",
      createdAtMs: 5,
      lastTurnAtMs: 9,
      turns: 1,
      transcriptBytes: expect.any(Number),
      totals: TOTALS,
      isBusy: false,
    });
  });

  it("does not count a turn of which nothing was written", async () => {
    const { sessions } = await openSessions();
    const { sessionId } = await sessions.open(thread("t"), 5);
    await sessions.finish({ tenant: "acme", sessionId }, { totals: TOTALS, endedAtMs: 6 });
    expect(await sessions.open(thread("t"), 7)).toMatchObject({ isNew: true });
    const ref = { tenant: "acme", sessionId };
    expect(await sessions.read(ref, 8)).toMatchObject({ turns: 0, totals: TOTALS });
  });
});

describe("FileSessions.delete", () => {
  it("removes everything, says how much, and answers 410 from then on", async () => {
    const { sessions, data, reopened } = await openSessions();
    const session = await takeTurn(sessions, thread("t"), 5);
    const { sessionId } = session;
    const ref = { tenant: "acme", sessionId };
    await writeFile(join(session.directories.work, "result.txt"), "x".repeat(10_000));
    await mkdir(session.directories.tmp);
    const removed = await sessions.delete(ref, 6);
    expect(removed.files).toBe(3);
    expect(removed.bytes).toBeGreaterThan(10_000);
    expect(await readdir(join(data, "trash"))).toEqual([]);
    await expect(stat(session.directories.tmp)).rejects.toThrow("ENOENT");
    for (const store of [sessions, reopened()]) {
      expect(await codeOf(store.open(byId(sessionId), 7))).toBe("session_gone");
      expect(await codeOf(store.open(threadWithHistory("t"), 7))).toBe("session_gone");
      expect(await codeOf(store.read(ref, 7))).toBe("session_gone");
      expect(await codeOf(store.delete(ref, 7))).toBe("session_gone");
      expect(await store.count("acme")).toBe(0);
    }
    const other = { tenant: "other", sessionId };
    expect(await codeOf(sessions.read(other, 7))).toBe("session_not_found");
  });

  it("forgets the deletion after its time", async () => {
    const { sessions } = await openSessions();
    const { sessionId } = await takeTurn(sessions, thread("t"), 5);
    await sessions.delete({ tenant: "acme", sessionId }, 6);
    const lateMs = 6 + TOMBSTONE_AGE_MS;
    expect(await codeOf(sessions.open(byId(sessionId), lateMs - 1))).toBe("session_gone");
    expect(await codeOf(sessions.open(byId(sessionId), lateMs))).toBe("session_not_found");
  });

  it("lets a client without history start the thread anew", async () => {
    const { sessions } = await openSessions();
    const { sessionId } = await takeTurn(sessions, thread("t"), 5);
    await sessions.delete({ tenant: "acme", sessionId }, 6);
    expect(await sessions.open(thread("t"), 7)).toMatchObject({ isNew: true, sessionId });
    expect(await sessions.open(threadWithHistory("t"), 8)).toMatchObject({ isNew: true });
  });

  it("refuses a session in a turn, and changes nothing", async () => {
    const { sessions, locks } = await openSessions();
    const { sessionId } = await takeTurn(sessions, thread("t"), 5);
    const ref = { tenant: "acme", sessionId };
    using _turn = locks.lock(ref);
    expect(await codeOf(sessions.delete(ref, 6))).toBe("session_busy");
    expect(await sessions.read(ref, 6)).toMatchObject({ isBusy: true, turns: 1 });
  });

  it("removes links, not what they lead to", async () => {
    const { sessions, data } = await openSessions();
    const victim = await takeTurn(sessions, thread("victim"), 5);
    const session = await takeTurn(sessions, thread("t"), 5);
    await symlink(victim.directories.work, join(session.directories.work, "link"));
    await writeFile(join(victim.directories.work, "kept"), "kept");
    await sessions.delete({ tenant: "acme", sessionId: session.sessionId }, 6);
    const paths = sessionPathsOf(data, { tenant: "acme", sessionId: victim.sessionId });
    expect(await readFile(join(paths.work, "kept"), "utf8")).toBe("kept");
  });
});

describe("FileSessions.transcript", () => {
  it("does not read the transcript of another session through a link", async () => {
    const { sessions } = await openSessions();
    const victim = await takeTurn(sessions, thread("victim", { tenant: "other" }), 5);
    const secret = await writeTranscript(victim, '{"type":"user","uuid":"x"}\n');
    const session = await sessions.open(thread("t"), 5);
    const file = await writeTranscript(session, "");
    await rm(file);
    await symlink(secret, file);
    const ref = { tenant: "acme", sessionId: session.sessionId };
    expect((await sessions.transcript(ref, 6)).messages).toEqual([]);
    expect(await sessions.open(thread("t"), 6)).toMatchObject({ transcriptBytes: 0 });
  });
});
