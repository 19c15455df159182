import { describe, expect, it } from "vitest";

import type { MessagesBody } from "../../src/rehearsal/conversation.ts";
import { MAX_QUOTE_LENGTH } from "../../src/rehearsal/conversation.ts";
import { BUILT_IN_SCRIPT } from "../../src/rehearsal/built-in-script.ts";
import { replyEvents } from "../../src/rehearsal/reply-events.ts";
import type { MessageReply, ReplyPlan } from "../../src/rehearsal/reply.ts";
import { planReply } from "../../src/rehearsal/reply.ts";
import type { RehearsalRule, RehearsalScript } from "../../src/rehearsal/script.ts";

const REMINDER = "<system-reminder>\nnot the user\n</system-reminder>";
const ECHO = {
  name: "mcp__demo__echo_text",
  input_schema: {
    type: "object",
    properties: { text: { type: "string" }, times: { type: "integer", minimum: 2 } },
    required: ["text", "times"],
  },
};

/** A conversation as Claude Code sends it: each user text answered, but the last. */
function conversation(userTexts: string[], more: Partial<MessagesBody> = {}): MessagesBody {
  const messages = userTexts.flatMap((text, index) => [
    {
      role: "user",
      content: [
        { type: "text", text: REMINDER },
        { type: "text", text },
      ],
    },
    { role: index === userTexts.length - 1 ? "system" : "assistant", content: "answer" },
  ]);
  return { model: "claude-sonnet-5", messages, thinking: { type: "adaptive" }, ...more };
}

function afterTool(name: string, result: unknown): MessagesBody {
  return conversation([], {
    messages: [
      { role: "user", content: "use it" },
      { role: "assistant", content: [{ type: "tool_use", id: "t1", name }] },
      { role: "user", content: [{ type: "tool_result", tool_use_id: "t1", content: result }] },
      { role: "system", content: REMINDER },
    ],
  });
}

interface Circumstances {
  readonly requestNumber?: number;
  readonly failureCounts?: readonly number[];
}

function plan(script: RehearsalScript, body: MessagesBody, at: Circumstances = {}): ReplyPlan {
  return planReply(script, {
    body,
    bodyBytes: JSON.stringify(body).length,
    id: "1",
    requestNumber: at.requestNumber ?? 1,
    failureCounts: at.failureCounts ?? [],
  });
}

function message(script: RehearsalScript, body: MessagesBody, at?: Circumstances): MessageReply {
  const reply = plan(script, body, at);
  if (reply.kind !== "message") throw new Error(`Got an error: ${reply.error.type}`);
  return reply;
}

function spoken(reply: MessageReply): string {
  return reply.blocks
    .filter((block) => block.type === "text")
    .map((block) => [...block.tokens].join(""))
    .join("");
}

describe("planReply(), the choice of the rule", () => {
  const table: [string, RehearsalRule["when"], MessagesBody, Circumstances, boolean][] = [
    ["no condition", undefined, conversation(["hi"]), {}, true],
    ["a part of the text", { userText: "WEATHER" }, conversation(["the weather?"]), {}, true],
    ["only the last text", { userText: "weather" }, conversation(["weather", "no"]), {}, false],
    ["no text of a reminder", { userText: "not the user" }, conversation(["hi"]), {}, false],
    ["an expression", { userText: "/^h.$/" }, conversation(["hi"]), {}, true],
    ["the model", { model: "sonnet" }, conversation(["hi"]), {}, true],
    ["another model", { model: "opus" }, conversation(["hi"]), {}, false],
    ["a tool result", { afterTool: true }, afterTool("Bash", "done"), {}, true],
    ["the result of that tool", { afterTool: "Bash" }, afterTool("Bash", "done"), {}, true],
    ["its short name", { afterTool: "echo_text" }, afterTool(ECHO.name, "done"), {}, true],
    ["the result of another tool", { afterTool: "Bash" }, afterTool("Read", "done"), {}, false],
    ["no tool result", { afterTool: false }, afterTool("Bash", "done"), {}, false],
    [
      "a declared tool",
      { declaresTool: "echo_text" },
      conversation(["a"], { tools: [ECHO] }),
      {},
      true,
    ],
    [
      "an undeclared tool",
      { declaresTool: "Bash" },
      conversation(["a"], { tools: [ECHO] }),
      {},
      false,
    ],
    [
      "a named tool",
      { mentionsTool: true },
      conversation(["Echo text!"], { tools: [ECHO] }),
      {},
      true,
    ],
    ["no named tool", { mentionsTool: false }, conversation(["echo"], { tools: [ECHO] }), {}, true],
    [
      "no tool of Claude Code's own",
      { mentionsTool: true },
      conversation(["StructuredOutput"], { tools: [{ name: "StructuredOutput" }] }),
      {},
      false,
    ],
    ["the turn", { turnNumber: 2 }, conversation(["a", "b"]), {}, true],
    ["another turn", { turnNumber: 1 }, conversation(["a", "b"]), {}, false],
    ["the request", { requestNumber: 3 }, conversation(["a"]), { requestNumber: 3 }, true],
    ["all conditions", { userText: "a", turnNumber: 2 }, conversation(["a"]), {}, false],
  ];

  it.each(table)("looks at %s", (_, when, body, at, holds) => {
    const rules = [{ when, reply: [{ text: "first" }] }, { reply: [{ text: "second" }] }];
    expect(spoken(message({ rules }, body, at))).toBe(holds ? "first" : "second");
  });

  it("says so when no rule fits", () => {
    const rules = [{ when: { userText: "weather" }, reply: [{ text: "sunny" }] }];
    expect(spoken(message({ rules }, conversation(["hi"])))).toMatch(/No rule .* fits/);
  });

  it("does not take an interruption for a turn of the user", () => {
    const body = conversation(["a", "[Request interrupted by user]", "b"]);
    expect(spoken(message({ rules: [{ reply: [{ text: "{{turnCount}}" }] }] }, body))).toBe("2");
  });
});

