/**
 * Goal: whatever becomes of the connection, the page shows the conversation that it would show
 * without.
 * Method: random turns go through the journal and the encoder of the server itself; the bytes are
 * cut anywhere, several times, and each time the stream goes on in one of the ways that there are:
 * behind the last event, or from the first one, with a snapshot before it or without.
 */

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import type { NumberedAguiEvent } from "../../console/src/chat/agui-events.ts";
import {
  type Conversation,
  MOST_ITEMS,
  NOTHING_SAID,
  withItem,
} from "../../console/src/chat/conversation.ts";
import { aguiEventsOf } from "../../console/src/chat/follow-run.ts";
import { aloudText } from "../../console/src/chat/item-words.ts";
import { reduceEvent, userItem } from "../../console/src/chat/reduce-events.ts";
import { encodeAguiBytes } from "../../src/protocol/agui.ts";
import { storedRun, withSnapshot } from "../../src/protocol/agui-connect.ts";
import { encodeAgui } from "../../src/protocol/agui-encode.ts";
import { eventPlaceOf } from "../../src/protocol/event-id.ts";
import { Journal } from "../../src/turn/journal.ts";
import type { TurnEvent, TurnOutcome } from "../../src/turn/turn.ts";
import {
  completed,
  ended,
  reasoning,
  STARTED,
  text,
  toolCall,
  toolResult,
  TURNS,
  USAGE,
} from "../protocol/turns.ts";

const RUN = { threadId: "thread-1", runId: "run-1", protocolVersion: "1.0.0" };
const NEVER = new AbortController().signal;

const delta = fc.string({ unit: "binary", minLength: 1, maxLength: 5 });
const deltas = fc.array(delta, { minLength: 1, maxLength: 3 });

const outcome: fc.Arbitrary<TurnOutcome> = fc.constantFrom<TurnOutcome>(
  { status: "completed", usage: USAGE, stopReason: "end_turn", text: "x" },
  { status: "limit_reached", usage: USAGE, limit: "budget" },
  { status: "cancelled", usage: USAGE, cause: "cancel_requested" },
  { status: "failed", usage: USAGE, code: "turn_out_of_memory", message: "Cannot go on" },
);

/** As a turn has them: a step thinks, writes and calls, and the results come before the next. */
function step(number: number): fc.Arbitrary<TurnEvent[]> {
  const id = `m${number}`;
  const thoughts = deltas.map((all) => reasoning(`${id}#reasoning`, ...all));
  const words = deltas.map((all) => text(id, ...all));
  const call = fc
    .tuple(deltas, delta, fc.boolean())
    .map(([all, content, isError]) => [
      ...toolCall(`t${number}`, id, ...all),
      toolResult(`t${number}`, content, isError),
    ]);
  const notice = fc.constant<TurnEvent[]>([
    { type: "notice", name: "model_retry", data: { attempt: number } },
  ]);
  return fc
    .tuple(...[thoughts, notice, words, call].map((part) => fc.option(part, { nil: [] })))
    .map((parts) => parts.flat());
}

const turn: fc.Arbitrary<TurnEvent[]> = fc
  .tuple(step(1), step(2), step(3), outcome)
  .map(([first, second, third, end]) => [STARTED, ...first, ...second, ...third, ended(end)]);

/** The bytes that a server sends to a client which has read up to `lastEventId`. */
async function bytesOf(
  events: readonly TurnEvent[],
  lastEventId: string | null,
  snapshot: Parameters<typeof withSnapshot>[1] | null = null,
): Promise<Uint8Array> {
  const journal = new Journal({ limitBytes: 1 << 20, outlivesReaders: true });
  for (const event of events) journal.push(event);
  journal.close();
  const place = eventPlaceOf(lastEventId ?? undefined, STARTED.turnId);
  const resume = { before: journal.standInFor(place.after), parts: place.parts };
  const isFirst = place.after === 0 && place.parts === 0;
  // Read to its end: answered with 204.
  if (place.after === journal.lastId && place.after > 0) return new Uint8Array();
  using reader = journal.follow(place.after, NEVER);
  const options = { turnId: STARTED.turnId, run: RUN, report: () => undefined };
  const frames = encodeAgui(reader.entries(), { ...options, ...(!isFirst && { resume }) });
  return joined(
    encodeAguiBytes(snapshot === null ? frames : withSnapshot(frames, snapshot), "sse"),
  );
}

async function joined(chunks: AsyncIterable<string | Uint8Array>): Promise<Uint8Array> {
  const all: Buffer[] = [];
  for await (const chunk of chunks) all.push(Buffer.from(chunk));
  return Buffer.concat(all);
}

async function read(bytes: Uint8Array, chunkSize = 7): Promise<NumberedAguiEvent[]> {
  let at = 0;
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(new Uint8Array(bytes.subarray(at, (at += chunkSize))));
    },
  });
  const events: NumberedAguiEvent[] = [];
  for await (const event of aguiEventsOf(body)) events.push(event);
  return events;
}

function play(before: Conversation, events: readonly NumberedAguiEvent[]): Conversation {
  return events.reduce(reduceEvent, before);
}

const ASKED: Conversation = { items: [userItem("key-1", "What is it?")], run: null };
/** What a server has of it, under a name of its own. */
const STORED = [{ id: "uuid-1", role: "user" as const, content: "What is it?" }];

const again = fc.constantFrom("behind", "from the first", "with a snapshot");
const cuts = fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), again), {
  maxLength: 4,
});

