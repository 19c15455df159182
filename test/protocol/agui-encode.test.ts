import type { AGUIEvent } from "@ag-ui/core";
import { describe, expect, it } from "vitest";

import { AppError, ERRORS } from "../../src/lib/errors.ts";
import type { AguiRun } from "../../src/protocol/agui-decode.ts";
import type { TurnEvent } from "../../src/turn/turn.ts";
import {
  aguiFrames,
  collect,
  completed,
  type Scenario,
  STARTED,
  stream,
  text,
  TURNS,
} from "./turns.ts";

const NEW: AguiRun = { threadId: "thread-1", runId: "run-1", protocolVersion: "1.0" };
const OLD: AguiRun = { threadId: "thread-1", runId: "run-1" };

async function encode(
  events: readonly TurnEvent[],
  run = NEW,
  thrown?: Error,
): Promise<AGUIEvent[]> {
  const frames = await collect(aguiFrames(stream(events, thrown), run));
  return frames.map(({ event }) => event);
}

const RUN_STARTED = {
  type: "RUN_STARTED",
  threadId: "thread-1",
  runId: "run-1",
  protocolVersion: "1.0",
  metadata: {
    turnId: "0b7e1c1e-0000-4000-8000-000000000001",
    sessionId: "0b7e1c1e-0000-5000-8000-000000000002",
    agentName: "helper",
  },
};

const FIGURES = { costUsd: 0.25, steps: 2, durationMs: 1500, firstTokenMs: 300 };

/** What was read from the cache and written to it is part of the input. */
const USAGE = [
  {
    model: "claude-test",
    inputTokens: 4310,
    outputTokens: 20,
    totalTokens: 4330,
    cachedInputTokens: 300,
    cacheWriteInputTokens: 4000,
  },
];

const RUN_FINISHED = {
  type: "RUN_FINISHED",
  threadId: "thread-1",
  runId: "run-1",
  outcome: { type: "success" },
  usage: USAGE,
  metadata: { stopReason: "end_turn", ...FIGURES },
};

const HALF = [
  { type: "TEXT_MESSAGE_START", messageId: "m1", role: "assistant" },
  { type: "TEXT_MESSAGE_CONTENT", messageId: "m1", delta: "Half" },
  { type: "TEXT_MESSAGE_END", messageId: "m1" },
];

const STOPPED = {
  type: "RUN_ERROR",
  message: "Cannot finish the turn: its events just stopped",
  code: "internal",
  metadata: {
    retryable: false,
    remedy: ERRORS.internal.remedy,
    costUsd: 0,
    steps: 0,
    durationMs: 0,
    firstTokenMs: null,
  },
};

