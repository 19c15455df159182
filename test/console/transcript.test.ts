/**
 * Goal: a stored session reads as it was seen live.
 * Method: one body as the server documents it.
 */

import { describe, expect, it } from "vitest";

import { conversationOf } from "../../console/src/sessions/transcript.ts";

describe("a stored session", () => {
  it("has what was said, thought and called, says what was cut, under the ids that the events have", () => {
    const { items } = conversationOf({
      messages: [
        {
          id: "u1",
          role: "user",
          at: "2026-11-30T02:00:00.000Z",
          parts: [
            { type: "image", mediaType: "image/png" },
            { type: "text", text: "Look." },
          ],
        },
        {
          id: "m1",
          role: "assistant",
          at: null,
          parts: [
            { type: "reasoning", text: "Hm." },
            { type: "text", text: "I look." },
            { type: "tool_call", toolCallId: "t1", toolName: "look", input: { at: 1 } },
            { type: "tool_call", toolCallId: "t2", toolName: "write", input: null, isCut: true },
            { type: "text", text: "Also:", isCut: true },
          ],
        },
        {
          id: "u2",
          role: "user",
          at: null,
          parts: [
            { type: "tool_result", toolCallId: "t1", content: "a hull", isError: false },
            { type: "tool_result", toolCallId: "t2", content: "wr", isError: true, isCut: true },
          ],
        },
      ],
    });
    expect(items).toEqual([
      {
        kind: "user",
        id: "u1",
        text: "Look.",
        files: [{ mediaType: "image/png", name: null, base64: null }],
        at: "2026-11-30T02:00:00.000Z",
      },
      { kind: "reasoning", id: "m1#reasoning", text: "Hm.", isOpen: false },
      { kind: "text", id: "m1", text: "I look.", isOpen: false },
      {
        kind: "tool",
        id: "t1",
        name: "look",
        server: null,
        input: '{"at":1}',
        isOpen: false,
        result: { content: "a hull", isError: false },
      },
      {
        kind: "tool",
        id: "t2",
        name: "write",
        server: null,
        input: "",
        isCut: true,
        isOpen: false,
        result: { content: "wr", isError: true, isCut: true },
      },
      { kind: "text", id: "m1#2", text: "Also:", isOpen: false, isCut: true },
    ]);
  });
});
