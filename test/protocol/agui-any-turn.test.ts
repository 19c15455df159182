/**
 * Goal: no turn, however it is cut, breaks a client or leaves it waiting.
 * Method: random valid turns are cut anywhere and read by the verifiers of both official clients;
 * random sequences of events, which no turn would have, are held to the same.
 */

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { encodeAguiBytes } from "../../src/protocol/agui.ts";
import type { TurnEvent, TurnOutcome } from "../../src/turn/turn.ts";
import { READERS } from "./agui-clients.ts";
import {
  aguiFrames,
  collect,
  ended,
  reasoning,
  STARTED,
  stream,
  text,
  toolCall,
  toolResult,
  USAGE,
} from "./turns.ts";

const RUNS = { numRuns: 500 };
const VERSIONS = ["1.0", "0.0.59"] as const;

const delta = fc.string({ unit: "binary", maxLength: 5 });
const deltas = fc.array(delta, { maxLength: 3 });

const outcome: fc.Arbitrary<TurnOutcome> = fc.oneof(
  fc.record({
    status: fc.constant("completed" as const),
    usage: fc.constant(USAGE),
    stopReason: fc.constant("end_turn"),
    text: delta,
    structuredOutput: fc.option(fc.jsonValue({ maxDepth: 2 }), { nil: undefined }),
  }),
  fc.constant({ status: "limit_reached", usage: USAGE, limit: "budget" } as const),
  fc
    .constantFrom("client_gone" as const, "cancel_requested" as const, "draining" as const)
    .map((cause) => ({ status: "cancelled" as const, usage: USAGE, cause })),
  fc.constant({
    status: "failed",
    usage: USAGE,
    code: "model_overloaded",
    message: "Cannot go on",
  } as const),
);

/** What one id goes through, in order. */
function thread(id: string): fc.Arbitrary<readonly TurnEvent[]> {
  return fc.oneof(
    deltas.map((all) => text(id, ...all)),
    deltas.map((all) => reasoning(id, ...all)),
    fc
      .tuple(deltas, delta, fc.boolean())
      .map(([all, content, isError]) => [
        ...toolCall(id, "m0", ...all),
        toolResult(id, content, isError),
      ]),
    fc.constant([{ type: "notice", name: "compacted", data: { before: 1, after: null } } as const]),
  );
}

/** Several threads of events, each in its order, in any order among them, and then the end. */
const validTurn: fc.Arbitrary<TurnEvent[]> = fc
  .tuple(thread("m0"), thread("m1"), thread("m2"), fc.infiniteStream(fc.nat(2)), outcome)
  .map(([first, second, third, picks, end]) => {
    const queues = [[...first], [...second], [...third]];
    const turn: TurnEvent[] = [STARTED];
    while (queues.some((queue) => queue.length > 0)) {
      const { value } = picks.next();
      const queue = queues[value] ?? [];
      turn.push(...queue.splice(0, 1));
    }
    return [...turn, ended(end)];
  });

const id = fc.constantFrom("a", "b");
const anyEvent: fc.Arbitrary<TurnEvent> = fc.oneof(
  fc.constant(STARTED),
  fc
    .constantFrom("text_started" as const, "text_ended" as const, "reasoning_started" as const)
    .chain((type) => id.map((messageId) => ({ type, messageId }))),
  fc
    .constantFrom("text_delta" as const, "reasoning_delta" as const)
    .chain((type) => fc.record({ type: fc.constant(type), messageId: id, delta })),
  id.map((messageId) => ({ type: "reasoning_ended" as const, messageId })),
  id.map((toolCallId) => ({
    type: "tool_call_started" as const,
    toolCallId,
    toolName: "t",
    messageId: "a",
  })),
  fc.record({ type: fc.constant("tool_call_input_delta" as const), toolCallId: id, delta }),
  id.map((toolCallId) => ({ type: "tool_call_ended" as const, toolCallId })),
  fc.tuple(id, delta, fc.boolean()).map((all) => toolResult(...all)),
  outcome.map(ended),
);

async function judge(
  turn: readonly TurnEvent[],
  version: (typeof VERSIONS)[number],
  thrown?: Error,
): Promise<void> {
  const base = { threadId: "t", runId: "r" };
  const run = version === "1.0" ? { ...base, protocolVersion: "1.0" } : base;
  const events = aguiFrames(stream(turn, thrown), run);
  const body = (await collect(encodeAguiBytes(events, "sse"))).join("");
  const headers = { "content-type": "text/event-stream" };
  const seen = (await READERS[version](new Response(body, { headers }))).map(({ type }) => type);
  const ends = seen.filter((type) => type === "RUN_FINISHED" || type === "RUN_ERROR");
  expect(ends).toHaveLength(1);
  expect(seen.at(-1)).toBe(ends[0]);
  expect(seen.indexOf("RUN_STARTED")).toBe(0);
  expect(seen.lastIndexOf("RUN_STARTED")).toBe(0);
}

describe.each(VERSIONS)("the verifier of the client %s", (version) => {
  it("takes any turn that is cut anywhere, with one end", async () => {
    await fc.assert(
      fc.asyncProperty(validTurn, fc.nat(40), fc.boolean(), async (turn, cut, isThrown) => {
        await judge(turn.slice(0, cut), version, isThrown ? new Error("cut") : undefined);
      }),
      RUNS,
    );
  });

  it("takes any sequence of events, also one that no turn has", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyEvent, { maxLength: 20 }), async (events) => {
        await judge(events, version);
      }),
      RUNS,
    );
  });
});