const GOLDEN: Record<Scenario, readonly unknown[]> = {
  text: [
    RUN_STARTED,
    { type: "TEXT_MESSAGE_START", messageId: "m1", role: "assistant" },
    { type: "TEXT_MESSAGE_CONTENT", messageId: "m1", delta: "Hel" },
    { type: "TEXT_MESSAGE_CONTENT", messageId: "m1", delta: "lo" },
    { type: "TEXT_MESSAGE_END", messageId: "m1" },
    RUN_FINISHED,
  ],
  reasoning: [
    RUN_STARTED,
    { type: "REASONING_START", messageId: "m1:r0" },
    { type: "REASONING_MESSAGE_START", messageId: "m1:r0", role: "reasoning" },
    { type: "REASONING_MESSAGE_CONTENT", messageId: "m1:r0", delta: "Hmm" },
    { type: "REASONING_MESSAGE_CONTENT", messageId: "m1:r0", delta: "." },
    { type: "REASONING_MESSAGE_END", messageId: "m1:r0" },
    { type: "REASONING_END", messageId: "m1:r0" },
    { type: "TEXT_MESSAGE_START", messageId: "m1", role: "assistant" },
    { type: "TEXT_MESSAGE_CONTENT", messageId: "m1", delta: "Yes" },
    { type: "TEXT_MESSAGE_END", messageId: "m1" },
    RUN_FINISHED,
  ],
  "tool call": [
    RUN_STARTED,
    { type: "TEXT_MESSAGE_START", messageId: "m1", role: "assistant" },
    { type: "TEXT_MESSAGE_CONTENT", messageId: "m1", delta: "Let me look." },
    { type: "TEXT_MESSAGE_END", messageId: "m1" },
    {
      type: "TOOL_CALL_START",
      toolCallId: "t1",
      toolCallName: "search",
      parentMessageId: "m1",
      metadata: { serverName: "docs" },
    },
    { type: "TOOL_CALL_ARGS", toolCallId: "t1", delta: '{"q":' },
    { type: "TOOL_CALL_ARGS", toolCallId: "t1", delta: '"x"}' },
    { type: "TOOL_CALL_END", toolCallId: "t1" },
    {
      type: "TOOL_CALL_RESULT",
      messageId: "t1:result",
      toolCallId: "t1",
      content: "found",
      role: "tool",
    },
    { type: "TEXT_MESSAGE_START", messageId: "m2", role: "assistant" },
    { type: "TEXT_MESSAGE_CONTENT", messageId: "m2", delta: "It is there." },
    { type: "TEXT_MESSAGE_END", messageId: "m2" },
    RUN_FINISHED,
  ],
  "parallel tool calls": [
    RUN_STARTED,
    {
      type: "TOOL_CALL_START",
      toolCallId: "t1",
      toolCallName: "search",
      parentMessageId: "m1",
      metadata: { serverName: "docs" },
    },
    { type: "TOOL_CALL_ARGS", toolCallId: "t1", delta: "{}" },
    { type: "TOOL_CALL_END", toolCallId: "t1" },
    {
      type: "TOOL_CALL_START",
      toolCallId: "t2",
      toolCallName: "search",
      parentMessageId: "m1",
      metadata: { serverName: "docs" },
    },
    { type: "TOOL_CALL_END", toolCallId: "t2" },
    {
      type: "TOOL_CALL_RESULT",
      messageId: "t2:result",
      toolCallId: "t2",
      content: "boom",
      role: "tool",
      metadata: { isError: true },
    },
    {
      type: "TOOL_CALL_RESULT",
      messageId: "t1:result",
      toolCallId: "t1",
      content: "",
      role: "tool",
    },
    { type: "TEXT_MESSAGE_START", messageId: "m2", role: "assistant" },
    { type: "TEXT_MESSAGE_CONTENT", messageId: "m2", delta: "Done" },
    { type: "TEXT_MESSAGE_END", messageId: "m2" },
    RUN_FINISHED,
  ],
  "structured output": [RUN_STARTED, { ...RUN_FINISHED, result: { answer: 42, why: null } }],
  notice: [
    RUN_STARTED,
    {
      type: "CUSTOM",
      name: "plimsoll:model_retry",
      value: { attempt: 1, status: 529, final: false },
    },
    { type: "TEXT_MESSAGE_START", messageId: "m1", role: "assistant" },
    { type: "TEXT_MESSAGE_CONTENT", messageId: "m1", delta: "ok" },
    { type: "TEXT_MESSAGE_END", messageId: "m1" },
    RUN_FINISHED,
  ],
  "limit reached": [
    RUN_STARTED,
    ...HALF,
    {
      type: "RUN_ERROR",
      message: "Cannot finish the turn: no steps left",
      code: "limit_reached",
      usage: USAGE,
      metadata: {
        retryable: false,
        remedy:
          "Ask for less in one turn, or raise `limits` of the agent; the session can be continued",
        ...FIGURES,
      },
    },
  ],
  cancelled: [
    RUN_STARTED,
    ...HALF,
    {
      ...RUN_FINISHED,
      outcome: { type: "cancelled" },
      metadata: { cause: "cancel_requested", ...FIGURES },
    },
  ],
  draining: [
    RUN_STARTED,
    {
      type: "RUN_ERROR",
      message: "Cannot finish the turn: the replica is shutting down",
      code: "draining",
      usage: USAGE,
      metadata: { retryable: true, remedy: ERRORS.draining.remedy, ...FIGURES },
    },
  ],
  failed: [
    RUN_STARTED,
    ...HALF,
    {
      type: "RUN_ERROR",
      message: "Cannot finish the turn: the agent process ended",
      code: "agent_crashed",
      usage: USAGE,
      metadata: { retryable: true, remedy: ERRORS.agent_crashed.remedy, ...FIGURES },
    },
  ],
  truncated: [
    RUN_STARTED,
    { type: "TEXT_MESSAGE_START", messageId: "m1", role: "assistant" },
    { type: "TEXT_MESSAGE_CONTENT", messageId: "m1", delta: "Once upon" },
    { type: "TEXT_MESSAGE_END", messageId: "m1" },
    STOPPED,
  ],
  empty: [{ ...RUN_STARTED, metadata: undefined }, STOPPED],
};

