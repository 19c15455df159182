import { createParser, type EventSourceMessage } from "eventsource-parser";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";

import { AppError } from "../../src/lib/errors.ts";
import { collectTurn } from "../../src/protocol/collect.ts";
import { type NumberedEvent, unnumbered } from "../../src/protocol/event-id.ts";
import {
  decodeRestTurn,
  encodeRestEvents,
  restOutcomeBody,
  restOutcomeSchema,
  restTurnSchema,
} from "../../src/protocol/rest.ts";
import type { TurnEvent } from "../../src/turn/turn.ts";
import { collect, type Scenario, STARTED, stream, TURNS, USAGE } from "./turns.ts";

const SESSION = "0b7e1c1e-5d7d-5b0c-9c7e-1c1e5d7d5b0c";

function errorsOf(body: unknown): unknown {
  try {
    decodeRestTurn(body);
  } catch (thrown) {
    if (thrown instanceof AppError && thrown.code === "invalid_request") {
      return thrown.details.errors?.map(({ pointer, detail }) => `${pointer} ${detail}`);
    }
    throw thrown;
  }
  return "accepted";
}

/** Bodies are too long for the name of a test. */
function cases(
  table: readonly (readonly [body: unknown, errors: readonly string[]])[],
): { body: unknown; errors: readonly string[] }[] {
  return table.map(([body, errors]) => ({ body, errors }));
}

