/**
 * Goal: a turn's events are what its reader is promised, whatever the SDK sends.
 * Method: the messages of the real binary against events written out in full; then random cuts,
 * repetitions and mixtures of them, which the official AG-UI client has to take.
 */

import type { SDKMessage } from "@anthropic-ai/claude-agent-sdk";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { encodeAguiBytes } from "../../src/protocol/agui.ts";
import { Translator } from "../../src/turn/translate.ts";
import type { TurnEvent } from "../../src/turn/turn.ts";
import { READERS } from "../protocol/agui-clients.ts";
import { aguiFrames, collect, completed, STARTED, stream } from "../protocol/turns.ts";
import {
  assistant,
  blockDelta,
  blockStart,
  blockStop,
  messageStart,
  modelMessage,
  streamed,
  system,
  textBlock,
  thinkingBlock,
  toolBlock,
  toolResult,
  user,
} from "./sdk-messages.ts";

const bash = (id: string, ...pieces: string[]) => ({ id, name: "Bash", pieces });
const retry = system("api_retry", {
  attempt: 1,
  max_retries: 4,
  retry_delay_ms: 500,
  error_status: 529,
});
const RETRIED = {
  type: "notice",
  name: "model_retry",
  data: { attempt: 1, maxRetries: 4, delayMs: 500, status: 529 },
} as const;

interface Golden {
  readonly messages: readonly SDKMessage[];
  readonly events: readonly TurnEvent[];
}

