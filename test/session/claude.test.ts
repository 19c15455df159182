/**
 * Goal: what `open` says is what the real Claude Code accepts, on every file a crash can leave.
 * Method: turns of the real binary on a scripted model, in the directories of a session.
 */

import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { BUILT_IN_SCRIPT } from "../../src/rehearsal/built-in-script.ts";
import { startRehearsal } from "../../src/rehearsal/server.ts";
import type { OpenSession } from "../../src/session/sessions.ts";
import { MAX_TMP_PATH_BYTES } from "../../src/session/session-paths.ts";
import type { ClaudeAnswer } from "../rehearsal/ask-claude.ts";
import { askClaude } from "../rehearsal/ask-claude.ts";
import {
  QUEUE_LINE,
  TOTALS,
  openSessions,
  thread,
  threadWithHistory,
  userLine,
  writeTranscript,
} from "./fixture.ts";

const SCRIPT = { ...BUILT_IN_SCRIPT, defaults: { firstTokenMs: 1, tokensPerSecond: 5_000 } };

async function turnOf(session: OpenSession, prompt: string, url: string): Promise<ClaudeAnswer> {
  const { work, config, home, tmp } = session.directories;
  const { sessionId } = session;
  return askClaude(
    prompt,
    { url, home: join(work, "..") },
    { cwd: work, ...(session.isNew ? { sessionId } : { resume: sessionId }) },
    { HOME: home, CLAUDE_CONFIG_DIR: config, TMPDIR: tmp },
  );
}

describe("a session of the claude binary", () => {
  it("is found, continued after a restart, weighed and read back", async () => {
    await using rehearsal = await startRehearsal({ script: SCRIPT });
    const { sessions, reopened } = await openSessions();
    const first = await sessions.open(thread("t"), 5);
    expect(Buffer.byteLength(first.directories.tmp)).toBeLessThanOrEqual(MAX_TMP_PATH_BYTES);
    const answer = await turnOf(first, "my name is Ada", rehearsal.url);
    const ref = { tenant: "acme", sessionId: first.sessionId };
    await sessions.finish(ref, { totals: TOTALS, endedAtMs: 6 });

    const store = reopened();
    const second = await store.open(threadWithHistory("t"), 7);
    expect(second).toMatchObject({ isNew: false, repairedLines: 0 });
    expect(second.transcriptBytes).toBeGreaterThan(1_000);
    await turnOf(second, "and now?", rehearsal.url);

    const { messages, skippedLines, isComplete } = await store.transcript(ref, 8);
    expect({ skippedLines, isComplete }).toEqual({ skippedLines: 0, isComplete: true });
    expect(messages.map((message) => message.role)).toEqual([
      "user",
      "assistant",
      "user",
      "assistant",
    ]);
    expect(messages[0]?.parts).toEqual([{ type: "text", text: "my name is Ada" }]);
    const said = answer.messages.find((message) => message.type === "assistant");
    expect(messages[1]?.id).toBe(said?.message.id);
  });

  it.each([
    ["nothing", undefined],
    ["an empty file", ""],
    ["no message yet", QUEUE_LINE],
    ["a torn first line", '{"type":"user","uu'],
    ["NULs", `${"\0".repeat(100)}\n`],
    ["an unanswered message and a torn line", `${QUEUE_LINE}${userLine("hello")}{"type":"ass`],
  ])("takes a turn after a crash that left %s", async (_shape, text) => {
    await using rehearsal = await startRehearsal({ script: SCRIPT });
    const { sessions } = await openSessions();
    const crashed = await sessions.open(thread("t"), 5);
    if (text !== undefined) await writeTranscript(crashed, text);
    const { result } = await turnOf(await sessions.open(thread("t"), 6), "hello", rehearsal.url);
    expect(result).toMatchObject({ subtype: "success", session_id: crashed.sessionId });
    expect(await sessions.open(thread("t"), 7)).toMatchObject({ isNew: false, repairedLines: 0 });
  });
});
