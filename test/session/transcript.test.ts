import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { TRANSCRIPT_LIMITS, transcriptOf } from "../../src/session/transcript.ts";
import { openSessions, takeTurn, thread, writeTranscript } from "./fixture.ts";

const AT = "2026-01-02T03:04:05.006Z";
const atMs = Date.parse(AT);

/** A line as Claude Code 2.1 writes it, less what is not read. */
function entry(
  uuid: string,
  parentUuid: string | null,
  type: string,
  message?: object,
  more: object = {},
): string {
  return JSON.stringify({
    parentUuid,
    isSidechain: false,
    type,
    message,
    uuid,
    timestamp: AT,
    ...more,
  });
}

function user(uuid: string, parent: string | null, content: unknown, more: object = {}): string {
  return entry(uuid, parent, "user", { role: "user", content }, more);
}

function assistant(uuid: string, parent: string | null, id: string, block: object): string {
  return entry(uuid, parent, "assistant", { id, model: "m", content: [block] });
}

function toolUse(id: string, name = "mcp__shop__find"): object {
  return { type: "tool_use", id, name, input: { q: id } };
}

function toolResult(id: string, content: unknown): object[] {
  return [{ type: "tool_result", tool_use_id: id, content }];
}

function textsOf(lines: string[], limits = TRANSCRIPT_LIMITS): string[] {
  return transcriptOf(lines, limits).messages.flatMap(({ parts }) =>
    parts.flatMap((part) => (part.type === "text" ? [part.text] : [])),
  );
}