describe("decodeRestTurn()", () => {
  it("takes text as one part, in a new conversation", () => {
    expect(decodeRestTurn({ input: "Hi" }, () => "new")).toEqual({
      session: { by: "thread", threadId: "new", expectsHistory: false },
      input: [{ type: "text", text: "Hi" }],
    });
    const first = decodeRestTurn({ input: "Hi" });
    expect(first.session).not.toEqual(decodeRestTurn({ input: "Hi" }).session);
  });

  it("takes any name for a thread, as it is never a path", () => {
    for (const threadId of [
      "a",
      "../../etc/passwd",
      "日本 🚢",
      "%2e",
      "__proto__",
      "x".repeat(256),
    ]) {
      const { session } = decodeRestTurn({ input: "Hi", threadId });
      expect(session).toEqual({ by: "thread", threadId, expectsHistory: false });
    }
  });

  it("takes a session by its id", () => {
    const { session } = decodeRestTurn({ input: "Hi", sessionId: SESSION });
    expect(session).toEqual({ by: "session", sessionId: SESSION });
  });

  it("takes parts in their order", () => {
    const input = [
      { type: "text", text: "What is this?" },
      { type: "image", mediaType: "image/png", base64: "iVBORw0KGgo=" },
      { type: "document", mediaType: "application/pdf", base64: "JVBERg==" },
    ];
    expect(decodeRestTurn({ input }).input).toEqual(input);
  });

  it("takes a document of plain text as the text that it is, without a byte order mark", () => {
    const base64 = Buffer.from("\uFEFFGrüße").toString("base64");
    const input = [{ type: "document", mediaType: "text/plain", base64 }];
    expect(decodeRestTurn({ input }).input).toEqual([{ type: "text", text: "Grüße" }]);
  });

  it.each([
    ["blank", Buffer.from("  \n"), "needs text that is not blank"],
    ["no UTF-8", Buffer.from([0x61, 0xff, 0xfe]), "needs the base64 of text in UTF-8"],
    ["too long", Buffer.alloc(1_000_001, "a"), "needs at most 1000000 characters"],
  ])("refuses a document of plain text that is %s", (_what, bytes, detail) => {
    const base64 = bytes.toString("base64");
    const input = [
      { type: "text", text: "Read" },
      { type: "document", mediaType: "text/plain", base64 },
    ];
    expect(errorsOf({ input })).toEqual([`/input/1/base64 ${detail}`]);
  });

  it("mends text that was cut in the middle of a character", () => {
    expect(decodeRestTurn({ input: "a\uD83D" }).input).toEqual([{ type: "text", text: "a\uFFFD" }]);
  });

  it("takes megabytes of base64", () => {
    const base64 = Buffer.alloc(6_000_000, 7).toString("base64");
    const { input } = decodeRestTurn({
      input: [{ type: "image", mediaType: "image/png", base64 }],
    });
    expect(input).toHaveLength(1);
  });

  it.each(
    cases([
      [null, [" needs a map of keys"]],
      [[], [" needs a map of keys"]],
      ["text", [" needs a map of keys"]],
      [{}, ["/input needs text or a list"]],
      [{ input: 5 }, ["/input needs text or a list"]],
      [{ input: " \n" }, ["/input needs text that is not blank"]],
      [{ input: "x".repeat(1_000_001) }, ["/input needs at most 1000000 characters"]],
      [{ input: [] }, ["/input needs at least 1 entry"]],
      [
        { input: Array.from({ length: 21 }, () => ({ type: "text", text: "a" })) },
        ["/input needs at most 20 entries"],
      ],
      [{ input: ["text"] }, ["/input/0 needs a map of keys"]],
      [{ input: [{ type: "audio" }] }, ["/input/0/type needs one of `text`, `image`, `document`"]],
      [
        { input: [{ type: "document", mediaType: "text/html", base64: "AAAA" }] },
        ["/input/0/mediaType needs `application/pdf` or `text/plain`"],
      ],
      ...["", "A", "AAA", "AA A", "AA-_", "A===", "====", "AAAA\n", "AAAA=AAA"].map(
        (base64): [unknown, string[]] => [
          { input: [{ type: "image", mediaType: "image/png", base64 }] },
          ["/input/0/base64 needs base64 (RFC 4648, section 4) with padding, and not empty"],
        ],
      ),
      ...["a\0", "a\n", "\u0085", "\uD800"].map((threadId): [unknown, string[]] => [
        { input: "a", threadId },
        ["/threadId needs well-formed Unicode without control characters"],
      ]),
      [{ input: "a", threadId: "" }, ["/threadId needs at least 1 character"]],
      [{ input: "a", threadId: "x".repeat(257) }, ["/threadId needs at most 256 characters"]],
      [{ input: "a", threadId: null }, ["/threadId needs text"]],
      [{ input: "a", sessionId: "../x" }, ["/sessionId needs a UUID"]],
      [
        { input: "a", threadId: "a", sessionId: SESSION },
        ["/sessionId needs to be left out when there is a threadId"],
      ],
      [JSON.parse('{"input":"a","__proto__":{}}'), ["/__proto__ is not a key that is known here"]],
      [{ input: "a", constructor: 1 }, ["/constructor is not a key that is known here"]],
      [{ input: "a", "a/b~c": 1 }, ["/a~1b~0c is not a key that is known here"]],
    ]),
  )("refuses: $errors", ({ body, errors }) => {
    expect(errorsOf(body)).toEqual(errors);
  });

  it("names every problem at once", () => {
    const body = {
      input: [{ type: "text", text: "", extra: 1 }, { type: "image" }],
      threadId: "\0",
      sessionId: "x",
      model: "other",
    };
    expect(errorsOf(body)).toEqual([
      "/input/0/text needs text that is not blank",
      "/input/0/extra is not a key that is known here",
      "/input/1/mediaType needs one of `image/png`, `image/jpeg`, `image/gif`, `image/webp`",
      "/input/1/base64 needs text",
      "/threadId needs well-formed Unicode without control characters",
      "/sessionId needs a UUID",
      "/model is not a key that is known here",
      "/sessionId needs to be left out when there is a threadId",
    ]);
  });

  it("keeps its answer short, however much is wrong", () => {
    const keys = Array.from({ length: 10_000 }, (_, index) => [`${index}`.repeat(1000), 1]);
    const errors = errorsOf({ input: "a", ...Object.fromEntries(keys) });
    expect(errors).toHaveLength(100);
    expect(JSON.stringify(errors).length).toBeLessThan(100_000);
  });

  it("is not overwhelmed by nesting", () => {
    const deep: unknown = JSON.parse("[".repeat(100_000) + "]".repeat(100_000));
    expect(errorsOf({ input: deep })).toEqual(["/input/0 needs a map of keys"]);
    expect(errorsOf({ input: "a", threadId: deep })).toEqual(["/threadId needs text"]);
  });

  it("either decodes or refuses, for any JSON, and what it decodes is well-formed", () => {
    const part = fc.record(
      {
        type: fc.constantFrom("text", "image", "document", "x"),
        text: fc.string({ unit: "binary" }),
        mediaType: fc.constantFrom("image/png", "text/plain"),
        base64: fc.base64String(),
      },
      { requiredKeys: [] },
    );
    const body = fc.record(
      {
        input: fc.oneof(fc.string({ unit: "binary" }), fc.array(part), fc.jsonValue()),
        threadId: fc.oneof(fc.string({ unit: "binary" }), fc.jsonValue()),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.oneof(body, fc.jsonValue()), (value) => {
        if (errorsOf(value) !== "accepted") return;
        const { input, session } = decodeRestTurn(value);
        expect(input.length).toBeGreaterThan(0);
        expect(JSON.stringify([input, session])).not.toMatch(/\\ud[89a-f]/);
      }),
      { numRuns: 500 },
    );
  });
});