describe("planReply(), the parts of the reply", () => {
  const replyWith = (reply: RehearsalRule["reply"]): RehearsalScript => ({ rules: [{ reply }] });

  it("fills placeholders", () => {
    const text = "{{firstUserText}}|{{userText}}|{{turnCount}}|{{model}}|{{toolNames}}";
    const body = conversation(["one", "two $& {{model}}"], { tools: [ECHO] });
    expect(spoken(message(replyWith([{ text }]), body))).toBe(
      "one|two $& {{model}}|2|claude-sonnet-5|mcp__demo__echo_text",
    );
  });

  it.each([
    ["a string", "done"],
    [
      "blocks",
      [
        { type: "text", text: "do" },
        { type: "text", text: "ne" },
      ],
    ],
  ])("quotes a tool result that is %s", (_, result) => {
    const script = replyWith([{ text: "{{toolName}}: {{toolResult}}" }]);
    expect(spoken(message(script, afterTool("Bash", result)))).toBe("Bash: done");
  });

  it("does not send a long prompt back whole", () => {
    const reply = message(
      replyWith([{ text: "{{userText}}" }]),
      conversation(["x".repeat(10_000)]),
    );
    expect(spoken(reply)).toHaveLength(MAX_QUOTE_LENGTH + 1);
  });

  it("keeps every blank of a text", () => {
    const text = "  two  blanks\n\nand\tlines \n";
    expect(spoken(message(replyWith([{ text }]), conversation(["a"])))).toBe(text);
  });

  it("leaves thoughts out when thinking is off", () => {
    const script = replyWith([{ thinking: "hm" }, { text: "so" }]);
    const types = (body: MessagesBody): string[] =>
      message(script, body).blocks.map((block) => block.type);
    expect(types(conversation(["a"]))).toEqual(["thinking", "text"]);
    expect(types(conversation(["a"], { thinking: { type: "disabled" } }))).toEqual(["text"]);
  });

  it("calls a declared tool by its full name, with what the script says", () => {
    const input = { text: "{{userText}}!", list: ["{{turnCount}}"], times: 3 };
    const script = replyWith([{ tool: { name: "echo_text", input } }]);
    const reply = message(script, conversation(["hi"], { tools: [ECHO] }));
    const [call] = reply.blocks;
    if (call?.type !== "tool_use") throw new Error("No tool was called");
    expect(call).toMatchObject({ name: ECHO.name, input: { text: "hi!", list: ["1"], times: 3 } });
    expect(JSON.parse([...call.tokens].join(""))).toEqual(call.input);
    expect(reply.stopReason).toBe("tool_use");
  });

  it("gives each of several calls its own id", () => {
    const script = replyWith([{ tool: { name: "echo_text" } }, { tool: { name: "echo_text" } }]);
    const { blocks } = message(script, conversation(["hi"], { tools: [ECHO] }));
    const ids = blocks.map((block) => (block.type === "tool_use" ? block.id : ""));
    expect(new Set(ids).size).toBe(2);
  });

  it("makes up an input that fits the schema", () => {
    const script = replyWith([{ tool: { name: "echo_text" } }]);
    const reply = message(script, conversation(["hi"], { tools: [ECHO] }));
    expect(reply.blocks).toMatchObject([{ type: "tool_use", input: { text: "hi", times: 2 } }]);
  });

  it("says in words that a tool is not declared", () => {
    const reply = message(replyWith([{ tool: { name: "Bash" } }]), conversation(["hi"]));
    expect(spoken(reply)).toBe("The tool Bash is not declared in this request.");
    expect(reply.stopReason).toBe("end_turn");
  });

  it("answers with structured output by the tool of Claude Code", () => {
    const tools = [{ name: "StructuredOutput" }];
    const script = replyWith([{ structured: { answer: "{{userText}}" } }]);
    expect(message(script, conversation(["hi"], { tools })).blocks).toMatchObject([
      { type: "tool_use", name: "StructuredOutput", input: { answer: "hi" } },
    ]);
  });

  it("counts what was said before as read from the cache", () => {
    const script = replyWith([{ text: "one two three" }]);
    const first = message(script, conversation(["a".repeat(400)])).usage;
    expect(first).toMatchObject({ cacheReadTokens: 0, outputTokens: 3 });
    expect(first.inputTokens).toBeGreaterThan(100);
    const second = message(script, conversation(["a".repeat(400), "b"])).usage;
    expect(second.cacheReadTokens).toBeGreaterThan(100);
    expect(second.inputTokens).toBeLessThan(first.inputTokens);
  });

  it("reports the usage that the script wants", () => {
    const usage = { inputTokens: 1, outputTokens: 2, cacheReadTokens: 3, cacheCreationTokens: 4 };
    const script = { rules: [{ reply: [{ text: "a" }], usage }] };
    expect(message(script, conversation(["a"])).usage).toEqual(usage);
  });

  it("plans the same answer for the same request", () => {
    const body = conversation(["hi"], { tools: [ECHO] });
    const twice = [1, 2].map(() => [...replyEvents(message(BUILT_IN_SCRIPT, body))]);
    expect(twice[0]).toEqual(twice[1]);
  });
});

