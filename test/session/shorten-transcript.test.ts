/**
 * Goal: a transcript that is too large is cut to a last part that Claude Code resumes, nothing of
 * it is lost, and one that cannot be cut is left as it is.
 * Method: transcripts as Claude Code writes them, made long; the real binary on the result.
 */

import { appendFile, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { BUILT_IN_SCRIPT } from "../../src/rehearsal/built-in-script.ts";
import { startRehearsal, type RehearsalRequest } from "../../src/rehearsal/server.ts";
import type { TranscriptLimit } from "../../src/agent/definition.ts";
import { transcriptIfAny } from "../../src/session/session-lookup.ts";
import { earlierFileOf, shortenTranscript } from "../../src/session/shorten-transcript.ts";
import { lengthenTranscript } from "../../src/sizing/measure/long-transcript.ts";
import { askClaude } from "../rehearsal/ask-claude.ts";
import {
  codeOf,
  openSessions,
  thread,
  threadWithHistory,
  TOTALS,
  userLine,
  writeTranscript,
} from "./fixture.ts";

const SCRIPT = { ...BUILT_IN_SCRIPT, defaults: { firstTokenMs: 1, tokensPerSecond: 5_000 } };
const SHORTEN: TranscriptLimit = { maxBytes: 200_000, whenFull: "shorten" };

const boundary = (uuid: string) =>
  `${JSON.stringify({ parentUuid: null, logicalParentUuid: "u1", type: "system", subtype: "compact_boundary", uuid, compactMetadata: { trigger: "auto", preTokens: 9 } })}\n`;
const result = (text: string) =>
  `${JSON.stringify({ type: "user", uuid: "r", message: { role: "user", content: [{ type: "tool_result", tool_use_id: "t", content: text }] } })}\n`;
const answer = (text: string) =>
  `${JSON.stringify({ type: "assistant", uuid: "a", message: { role: "assistant", content: [{ type: "text", text }] } })}\n`;

async function fileWith(text: string) {
  const { sessions, data } = await openSessions();
  const session = await sessions.open(thread("t"), 5);
  const path = await writeTranscript(session, text);
  return { path, bytes: (await stat(path)).size, data, sessions };
}

describe("a transcript that is too large", () => {
  it("is cut at a question, and what comes before is kept", async () => {
    const lines = Array.from({ length: 100 }, (_, at) => [
      userLine(`question ${at}`, `u${at}`, `a${at - 1}`),
      answer("x".repeat(3_000)),
    ]).flat();
    const text = lines.join("");
    const file = await fileWith(text);
    const shortened = await shortenTranscript(file, SHORTEN);
    expect(shortened).toMatchObject({ at: "question" });
    const kept = await readFile(file.path, "utf8");
    expect(kept.length).toBeLessThanOrEqual(SHORTEN.maxBytes / 2);
    expect(kept.length).toBeGreaterThan(SHORTEN.maxBytes / 2 - 10_000);
    const earlier = await readFile(earlierFileOf(file.path), "utf8");
    expect(shortened).toMatchObject({ keptBytes: kept.length, droppedBytes: earlier.length });
    const [root = "", ...rest] = kept.split("\n");
    expect(JSON.parse(root)).toMatchObject({ type: "user", parentUuid: null });
    expect(text.startsWith(earlier)).toBe(true);
    expect(text.endsWith(rest.join("\n"))).toBe(true);
    // Nothing more to be done.
    const bytes = kept.length;
    expect(await shortenTranscript({ path: file.path, bytes }, SHORTEN)).toBeNull();
  });

  it("is cut at the last summary, before which Claude Code looks at nothing", async () => {
    const text = [
      userLine("long ago"),
      answer("x".repeat(250_000)),
      userLine("question", "u2"),
      boundary("b1"),
      userLine("a summary", "s1", "b1"),
      userLine("question", "u3"),
      boundary("b2"),
      userLine("another summary", "s2", "b2"),
      answer("done"),
    ].join("");
    const file = await fileWith(text);
    expect(await shortenTranscript(file, SHORTEN)).toMatchObject({ at: "summary" });
    const kept = await readFile(file.path, "utf8");
    expect(kept).toBe(boundary("b2") + userLine("another summary", "s2", "b2") + answer("done"));
  });

  it.each([
    ["one answer to a tool", userLine("hello") + result("x".repeat(300_000))],
    ["no line at all", "x".repeat(300_000)],
    ["lines of nothing", `${"\0".repeat(999)}\n`.repeat(300)],
  ])("is left as it is where it is %s", async (_what, text) => {
    const file = await fileWith(text);
    expect(await codeOf(shortenTranscript(file, SHORTEN))).toBe("transcript_too_large");
    expect(await readFile(file.path, "utf8")).toBe(text);
  });

  it("is refused where the agent says so", async () => {
    const file = await fileWith(userLine("hello") + answer("x".repeat(300_000)));
    const refuse = { ...SHORTEN, whenFull: "refuse" } as const;
    expect(await codeOf(shortenTranscript(file, refuse))).toBe("transcript_too_large");
    expect(await shortenTranscript(file, { ...refuse, maxBytes: 400_000 })).toBeNull();
  });

  it("loses no byte, wherever it is cut", async () => {
    const line = fc.oneof(
      fc.integer({ min: 0, max: 400 }).map((size) => userLine("q".repeat(size))),
      fc.integer({ min: 0, max: 400 }).map((size) => answer("a".repeat(size))),
      fc.integer({ min: 0, max: 400 }).map((size) => result("r".repeat(size))),
      fc.constant(boundary("b")),
      fc.constant("not json\n"),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(line, { minLength: 1, maxLength: 60 }), async (lines) => {
        const text = lines.join("");
        const file = await fileWith(text);
        const limit = { ...SHORTEN, maxBytes: Math.max(1, Math.floor(text.length * 0.7)) };
        const shortened = await shortenTranscript(file, limit).catch(() => null);
        const kept = await readFile(file.path, "utf8");
        if (shortened === null) {
          expect(kept).toBe(text);
          return;
        }
        const earlier = await readFile(earlierFileOf(file.path), "utf8");
        const root = text.slice(earlier.length).split("\n", 1)[0] ?? "";
        const own = { ...(JSON.parse(root) as object), parentUuid: null };
        expect(kept).toBe(
          `${JSON.stringify(own)}\n${text.slice(earlier.length + root.length + 1)}`,
        );
        expect(kept.length).toBeLessThanOrEqual(limit.maxBytes * 0.5 + 20);
      }),
      { numRuns: 60 },
    );
  });

  it.each([
    ["nothing of what it drops was kept", 0],
    ["half of it was", 0.5],
    ["all of it was", 1],
  ])("is cut once where a cut was killed before: %s", async (_what, share) => {
    const lines = Array.from({ length: 30 }, (_, at) => userLine("x".repeat(10_000), `u${at}`));
    const text = lines.join("");
    const file = await fileWith(text);
    const earlierFile = earlierFileOf(file.path);
    await mkdir(dirname(earlierFile));
    await writeFile(earlierFile, userLine("long ago", "u-long-ago"));
    const { size } = await stat(earlierFile);
    // As it is left by one that was killed.
    await writeFile(`${file.path}.${size}.shortened`, lines.slice(-5).join(""));
    const dropped = lines.slice(0, 21).join("");
    await appendFile(earlierFile, dropped.slice(0, Math.floor(share * dropped.length)));
    const shortened = await shortenTranscript(file, SHORTEN);
    expect(shortened).toMatchObject({ at: "question", droppedBytes: dropped.length });
    const kept = await readFile(file.path, "utf8");
    const earlier = await readFile(earlierFile, "utf8");
    expect(earlier + kept).toBe(userLine("long ago", "u-long-ago") + text);
    expect(await readdir(dirname(file.path))).toHaveLength(2);
  });

  it("is resumed by Claude Code, which is told the rest of it and no more", async () => {
    const asked: RehearsalRequest[] = [];
    const onRequest = (request: RehearsalRequest) => void asked.push(request);
    await using rehearsal = await startRehearsal({ script: SCRIPT, onRequest });
    const { sessions, data } = await openSessions();
    const turn = async (input: Parameters<typeof sessions.open>[0], prompt: string) => {
      const session = await sessions.open(input, Date.now(), { transcript: SHORTEN });
      const { work, config, home, tmp } = session.directories;
      const { sessionId } = session;
      const { result: outcome } = await askClaude(
        prompt,
        { url: rehearsal.url, home: join(work, "..") },
        { cwd: work, ...(session.isNew ? { sessionId } : { resume: sessionId }) },
        { HOME: home, CLAUDE_CONFIG_DIR: config, TMPDIR: tmp },
      );
      expect(outcome.subtype).toBe("success");
      await sessions.finish({ tenant: "acme", sessionId }, { totals: TOTALS, endedAtMs: 6 });
      return session;
    };
    const first = await turn(thread("t"), "my name is Ada");
    const ref = { tenant: "acme", sessionId: first.sessionId };
    const file = await transcriptIfAny(data, ref);
    lengthenTranscript(file?.path ?? "", 400_000);
    const second = await turn(threadWithHistory("t"), "and now?");
    expect(second.shortened).toMatchObject({ at: "question" });
    const told = JSON.stringify(asked.at(-1)?.messages);
    expect(told).toContain("and now?");
    expect(told).not.toContain("my name is Ada");
    expect(told.length).toBeGreaterThan(20_000);
    expect(told.length).toBeLessThan(SHORTEN.maxBytes);
    const third = await turn(threadWithHistory("t"), "still there?");
    expect(third.shortened).toBeNull();
    const shown = await sessions.transcript(ref, 8);
    expect(shown.messages.at(-2)?.parts).toEqual([{ type: "text", text: "still there?" }]);
    expect(await readFile(earlierFileOf(file?.path ?? ""), "utf8")).toContain("my name is Ada");
  });
});