describe("a conversation from events", () => {
  it("is the same however its stream was cut and went on", async () => {
    await fc.assert(
      fc.asyncProperty(turn, cuts, async (events, breaks) => {
        const whole = play(ASKED, await read(await bytesOf(events, null), 1 << 20));
        let conversation = ASKED;
        let lastEventId: string | null = null;
        let snapshot: typeof STORED | null = null;
        for (const [share, how] of breaks) {
          const bytes = await bytesOf(events, lastEventId, snapshot);
          const seen = await read(bytes.subarray(0, Math.floor(bytes.length * share)));
          conversation = play(conversation, seen);
          lastEventId = how === "behind" ? (seen.at(-1)?.id ?? lastEventId) : null;
          snapshot = how === "with a snapshot" ? STORED : null;
        }
        const rest = await read(await bytesOf(events, lastEventId, snapshot));
        expect(play(conversation, rest)).toEqual(whole);
      }),
      { numRuns: 200 },
    );
  });

  it("has texts, thoughts, calls with input and result, and the end in their order", async () => {
    const events = [
      STARTED,
      ...reasoning("m1#reasoning", "Two ", "numbers"),
      ...text("m1", "I ", "add."),
      ...toolCall("t1", "m1", '{"a":', "2}"),
      toolResult("t1", "no such tool", true),
      ...text("m2", "Sorry."),
      completed("Sorry."),
    ];
    const { items, run } = play(ASKED, await read(await bytesOf(events, null)));
    expect(items).toEqual([
      userItem("key-1", "What is it?"),
      { kind: "reasoning", id: "m1#reasoning", text: "Two numbers", isOpen: false },
      { kind: "text", id: "m1", text: "I add.", isOpen: false },
      {
        kind: "tool",
        id: "t1",
        name: "search",
        server: "docs",
        input: '{"a":2}',
        isOpen: false,
        result: { content: "no such tool", isError: true },
      },
      { kind: "text", id: "m2", text: "Sorry.", isOpen: false },
      {
        kind: "end",
        id: STARTED.turnId,
        turnId: STARTED.turnId,
        ending: { is: "completed", stopReason: "end_turn", result: null },
        usage: {
          inputTokens: 4310,
          outputTokens: 20,
          costUsd: 0.25,
          steps: 2,
          durationMs: 1500,
          firstTokenMs: 300,
        },
      },
    ]);
    expect(run).toMatchObject({ turnId: STARTED.turnId, sessionId: STARTED.sessionId });
  });

  it("is not without end, however long one talks", () => {
    let talk = NOTHING_SAID;
    for (let n = 1; n <= MOST_ITEMS + 3; n += 1) talk = withItem(talk, userItem(`${n}`, "Hi"));
    expect(talk.items).toHaveLength(MOST_ITEMS);
    expect([talk.items[0]?.id, talk.items.at(-1)?.id]).toEqual(["4", `${MOST_ITEMS + 3}`]);
  });

  it("has the answer of an agent whose answers have a form", async () => {
    const { items } = play(
      NOTHING_SAID,
      await read(await bytesOf(TURNS["structured output"], null)),
    );
    const [end] = items.slice(-1);
    expect(end).toMatchObject({ ending: { is: "completed", result: '{"answer":42,"why":null}' } });
    expect(aloudText(items)).toBe('The answer is complete: {"answer":42,"why":null}');
  });

  it("says why a turn failed, and what can be done about it", async () => {
    const { items } = play(NOTHING_SAID, await read(await bytesOf(TURNS.failed, null)));
    expect(items.at(-1)).toMatchObject({
      kind: "end",
      ending: {
        is: "failed",
        code: "agent_crashed",
        remedy: "See the server log of this turn; the session can be continued",
      },
    });
  });

  it("leaves nothing open when the stream fails by itself", async () => {
    const frames = await read(await bytesOf(TURNS.truncated, null));
    const error = { type: "RUN_ERROR", code: "events_expired", message: "Gone" } as const;
    const cut = frames.filter(({ event }) => !/_END$|RUN_ERROR/.test(event.type));
    const { items } = play(NOTHING_SAID, [...cut, { id: null, event: error }]);
    expect(items).toMatchObject([{ kind: "text", isOpen: false }, { kind: "end" }]);
  });

  it("takes what is stored for what was said, and keeps the files it was sent with", async () => {
    const file = { mediaType: "image/png", name: "hull.png", base64: "AAAA" };
    const before: Conversation = {
      items: [
        userItem("key-1", "What is it?", [file]),
        { kind: "text", id: "lost", text: "never stored", isOpen: true },
      ],
      run: null,
    };
    const stored = storedRun(RUN, "1.0.0", [
      ...STORED,
      { id: "m1", role: "assistant", content: "A mark." },
      { id: "uuid-2", role: "user", content: "Whose?" },
    ]);
    const { items, run } = play(before, await read(await joined(encodeAguiBytes(stored, "sse"))));
    expect(items).toEqual([
      userItem("key-1", "What is it?", [file]),
      { kind: "text", id: "m1", text: "A mark.", isOpen: false },
      userItem("uuid-2", "Whose?"),
    ]);
    expect(run).toEqual({ runId: "run-1", turnId: null, sessionId: null, isEnded: true });
  });

  it("passes over what it does not know", async () => {
    const odd = [
      { id: null, event: { type: "STATE_SNAPSHOT", snapshot: {} } },
      { id: "x-1", event: { type: "CUSTOM", name: "heartbeat", value: {} } },
      { id: "x-2", event: { type: "TEXT_MESSAGE_CONTENT", messageId: "none", delta: "x" } },
    ] as unknown as NumberedAguiEvent[];
    expect(play(NOTHING_SAID, odd)).toEqual(NOTHING_SAID);
  });
});
