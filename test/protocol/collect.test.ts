import { describe, expect, it } from "vitest";

import { AppError } from "../../src/lib/errors.ts";
import { collectTurn } from "../../src/protocol/collect.ts";
import { STARTED, stream, text, toolCall, toolResult, TURNS } from "./turns.ts";

describe("collectTurn()", () => {
  it("keeps the calls of tools with their results", async () => {
    const turn = await collectTurn(stream(TURNS["parallel tool calls"]));
    expect(turn).toMatchObject({ threadId: "thread-1", agentName: "helper", text: "Done" });
    expect(turn.toolCalls).toEqual([
      {
        id: "t1",
        name: "search",
        serverName: "docs",
        inputText: "{}",
        result: { content: "", isError: false },
      },
      {
        id: "t2",
        name: "search",
        serverName: "docs",
        inputText: "",
        result: { content: "boom", isError: true },
      },
    ]);
  });

  it("keeps what there was of the last text when the turn did not complete", async () => {
    const [started, ...rest] = TURNS["limit reached"];
    const turn = await collectTurn(stream([started, ...text("m0", "Before"), ...rest]));
    expect(turn.text).toBe("Half");
  });

  it("gives on what its source throws, so that a refusal keeps its status", async () => {
    const shed = new AppError("at_capacity", "Cannot take the turn", { retryAfterSeconds: 3 });
    await expect(collectTurn(stream([], shed))).rejects.toBe(shed);
  });

  it.each(["truncated", "empty"] as const)("refuses a turn that is %s", async (name) => {
    await expect(collectTurn(stream(TURNS[name]))).rejects.toMatchObject({ code: "internal" });
  });

  it("holds no more than the limit, and lets the source clean up", async () => {
    let isClosed = false;
    const endless = (async function* () {
      try {
        yield STARTED;
        while (true) yield { type: "text_delta", messageId: "m", delta: "x".repeat(100) } as const;
      } finally {
        isClosed = true;
      }
    })();
    const error = { code: "turn_output_too_large" };
    await expect(collectTurn(endless, 1000)).rejects.toMatchObject(error);
    expect(isClosed).toBe(true);
    const call = [STARTED, ...toolCall("t", "m", "{}"), toolResult("t", "y".repeat(1000))];
    await expect(collectTurn(stream(call), 1000)).rejects.toMatchObject(error);
  });

  it("passes over the result of a call it has not seen", async () => {
    const [started, ...rest] = TURNS.text;
    const turn = await collectTurn(stream([started, toolResult("old", "x"), ...rest]));
    expect(turn.toolCalls).toEqual([]);
  });
});