describe("transcriptOf", () => {
  it("reads a turn with a tool as it was seen in the events", () => {
    const lines = [
      JSON.stringify({ type: "queue-operation", operation: "enqueue" }),
      user("u1", null, [
        { type: "text", text: "find it" },
        { type: "image", source: { type: "base64", media_type: "image/png", data: "AAAA" } },
      ]),
      entry("x1", "u1", "attachment"),
      assistant("a1", "x1", "msg_1", { type: "thinking", thinking: "hmm", signature: "s" }),
      assistant("a2", "a1", "msg_1", { type: "text", text: "I look" }),
      assistant("a3", "a2", "msg_1", toolUse("toolu_1")),
      user("u2", "a3", toolResult("toolu_1", [{ type: "text", text: "found" }])),
      assistant("a4", "u2", "msg_2", { type: "text", text: "here" }),
      JSON.stringify({ type: "last-prompt", leafUuid: "a4" }),
    ];
    expect(transcriptOf(lines, TRANSCRIPT_LIMITS)).toEqual({
      messages: [
        {
          id: "u1",
          role: "user",
          atMs,
          parts: [
            { type: "text", text: "find it" },
            { type: "image", mediaType: "image/png" },
          ],
        },
        {
          id: "msg_1",
          role: "assistant",
          atMs,
          parts: [
            { type: "reasoning", text: "hmm" },
            { type: "text", text: "I look" },
            {
              type: "tool_call",
              toolCallId: "toolu_1",
              toolName: "find",
              serverName: "shop",
              input: { q: "toolu_1" },
            },
          ],
        },
        {
          id: "u2",
          role: "user",
          atMs,
          parts: [{ type: "tool_result", toolCallId: "toolu_1", content: "found", isError: false }],
        },
        { id: "msg_2", role: "assistant", atMs, parts: [{ type: "text", text: "here" }] },
      ],
      skippedLines: 0,
      isComplete: true,
    });
  });

  it("leaves out a branch that was lost, and words that nobody said", () => {
    const lines = [
      user("u1", null, "one"),
      user("lost", "u1", "lost"),
      user("u2", "u1", "two"),
      user("m", "u2", "meta", { isMeta: true }),
      user("i", "m", [{ type: "text", text: "[Request interrupted by user]" }]),
      entry("s", "i", "assistant", { id: "z", model: "<synthetic>", content: "No response" }),
      user("side", "s", "of a subagent", { isSidechain: true }),
      user("u3", "s", "three"),
    ];
    expect(textsOf(lines)).toEqual(["one", "two", "three"]);
  });

  it("keeps calls made side by side, whose results hang beside the chain", () => {
    const lines = [
      user("u1", null, "both"),
      assistant("a1", "u1", "msg_1", toolUse("t1", "Bash")),
      assistant("a2", "a1", "msg_1", toolUse("t2", "Bash")),
      user("r1", "a1", toolResult("t1", "first")),
      user("r2", "a2", toolResult("t2", "second")),
      assistant("a3", "r1", "msg_2", { type: "text", text: "done" }),
    ];
    const parts = transcriptOf(lines, TRANSCRIPT_LIMITS).messages.flatMap((m) => m.parts);
    expect(parts.map((part) => part.type)).toEqual([
      "text",
      "tool_call",
      "tool_call",
      "tool_result",
      "tool_result",
      "text",
    ]);
  });

  it("goes on behind a compaction", () => {
    const lines = [
      user("u1", null, "before"),
      entry("c", null, "system", undefined, { logicalParentUuid: "u1" }),
      user("k", "c", "summary", { isCompactSummary: true }),
      user("u2", "k", "after"),
    ];
    expect(textsOf(lines)).toEqual(["before", "after"]);
  });

  it("counts lines that cannot be read, and says that what hung on them is missing", () => {
    const lines = [
      user("u1", null, "one"),
      user("u2", "u1", "two").slice(0, 40),
      "\0\0\0",
      "",
      "[]",
      user("u3", "u2", "three"),
    ];
    const transcript = transcriptOf(lines, TRANSCRIPT_LIMITS);
    expect(transcript).toMatchObject({ skippedLines: 3, isComplete: false });
    expect(textsOf(lines)).toEqual(["three"]);
  });

  it("keeps the newest within its size, and cuts what is too long", () => {
    const lines = [user("u1", null, "old"), user("u2", "u1", "x".repeat(90))];
    const limits = { maxPartLength: 50, maxTotalLength: 200 };
    const { messages, isComplete } = transcriptOf(lines, limits);
    expect(isComplete).toBe(false);
    expect(messages.map(({ parts }) => parts)).toEqual([
      [{ type: "text", text: "x".repeat(50), isCut: true }],
    ]);
  });

  it("survives any lines, also rings", () => {
    const id = fc.constantFrom("a", "b", "c", null);
    const line = fc.oneof(
      fc.string(),
      fc.json(),
      fc
        .record({
          uuid: id,
          parentUuid: id,
          type: fc.constantFrom("user", "assistant", "attachment"),
          message: fc.option(fc.record({ id, content: fc.oneof(fc.string(), fc.anything()) })),
        })
        .map((fields) =>
          JSON.stringify(fields, (_key, v: unknown) => (typeof v === "bigint" ? 0 : v)),
        ),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 20 }), (lines) => {
        const { messages, skippedLines } = transcriptOf(lines, TRANSCRIPT_LIMITS);
        expect(messages.length + skippedLines).toBeLessThanOrEqual(lines.length);
      }),
    );
  });
});

describe("FileSessions.transcript", () => {
  it("reads the file of the session", async () => {
    const { sessions } = await openSessions();
    const session = await takeTurn(sessions, thread("t"), 5);
    await writeTranscript(session, `${user("u1", null, "héllo")}\n{"torn`);
    const ref = { tenant: "acme", sessionId: session.sessionId };
    expect(await sessions.transcript(ref, 6)).toEqual({
      messages: [{ id: "u1", role: "user", atMs, parts: [{ type: "text", text: "héllo" }] }],
      skippedLines: 1,
      isComplete: true,
    });
  });

  it("is empty for a session in its first turn", async () => {
    const { sessions } = await openSessions();
    const { sessionId } = await sessions.open(thread("t"), 5);
    const transcript = await sessions.transcript({ tenant: "acme", sessionId }, 6);
    expect(transcript).toEqual({ messages: [], skippedLines: 0, isComplete: true });
  });
});