describe("encodeAgui()", () => {
  it.each(Object.entries(GOLDEN))("encodes the turn %j", async (name, golden) => {
    const turn = Object.entries(TURNS).find(([key]) => key === name)?.[1] ?? [];
    expect(await encode(turn)).toEqual(golden);
  });

  it("says cancelled as an error to a client older than 1.0", async () => {
    expect(await encode(TURNS.cancelled, OLD)).toEqual([
      RUN_STARTED,
      ...HALF,
      {
        type: "RUN_ERROR",
        message: "The turn was cancelled",
        code: "cancelled",
        usage: USAGE,
        metadata: { cause: "cancel_requested", ...FIGURES },
      },
    ]);
  });

  it.each([
    [undefined, "RUN_ERROR"],
    ["0.9", "RUN_ERROR"],
    ["", "RUN_ERROR"],
    ["nonsense", "RUN_ERROR"],
    ["1.0", "RUN_FINISHED"],
    ["1.4.2", "RUN_FINISHED"],
    ["12.0", "RUN_FINISHED"],
  ])("takes the protocol version %j for one that ends in %s", async (version, type) => {
    const run = version === undefined ? OLD : { ...OLD, protocolVersion: version };
    expect((await encode(TURNS.cancelled, run)).at(-1)?.type).toBe(type);
  });

  it("starts nothing that has no content, and sends no empty delta", async () => {
    const events: TurnEvent[] = [
      STARTED,
      { type: "reasoning_started", messageId: "r" },
      { type: "reasoning_delta", messageId: "r", delta: "" },
      { type: "reasoning_ended", messageId: "r" },
      ...text("m1", "", ""),
      completed(""),
    ];
    expect(await encode(events)).toEqual([RUN_STARTED, RUN_FINISHED]);
  });

  it("ends what is open before the run, also when the source forgot to", async () => {
    const open = TURNS["tool call"].slice(0, 6);
    const encoded = await encode([...open, completed("")]);
    expect(encoded.slice(-2).map(({ type }) => type)).toEqual(["TOOL_CALL_END", "RUN_FINISHED"]);
  });

  it("ends a source that throws with the code of its error", async () => {
    const thrown = new AppError("turn_timeout", "Cannot finish the turn: it ran out of time");
    expect(await encode([STARTED], NEW, thrown)).toMatchObject([
      { type: "RUN_STARTED" },
      { type: "RUN_ERROR", code: "turn_timeout", message: thrown.message },
    ]);
  });

  it("shows nothing of a bug", async () => {
    const encoded = await encode([], NEW, new Error("secret"));
    expect(encoded).toMatchObject([
      { type: "RUN_STARTED" },
      { type: "RUN_ERROR", code: "internal" },
    ]);
    expect(JSON.stringify(encoded)).not.toContain("secret");
  });

  it("leaves a result of null out, which AG-UI does not allow", async () => {
    expect(await encode([STARTED, completed("", null)])).toEqual([RUN_STARTED, RUN_FINISHED]);
  });
});
