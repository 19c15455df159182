import { Readable } from "node:stream";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { linesOf } from "../../src/session/shown-transcript.ts";
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

async function textsOf(lines: string[], limits = TRANSCRIPT_LIMITS): Promise<string[]> {
  return (await transcriptOf(lines, limits)).messages.flatMap(({ parts }) =>
    parts.flatMap((part) => (part.type === "text" ? [part.text] : [])),
  );
}

describe("transcriptOf", () => {
  it("reads a turn with a tool as it was seen in the events", async () => {
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
    expect(await transcriptOf(lines, TRANSCRIPT_LIMITS)).toEqual({
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

  it("leaves out a branch that was lost, and words that nobody said", async () => {
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
    expect(await textsOf(lines)).toEqual(["one", "two", "three"]);
  });

  it("keeps calls made side by side, whose results hang beside the chain", async () => {
    const lines = [
      user("u1", null, "both"),
      assistant("a1", "u1", "msg_1", toolUse("t1", "Bash")),
      assistant("a2", "a1", "msg_1", toolUse("t2", "Bash")),
      user("r1", "a1", toolResult("t1", "first")),
      user("r2", "a2", toolResult("t2", "second")),
      assistant("a3", "r1", "msg_2", { type: "text", text: "done" }),
    ];
    const parts = (await transcriptOf(lines, TRANSCRIPT_LIMITS)).messages.flatMap((m) => m.parts);
    expect(parts.map((part) => part.type)).toEqual([
      "text",
      "tool_call",
      "tool_call",
      "tool_result",
      "tool_result",
      "text",
    ]);
  });

  it("goes on behind a compaction", async () => {
    const lines = [
      user("u1", null, "before"),
      entry("c", null, "system", undefined, { logicalParentUuid: "u1" }),
      user("k", "c", "summary", { isCompactSummary: true }),
      user("u2", "k", "after"),
    ];
    expect(await textsOf(lines)).toEqual(["before", "after"]);
  });

  it("counts lines that cannot be read, and says that what hung on them is missing", async () => {
    const lines = [
      user("u1", null, "one"),
      user("u2", "u1", "two").slice(0, 40),
      "\0\0\0",
      "",
      "[]",
      user("u3", "u2", "three"),
    ];
    const transcript = await transcriptOf(lines, TRANSCRIPT_LIMITS);
    expect(transcript).toMatchObject({ skippedLines: 3, isComplete: false });
    expect(await textsOf(lines)).toEqual(["three"]);
  });

  it("keeps the newest within its size, and cuts what is too long", async () => {
    const lines = [user("u1", null, "old"), user("u2", "u1", "x".repeat(90))];
    const limits = { maxPartLength: 50, maxTotalLength: 200 };
    const { messages, isComplete } = await transcriptOf(lines, limits);
    expect(isComplete).toBe(false);
    expect(messages.map(({ parts }) => parts)).toEqual([
      [{ type: "text", text: "x".repeat(50), isCut: true }],
    ]);
  });

  it("survives any lines, also rings", async () => {
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
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 20 }), async (lines) => {
        const { messages, skippedLines } = await transcriptOf(lines, TRANSCRIPT_LIMITS);
        expect(messages.length + skippedLines).toBeLessThanOrEqual(lines.length);
      }),
    );
  });
});

describe("a long transcript", () => {
  it("lets others have their turn while it is read", async () => {
    const text = "x".repeat(1_000);
    const lines = Array.from({ length: 8_000 }, (_, n) =>
      user(`u${n}`, n ? `u${n - 1}` : null, text),
    );
    let isRead = false;
    let turns = 0;
    const count = (): void => {
      turns += 1;
      if (!isRead) setImmediate(count);
    };
    setImmediate(count);
    const { messages } = await transcriptOf(lines, TRANSCRIPT_LIMITS);
    isRead = true;
    expect(messages.length).toBeGreaterThan(1_000);
    // One for each half a megabyte at least.
    expect(turns).toBeGreaterThan(16);
  });

  it("has the same lines wherever it is split into chunks", async () => {
    const text = fc.array(fc.constantFrom("a", "é", "😀", "\n", "bc"), { maxLength: 40 });
    const at = fc.array(fc.nat(60), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(text, at, fc.boolean(), async (parts, positions, isWhole) => {
        const bytes = Buffer.from(parts.join(""));
        const cuts = [0, ...positions.toSorted((a, b) => a - b), bytes.length];
        const chunks = cuts.map((from, n) => bytes.subarray(from, cuts[n + 1] ?? bytes.length));
        const found: string[] = [];
        for await (const line of linesOf(Readable.from(chunks), isWhole ? 0 : 1)) found.push(line);
        expect(found).toEqual(
          parts
            .join("")
            .split("\n")
            .slice(isWhole ? 0 : 1),
        );
      }),
    );
  });
});

describe("FileSessions.transcript", () => {
  it("reads the last part of one that is very long, and says that it is not all", async () => {
    const { sessions } = await openSessions();
    const session = await takeTurn(sessions, thread("t"), 5);
    const text = "é".repeat(100_000);
    const lines = Array.from({ length: 200 }, (_, n) =>
      user(`u${n}`, n ? `u${n - 1}` : null, text),
    );
    await writeTranscript(session, `${lines.join("\n")}\n`);
    const ref = { tenant: "acme", sessionId: session.sessionId };
    const { messages, skippedLines, isComplete } = await sessions.transcript(ref, 6);
    expect({ skippedLines, isComplete }).toEqual({ skippedLines: 0, isComplete: false });
    expect(messages.at(-1)).toMatchObject({ id: "u199", parts: [{ type: "text", text }] });
  });

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
