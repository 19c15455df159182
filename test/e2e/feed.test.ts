/**
 * Goal: whoever reads the feed of a replica sees what happens on it, as it happens and in words, and
 * costs it nothing when gone.
 * Method: the real Claude Code behind the server over HTTP, readers with a parser of their own.
 */

import { describe, expect, it } from "vitest";

import { startServer } from "../helpers/server.ts";
import { ask } from "./client.ts";
import { FeedClient, stagesOf } from "./feed-client.ts";

const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 500 }
rules:
  - when: { userText: hang }
    hangAfterTokens: 3
    reply: [{ tokens: 10 }]
  - when: { afterTool: true }
    reply:
      - text: "I was told: {{toolResult}}"
  - when: { userText: shell }
    reply:
      - text: "I look. "
      - tool: { name: Bash, input: { command: "echo 42" } }
  - reply:
      - text: "You said: {{userText}}"
`;

const SHELL = `
name: helper
instructions: You are a test.
tools: { builtin: [Bash] }
`;

describe("the feed", () => {
  it("begins with what there is: who it is, the last hour, what was lately, the load", async () => {
    await using server = await startServer({ script: SCRIPT, agents: [SHELL] });
    const before = await ask(server, "Hello");
    using feed = await FeedClient.open(server.url);
    await feed.until("capacity");
    const types = feed.events.map(({ type }) => type);
    expect(types.slice(0, 4)).toEqual(["hello", "history", "recent", "capacity"]);
    const [hello] = feed.of("hello");
    expect(hello?.version).toBe("0.0.0");
    expect(hello?.nowMs).toBeGreaterThan(hello?.startedAtMs ?? Infinity);
    const [history] = feed.of("history");
    expect(history?.inflight).toHaveLength(720);
    expect((history?.fromMs ?? 0) + 720 * 5_000).toBeLessThanOrEqual(Date.now());
    const [recent] = feed.of("recent");
    expect(recent?.turns).toHaveLength(1);
    expect(recent?.turns[0]).toMatchObject({
      turnId: before.turnId,
      agent: "helper",
      tenant: "default",
      caller: "anonymous",
      sessionId: before.sessionId,
      threadId: before.threadId,
      outcome: { status: "completed", detail: null, message: null },
      outputTokens: before.usage.outputTokens,
      costUsd: before.usage.costUsd,
    });
    expect(recent?.decisions).toMatchObject([
      { admitted: true, reason: null, agent: "helper", tenant: "default", untold: 0 },
    ]);
    const { limitBytes } = await server.capacity();
    expect(feed.of("capacity")[0]).toMatchObject({
      capacity: { limitBytes },
      readiness: { state: "ready" },
    });
  });

  it("shows a turn through its stages to its end", async () => {
    await using server = await startServer({ script: SCRIPT, agents: [SHELL] });
    using feed = await FeedClient.open(server.url);
    const outcome = await ask(server, "Use the shell");
    const turn = await feed.ended(outcome.turnId);
    expect(stagesOf(turn)).toEqual([
      "waiting",
      "starting",
      "thinking",
      "writing",
      "thinking",
      "tool Bash",
      "thinking",
      "writing",
      "thinking",
      "ending",
      "ended",
    ]);
    const since = turn.stages.map(({ sinceMs }) => sinceMs);
    expect(since).toEqual(since.toSorted((one, other) => one - other));
    expect(since[0]).toBe(turn.startedAtMs);
    expect(since.at(-1)).toBe(turn.endedAtMs);
    expect(turn).toMatchObject({ processSource: "started", toolCalls: 1, toolsEnded: 0 });
    expect(turn.predictedBytes).toBeGreaterThan(0);
    expect(turn.peakBytes).toBeGreaterThan(0);
    expect(turn.firstTokenMs).toBe(outcome.usage.firstTokenMs);
  });
});
