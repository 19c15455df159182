/**
 * Goal: a turn comes to its end whatever its process does not answer.
 * Method: a process that is none, which says what the test wants and never goes.
 */

import type { SDKMessage } from "@anthropic-ai/claude-agent-sdk";
import { expect, it } from "vitest";

import { monotonicMs } from "../../src/lib/monotonic-clock.ts";
import { NO_TOTALS } from "../../src/session/session-record.ts";
import type { AgentConnection } from "../../src/turn/agent-connection.ts";
import { runAgent } from "../../src/turn/run-agent.ts";
import { system } from "./sdk-messages.ts";

const RESULT = {
  type: "result",
  subtype: "success",
  is_error: false,
  num_turns: 1,
  total_cost_usd: 0.5,
  modelUsage: {},
} as unknown as SDKMessage;

/** Its interrupt is never answered, and neither SIGTERM nor SIGKILL ends it. */
function stuck(says: readonly (() => SDKMessage)[]) {
  let tellSettled = (): void => {};
  const exit = { code: null, signal: null, survivors: 1 };
  const settled = new Promise<typeof exit>((resolve) => (tellSettled = () => resolve(exit)));
  const process = {
    processId: "t",
    settled,
    tree: { forgetPeak() {}, sample: null },
    toolOomKills: 0,
    toolsEndedForMemory: 0,
    peakBytes: null,
    stderrTail: () => "",
    look() {},
    async terminate() {
      tellSettled();
      return settled;
    },
  };
  const left = [...says];
  const connection = {
    process,
    hasHadTurns: true,
    isAlive: true,
    counted: NO_TOTALS,
    begin() {},
    next: async () => left.shift()?.() ?? null,
    interrupt: () => new Promise<void>(() => {}),
    end: () => process.terminate(),
  };
  return connection as unknown as AgentConnection;
}

it("ends when its result has come, and its interrupt is never answered", async () => {
  const cancel = new AbortController();
  const run = runAgent(
    {
      connection: stuck([
        () => system("init", { mcp_servers: [] }),
        () => {
          // Just before its last word: the interrupt is on its way.
          cancel.abort("client_gone");
          return RESULT;
        },
      ]),
      input: [{ type: "text", text: "Hello" }],
      needsStructuredOutput: false,
      startTimeoutMs: 60_000,
      stallTimeMs: 60_000,
      endGraceMs: 10,
      admittedAtMs: monotonicMs(),
      onStarted: () => {},
      onEnding: () => {},
      onTokens: () => {},
      postureFault: () => null,
      mayStay: true,
    },
    cancel.signal,
  );
  let next = await run.next();
  while (next.done !== true) next = await run.next();
  expect(next.value).toMatchObject({ stays: false, hasRun: true, exit: { survivors: 1 } });
});