describe("planReply(), errors", () => {
  it("fails as often as the rule says, then answers", () => {
    const script: RehearsalScript = {
      rules: [
        { when: { userText: "other" }, reply: [{ text: "a" }] },
        { error: { status: 529, times: 2 }, reply: [{ text: "now" }] },
      ],
    };
    const at = (failureCount: number): ReplyPlan =>
      plan(script, conversation(["hi"]), { failureCounts: [9, failureCount] });
    const error = { status: 529, type: "overloaded_error", message: "Overloaded" };
    expect(at(0)).toMatchObject({ kind: "error", ruleIndex: 1, error });
    expect(at(1)).toMatchObject({ kind: "error" });
    expect(at(2)).toMatchObject({ kind: "message" });
  });

  it.each([
    [400, "invalid_request_error"],
    [401, "authentication_error"],
    [403, "permission_error"],
    [404, "not_found_error"],
    [429, "rate_limit_error"],
    [500, "api_error"],
    [529, "overloaded_error"],
  ] as const)("calls %i %s", (status, type) => {
    const script: RehearsalScript = { rules: [{ error: { status } }] };
    expect(plan(script, conversation(["hi"]))).toMatchObject({ error: { status, type } });
  });
});

describe("replyEvents()", () => {
  const eventsOf = (rule: RehearsalRule): { dueMs: number; name: string | undefined }[] => {
    const script = { defaults: { firstTokenMs: 100, tokensPerSecond: 10 }, rules: [rule] };
    return [...replyEvents(message(script, conversation(["hi"])))].map(({ dueMs, frame }) => ({
      dueMs,
      name: /^event: (.*)$/m.exec(frame)?.[1],
    }));
  };

  it("brings each token when it is due, counted from the start", () => {
    expect(eventsOf({ reply: [{ text: "one two three" }] })).toEqual([
      { dueMs: 100, name: "message_start" },
      { dueMs: 100, name: "content_block_start" },
      { dueMs: 100, name: "content_block_delta" },
      { dueMs: 200, name: "content_block_delta" },
      { dueMs: 300, name: "content_block_delta" },
      { dueMs: 400, name: "content_block_stop" },
      { dueMs: 400, name: "message_delta" },
      { dueMs: 400, name: "message_stop" },
    ]);
  });

  it.each([0, 1, 2])("ends after %i tokens when the stream is to break there", (count) => {
    const events = eventsOf({ reply: [{ text: "one two three" }], cutAfterTokens: count });
    expect(events.filter((event) => event.name === "content_block_delta")).toHaveLength(count);
    expect(events.map((event) => event.name)).not.toContain("message_stop");
  });

  it("never completes a stream that breaks, even after its last word", () => {
    const events = eventsOf({ reply: [{ text: "one" }], hangAfterTokens: 9 });
    expect(events.at(-1)?.name).toBe("content_block_stop");
  });

  it("holds no more than a token of a long reply", () => {
    const script = { rules: [{ reply: [{ tokens: 10_000_000 }] }] };
    const events = replyEvents(message(script, conversation(["hi"])));
    const frames = Array.from({ length: 3 }, () => events.next().value?.frame);
    expect(frames[2]).toContain('"text":"word1 "');
  });
});