function parse(wire: string): EventSourceMessage[] {
  const messages: EventSourceMessage[] = [];
  createParser({ onEvent: (message) => messages.push(message) }).feed(wire);
  return messages;
}

const TURN_ID = STARTED.turnId;

async function* at(id: number, event: TurnEvent): AsyncGenerator<NumberedEvent, void, undefined> {
  yield { id, event };
}

describe("encodeRestEvents()", () => {
  it("writes the id, the type as the name and the event as the data", async () => {
    const event = { type: "text_delta", messageId: "m1", delta: "a\nb" } as const;
    const [frame] = await collect(encodeRestEvents(at(41, event), TURN_ID, () => undefined));
    expect(frame).toBe(
      "id: 0b7e1c1e-41\nevent: text_delta\n" +
        'data: {"type":"text_delta","messageId":"m1","delta":"a\\nb"}\n\n',
    );
  });

  it("gives no id to an end that only the stream has", async () => {
    const frames = await collect(encodeRestEvents(at(1, STARTED), TURN_ID, () => undefined));
    expect(frames).toHaveLength(2);
    expect(frames[1]).toMatch(/^event: turn_ended\n/);
  });

  it.each(Object.entries(TURNS))("ends the turn %j once", async (_name, turn) => {
    const frames = await collect(
      encodeRestEvents(unnumbered(stream(turn)), TURN_ID, () => undefined),
    );
    const messages = parse(frames.join(""));
    const names = messages.map(({ event }) => event);
    const events: unknown[] = messages.map(({ data }) => JSON.parse(data));
    expect(events).toEqual(names.map((type) => expect.objectContaining({ type })));
    expect(events.slice(0, turn.length)).toEqual(turn);
    expect(names.indexOf("turn_ended")).toBe(names.length - 1);
  });
});

describe("restOutcomeBody()", () => {
  const bodyOf = async (name: Scenario): Promise<unknown> =>
    restOutcomeBody(await collectTurn(stream(TURNS[name])));

  it("is the whole turn", async () => {
    expect(await bodyOf("tool call")).toEqual({
      turnId: "0b7e1c1e-0000-4000-8000-000000000001",
      sessionId: "0b7e1c1e-0000-5000-8000-000000000002",
      threadId: "thread-1",
      agent: "helper",
      status: "completed",
      text: "It is there.",
      stopReason: "end_turn",
      toolCalls: [
        {
          id: "t1",
          name: "search",
          server: "docs",
          input: { q: "x" },
          result: "found",
          isError: false,
        },
      ],
      usage: USAGE,
    });
  });

  it("has the structured output when there is one", async () => {
    const body = await bodyOf("structured output");
    expect(body).toMatchObject({ structuredOutput: { answer: 42, why: null } });
    expect(await bodyOf("text")).not.toHaveProperty("structuredOutput");
  });

  it("says which limit was reached, and that the turn was cancelled", async () => {
    expect(await bodyOf("limit reached")).toMatchObject({
      status: "limit_reached",
      stopReason: "steps",
      text: "Half",
    });
    expect(await bodyOf("cancelled")).toMatchObject({
      status: "cancelled",
      stopReason: "cancel_requested",
    });
  });

  it("throws a failure, so that it gets its status", async () => {
    await expect(bodyOf("failed")).rejects.toMatchObject({
      code: "agent_crashed",
      message: "Cannot finish the turn: the agent process ended",
      details: { extensions: { turnId: STARTED.turnId } },
    });
    await expect(bodyOf("draining")).rejects.toMatchObject({ code: "draining" });
  });

  it("gives the input of a cut call as text, and an empty one as {}", async () => {
    const call = (inputText: string) => ({ id: "t", name: "n", inputText });
    const turn = await collectTurn(stream(TURNS.text));
    const body = restOutcomeBody({ ...turn, toolCalls: [call(""), call('{"a'), call("[1]")] });
    expect(body.toolCalls.map(({ input }) => input)).toEqual([{}, '{"a', [1]]);
  });

  it("fits its schema, and the schemas can be published", async () => {
    const names: Scenario[] = ["text", "tool call", "parallel tool calls", "structured output"];
    for (const name of [...names, "limit reached", "cancelled"] as const) {
      const body = await bodyOf(name);
      expect(restOutcomeSchema.parse(body)).toEqual(body);
    }
    expect(z.toJSONSchema(restTurnSchema, { io: "input" })).toMatchObject({
      additionalProperties: false,
      required: ["input"],
    });
    expect(z.toJSONSchema(restOutcomeSchema)).toHaveProperty("properties.usage");
  });
});