const GOLDEN: Readonly<Record<string, Golden>> = {
  "thoughts and a text": {
    messages: [
      system("init"),
      system("status"),
      ...modelMessage("m1", thinkingBlock("m1", 0, "Let ", "me."), textBlock("m1", 1, "Hel", "lo")),
    ],
    events: [
      { type: "reasoning_started", messageId: "m1#reasoning" },
      { type: "reasoning_delta", messageId: "m1#reasoning", delta: "Let " },
      { type: "reasoning_delta", messageId: "m1#reasoning", delta: "me." },
      { type: "reasoning_ended", messageId: "m1#reasoning" },
      { type: "text_started", messageId: "m1" },
      { type: "text_delta", messageId: "m1", delta: "Hel" },
      { type: "text_delta", messageId: "m1", delta: "lo" },
      { type: "text_ended", messageId: "m1" },
    ],
  },
  "two texts of one message have two ids": {
    messages: modelMessage("m1", textBlock("m1", 0, "a"), textBlock("m1", 1, "b")),
    events: [
      { type: "text_started", messageId: "m1" },
      { type: "text_delta", messageId: "m1", delta: "a" },
      { type: "text_ended", messageId: "m1" },
      { type: "text_started", messageId: "m1#2" },
      { type: "text_delta", messageId: "m1#2", delta: "b" },
      { type: "text_ended", messageId: "m1#2" },
    ],
  },
  "a tool call, its result and the answer": {
    messages: [
      ...modelMessage("m1", toolBlock("m1", 0, bash("t1", '{"command":', '"ls"}'))),
      toolResult("t1", "a.txt"),
      ...modelMessage("m2", textBlock("m2", 0, "Done.")),
    ],
    events: [
      { type: "tool_call_started", toolCallId: "t1", toolName: "Bash", messageId: "m1" },
      { type: "tool_call_input_delta", toolCallId: "t1", delta: '{"command":' },
      { type: "tool_call_input_delta", toolCallId: "t1", delta: '"ls"}' },
      { type: "tool_call_ended", toolCallId: "t1" },
      { type: "tool_result", toolCallId: "t1", content: "a.txt", isError: false },
      { type: "text_started", messageId: "m2" },
      { type: "text_delta", messageId: "m2", delta: "Done." },
      { type: "text_ended", messageId: "m2" },
    ],
  },
  "parallel calls, one of which fails before the other is answered": {
    messages: [
      ...modelMessage(
        "m1",
        toolBlock("m1", 0, bash("t1", "{}")),
        toolBlock("m1", 1, { id: "t2", name: "mcp__docs__find_it", pieces: ['{"q":1}'] }),
      ),
      toolResult("t2", [{ type: "text", text: "boom" }], true),
      toolResult("t1", [{ type: "text", text: "a" }, { type: "image" }]),
    ],
    events: [
      { type: "tool_call_started", toolCallId: "t1", toolName: "Bash", messageId: "m1" },
      { type: "tool_call_input_delta", toolCallId: "t1", delta: "{}" },
      { type: "tool_call_ended", toolCallId: "t1" },
      {
        type: "tool_call_started",
        toolCallId: "t2",
        toolName: "find_it",
        serverName: "docs",
        messageId: "m1",
      },
      { type: "tool_call_input_delta", toolCallId: "t2", delta: '{"q":1}' },
      { type: "tool_call_ended", toolCallId: "t2" },
      { type: "tool_result", toolCallId: "t2", content: "boom", isError: true },
      { type: "tool_result", toolCallId: "t1", content: "a\n[image]", isError: false },
    ],
  },
  "a call without input has an empty object": {
    messages: modelMessage("m1", toolBlock("m1", 0, bash("t1"))),
    events: [
      { type: "tool_call_started", toolCallId: "t1", toolName: "Bash", messageId: "m1" },
      { type: "tool_call_input_delta", toolCallId: "t1", delta: "{}" },
      { type: "tool_call_ended", toolCallId: "t1" },
    ],
  },
  "a stream that breaks off and is asked for again": {
    messages: [
      messageStart("m1"),
      blockStart(0, { type: "text", text: "" }),
      blockDelta(0, { type: "text_delta", text: "Once" }),
      retry,
      ...modelMessage("m2", textBlock("m2", 0, "Once upon")),
    ],
    events: [
      { type: "text_started", messageId: "m1" },
      { type: "text_delta", messageId: "m1", delta: "Once" },
      RETRIED,
      { type: "text_ended", messageId: "m1" },
      { type: "text_started", messageId: "m2" },
      { type: "text_delta", messageId: "m2", delta: "Once upon" },
      { type: "text_ended", messageId: "m2" },
    ],
  },
  "an answer that was not streamed, after one that broke off": {
    messages: [
      messageStart("m1"),
      blockStart(0, { type: "thinking", thinking: "" }),
      blockDelta(0, { type: "thinking_delta", thinking: "Hm" }),
      assistant("m2", [{ type: "thinking", thinking: "So." }]),
      assistant("m2", [{ type: "text", text: "Yes" }]),
      assistant("m2", [{ type: "tool_use", id: "t1", name: "Bash", input: { command: "ls" } }]),
    ],
    events: [
      { type: "reasoning_started", messageId: "m1#reasoning" },
      { type: "reasoning_delta", messageId: "m1#reasoning", delta: "Hm" },
      { type: "reasoning_ended", messageId: "m1#reasoning" },
      { type: "reasoning_started", messageId: "m2#reasoning" },
      { type: "reasoning_delta", messageId: "m2#reasoning", delta: "So." },
      { type: "reasoning_ended", messageId: "m2#reasoning" },
      { type: "text_started", messageId: "m2" },
      { type: "text_delta", messageId: "m2", delta: "Yes" },
      { type: "text_ended", messageId: "m2" },
      { type: "tool_call_started", toolCallId: "t1", toolName: "Bash", messageId: "m2" },
      { type: "tool_call_input_delta", toolCallId: "t1", delta: '{"command":"ls"}' },
      { type: "tool_call_ended", toolCallId: "t1" },
    ],
  },
  "empty blocks are not seen": {
    messages: [
      ...modelMessage("m1", thinkingBlock("m1", 0), textBlock("m1", 1)),
      user([{ type: "text", text: "[Your previous response had no visible output.]" }]),
      ...modelMessage("m2", textBlock("m2", 0, "")),
    ],
    events: [],
  },
  "structured output is not a call to show, nor is its result": {
    messages: [
      ...modelMessage(
        "m1",
        toolBlock("m1", 0, { id: "t1", name: "StructuredOutput", pieces: ['{"answer":42}'] }),
      ),
      toolResult("t1", "Structured output provided successfully"),
    ],
    events: [],
  },
  "a subagent belongs to the call that started it": {
    messages: [
      streamed({ type: "message_start", message: { id: "s1" } }, "t1"),
      assistant("s1", [{ type: "text", text: "inside" }], { parent_tool_use_id: "t1" }),
      user([{ type: "tool_result", tool_use_id: "t9", content: "inside" }], {
        parent_tool_use_id: "t1",
      }),
    ],
    events: [],
  },
  "an error of the model is told by the outcome": {
    messages: [
      assistant("m1", [{ type: "text", text: "API Error: 529" }], { error: "server_error" }),
    ],
    events: [],
  },
  "what is not known is passed over": {
    messages: [
      messageStart("m1"),
      blockStart(0, { type: "server_tool_use", id: "x", name: "web_search" }),
      blockDelta(0, { type: "input_json_delta", partial_json: "{}" }),
      blockStop(0),
      blockStart(1, { type: "text", text: "" }),
      blockDelta(1, { type: "citations_delta", citation: {} }),
      blockDelta(1, { type: "thinking_delta", thinking: "not of a text" }),
      blockStop(1),
      blockStop(7),
      streamed({ type: "ping" }),
      assistant("m2", [{ type: "redacted_thinking", data: "x" }]),
      system("something_new"),
      { type: "something_new" } as unknown as SDKMessage,
      user("as a string"),
      toolResult("of-nobody", "lost"),
    ],
    events: [],
  },
  "a call and its result are told once": {
    messages: [
      ...modelMessage("m1", toolBlock("m1", 0, bash("t1", "{}"))),
      ...modelMessage("m2", toolBlock("m2", 0, bash("t1", "{}"))),
      toolResult("t1", "one"),
      toolResult("t1", "two"),
    ],
    events: [
      { type: "tool_call_started", toolCallId: "t1", toolName: "Bash", messageId: "m1" },
      { type: "tool_call_input_delta", toolCallId: "t1", delta: "{}" },
      { type: "tool_call_ended", toolCallId: "t1" },
      { type: "tool_result", toolCallId: "t1", content: "one", isError: false },
    ],
  },
  "a result ends the call it belongs to": {
    messages: [
      messageStart("m1"),
      blockStart(0, { type: "tool_use", id: "t1", name: "Bash" }),
      blockDelta(0, { type: "input_json_delta", partial_json: "{}" }),
      toolResult("t1", ""),
    ],
    events: [
      { type: "tool_call_started", toolCallId: "t1", toolName: "Bash", messageId: "m1" },
      { type: "tool_call_input_delta", toolCallId: "t1", delta: "{}" },
      { type: "tool_call_ended", toolCallId: "t1" },
      { type: "tool_result", toolCallId: "t1", content: "", isError: false },
    ],
  },
  notices: {
    messages: [
      retry,
      system("compact_boundary", { compact_metadata: { trigger: "auto", pre_tokens: 9 } }),
      system("permission_denied", { tool_use_id: "t1", tool_name: "mcp__docs__find" }),
    ],
    events: [
      RETRIED,
      { type: "notice", name: "compacted", data: { trigger: "auto", tokensBefore: 9 } },
      {
        type: "notice",
        name: "permission_denied",
        data: { toolCallId: "t1", toolName: "find", serverName: "docs" },
      },
    ],
  },
};

