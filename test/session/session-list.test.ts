import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { describe, expect, it } from "vitest";

import { sessionIdOf } from "../../src/session/session-id.ts";
import { sessionPathsOf } from "../../src/session/session-paths.ts";
import { TOTALS, codeOf, openSessions, takeTurn, thread } from "./fixture.ts";

describe("FileSessions.list", () => {
  it("shows the newest first, page by page, none twice and none left out", async () => {
    const { sessions } = await openSessions();
    for (let turn = 0; turn < 11; turn += 1) {
      // Two at a time end in the same millisecond: the id decides, so that pages do not overlap.
      await takeTurn(sessions, thread(`t${turn}`), 1_700_000_000_123 + Math.floor(turn / 2));
    }
    await takeTurn(sessions, thread("t0"), 1_800_000_000_000);
    const seen: string[] = [];
    const times: number[] = [];
    let cursor: string | null = null;
    do {
      const page = await sessions.list({ tenant: "acme", limit: 3, ...(cursor && { cursor }) });
      seen.push(...page.sessions.map((session) => session.threadId));
      times.push(...page.sessions.map((session) => session.lastTurnAtMs));
      cursor = page.nextCursor;
    } while (cursor !== null);
    expect(seen[0]).toBe("t0");
    expect(new Set(seen).size).toBe(11);
    expect(seen).toHaveLength(11);
    expect(times).toEqual(times.toSorted((a, b) => b - a));
  });

  it("filters by agent and by thread", async () => {
    const { sessions } = await openSessions();
    for (const agentName of ["helper", "painter"]) {
      for (const name of ["a", "b"]) await takeTurn(sessions, thread(name, { agentName }), 5);
    }
    const shown = async (filter: object): Promise<string[]> => {
      const page = await sessions.list({ tenant: "acme", ...filter });
      return page.sessions.map((session) => `${session.agentName}/${session.threadId}`).sort();
    };
    expect(await shown({ agentName: "painter" })).toEqual(["painter/a", "painter/b"]);
    expect(await shown({ threadId: "a" })).toEqual(["helper/a", "painter/a"]);
    expect(await shown({ agentName: "helper", threadId: "a" })).toEqual(["helper/a"]);
    expect(await shown({ agentName: "helper", threadId: "c" })).toEqual([]);
  });

  it.each([{ limit: 0 }, { limit: 201 }, { limit: 1.5 }, { cursor: "x" }, { cursor: "" }])(
    "refuses %j",
    async (query) => {
      const { sessions } = await openSessions();
      expect(await codeOf(sessions.list({ tenant: "acme", ...query }))).toBe("invalid_request");
    },
  );

  /**
   * Method: the records are written without syncing each, as only their number matters. The time
   * is printed, not asserted: it is the machine's. Memory is: a place in the order may stay.
   */
  it("stays cheap with 10,000 sessions, and keeps little in memory for them", async () => {
    const { data, sessions, reopened } = await openSessions({ maxPerTenant: 10_000 });
    const count = 10_000;
    const firstMs = 1_700_000_000_000;
    for (let index = 0; index < count; index += 1) {
      writeSession(data, `t${index}`, firstMs + index);
    }
    const before = await settledHeapBytes();
    const { first, elapsedMs } = await timed(() => sessions.list({ tenant: "acme" }));
    expect(first.sessions.map((session) => session.threadId)).toEqual(
      Array.from({ length: 50 }, (_, index) => `t${count - 1 - index}`),
    );
    const counting = await timed(() => reopened().count("acme"));
    expect(counting.first).toBe(count);
    const rare = await timed(() => sessions.list({ tenant: "acme", agentName: "painter" }));
    expect(rare.first.sessions).toEqual([]);
    expect(rare.first.nextCursor).not.toBeNull();
    expect(await codeOf(sessions.open(thread("more"), 5))).toBe("too_many_sessions");

    for (let round = 0; round < 5; round += 1) await sessions.list({ tenant: "acme" });
    for (let turn = 0; turn < 100; turn += 1) await sessions.open(thread(`t${turn}`), 5);
    const grownBytes = (await settledHeapBytes()) - before;
    process.stdout.write(
      `10,000 sessions: newest 50 ${elapsedMs} ms, count ${counting.elapsedMs} ms, ` +
        `filter no session fits ${rare.elapsedMs} ms, heap ${Math.round(grownBytes / 1024)} KiB\n`,
    );
    expect(grownBytes).toBeLessThan(2 * 1024 * 1024);
  });
});

function writeSession(data: string, threadId: string, lastTurnAtMs: number): void {
  const name = { tenant: "acme", agentName: "helper", threadId };
  const sessionId = sessionIdOf(name);
  const { record } = sessionPathsOf(data, { tenant: "acme", sessionId });
  mkdirSync(dirname(record), { recursive: true });
  const rest = { createdAtMs: 1, turns: 0, transcriptBytes: 0, totals: TOTALS };
  writeFileSync(record, JSON.stringify({ version: 1, ...name, sessionId, lastTurnAtMs, ...rest }));
  utimesSync(record, new Date(lastTurnAtMs), new Date(lastTurnAtMs));
}

async function timed<T>(work: () => Promise<T>): Promise<{ first: T; elapsedMs: number }> {
  const startMs = performance.now();
  const first = await work();
  return { first, elapsedMs: Math.round(performance.now() - startMs) };
}

async function settledHeapBytes(): Promise<number> {
  setFlagsFromString("--expose_gc");
  const collectGarbage: unknown = runInNewContext("gc");
  if (typeof collectGarbage !== "function") throw new Error("Cannot collect garbage: no gc()");
  for (let round = 0; round < 3; round += 1) {
    await new Promise(setImmediate);
    collectGarbage();
  }
  return process.memoryUsage().heapUsed;
}