function translate(messages: readonly SDKMessage[]): TurnEvent[] {
  const translator = new Translator();
  return [...messages.flatMap((message) => translator.next(message)), ...translator.close()];
}

describe("Translator", () => {
  it.each(Object.entries(GOLDEN))("%s", (_name, { messages, events }) => {
    expect(translate(messages)).toEqual(events);
  });

  it("ends what is open once, and then has nothing more to end", () => {
    const translator = new Translator();
    translator.next(messageStart("m1"));
    translator.next(blockStart(0, { type: "text" }));
    translator.next(blockDelta(0, { type: "text_delta", text: "cut" }));
    expect(translator.close()).toEqual([{ type: "text_ended", messageId: "m1" }]);
    expect(translator.close()).toEqual([]);
  });
});

const sequence = fc.constantFrom(...Object.values(GOLDEN).map(({ messages }) => [...messages]));

/** Sequences in pieces, repeated and mixed: what a broken stream may look like, and worse. */
const anyMessages = fc
  .array(fc.record({ messages: sequence, from: fc.nat(4), to: fc.nat(16), repeat: fc.nat(1) }), {
    minLength: 1,
    maxLength: 4,
  })
  .chain((pieces) => {
    const queues = pieces.map(({ messages, from, to, repeat }) => {
      const piece = messages.slice(from, from + to);
      return repeat === 1 ? [...piece, ...piece] : piece;
    });
    const picks = fc.array(fc.nat(queues.length - 1), { minLength: 60, maxLength: 60 });
    return picks.map((order) => order.flatMap((index) => queues[index]?.splice(0, 1) ?? []));
  });

/** What {@link TurnEvent} promises between the first event and the last. */
function expectWellFormed(events: readonly TurnEvent[]): void {
  const open = new Set<string>();
  const seen = new Set<string>();
  for (const event of events) {
    if (event.type === "notice" || event.type === "turn_started" || event.type === "turn_ended") {
      continue;
    }
    const id = "toolCallId" in event ? event.toolCallId : event.messageId;
    const kind = event.type.split("_")[0];
    const key = `${kind} ${id}`;
    if (event.type.endsWith("_started")) {
      expect(seen.has(key)).toBe(false);
      open.add(key);
      seen.add(key);
    } else if (event.type === "tool_result") {
      expect(seen.has(key)).toBe(true);
      expect(open.has(key)).toBe(false);
    } else {
      expect(open.has(key)).toBe(true);
      if (event.type.endsWith("_ended")) open.delete(key);
    }
  }
  expect([...open]).toEqual([]);
}

async function expectTaken(events: readonly TurnEvent[]): Promise<void> {
  const run = { threadId: "t", runId: "r", protocolVersion: "1.0" };
  const whole = stream([STARTED, ...events, completed("")]);
  const encoded = encodeAguiBytes(aguiFrames(whole, run), "sse");
  const body = (await collect(encoded)).join("");
  const headers = { "content-type": "text/event-stream" };
  const types = (await READERS["1.0"](new Response(body, { headers }))).map(({ type }) => type);
  const ends = types.filter((type) => type === "RUN_FINISHED" || type === "RUN_ERROR");
  expect(ends).toEqual(["RUN_FINISHED"]);
  expect(types.at(-1)).toBe("RUN_FINISHED");
}

describe("no order of messages", () => {
  it("breaks the stream of events or the official client", async () => {
    await fc.assert(
      fc.asyncProperty(anyMessages, async (messages) => {
        const events = translate(messages);
        expectWellFormed(events);
        await expectTaken(events);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("Translator.text", () => {
  it("is all of the last message that said something, in however many blocks", () => {
    const translator = new Translator();
    const messages = [
      ...modelMessage("m1", textBlock("m1", 0, "I look."), toolBlock("m1", 1, bash("t1", "{}"))),
      toolResult("t1", "found"),
      ...modelMessage("m2", textBlock("m2", 0, "It is ", "here"), textBlock("m2", 1, ", I think.")),
    ];
    for (const message of messages) translator.next(message);
    expect(translator.text).toBe("It is here, I think.");
  });
});
