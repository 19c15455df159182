/**
 * Goal: whoever passes on a stream knows its last frame as the encoder of its protocol writes it, and
 * ends one that broke off with such a frame.
 * Method: real turns through the encoders; no frame is written by hand.
 */
import { describe, expect, it } from "vitest";
import { AppError } from "../../src/lib/errors.ts";
import { AGUI_ENDING, encodeAguiBytes } from "../../src/protocol/agui.ts";
import type { StreamEnding } from "../../src/protocol/ending.ts";
import { unnumbered } from "../../src/protocol/event-id.ts";
import { encodeRestEvents, REST_ENDING } from "../../src/protocol/rest.ts";
import { lastFrameIn } from "../../src/protocol/sse.ts";
import type { TurnEvent } from "../../src/turn/turn.ts";
import { aguiFrames, collect, STARTED, stream, TURNS } from "./turns.ts";

async function textsOf(chunks: AsyncIterable<string | Uint8Array>): Promise<string[]> {
  return (await collect(chunks)).map((chunk) => Buffer.from(chunk).toString());
}

function isLast({ isLast: ends }: StreamEnding, chunk: string): boolean {
  const frame = lastFrameIn(chunk);
  return frame !== null && ends(frame);
}

const RUN = { threadId: STARTED.threadId, runId: "run-1", protocolVersion: "1.0" };

type Encode = (events: readonly TurnEvent[]) => AsyncIterable<string | Uint8Array>;

const PROTOCOLS: readonly (readonly [name: string, ending: StreamEnding, encode: Encode])[] = [
  [
    "REST",
    REST_ENDING,
    (events) => encodeRestEvents(unnumbered(stream(events)), STARTED.turnId, () => {}),
  ],
  ["AG-UI", AGUI_ENDING, (events) => encodeAguiBytes(aguiFrames(stream(events), RUN), "sse")],
];

describe.each(PROTOCOLS)("a stream of %s", (_name, ending, encode) => {
  it.each(Object.entries(TURNS))("has one last frame: %s", async (_turn, events) => {
    const chunks = await textsOf(encode(events));
    expect(chunks.filter((chunk) => isLast(ending, chunk))).toEqual([chunks.at(-1)]);
  });

  it("that broke off ends in a last frame, which has the code of the error", async () => {
    const error = new AppError("replica_unavailable", "Cannot ask the replica");
    const [chunk = "", ...others] = await textsOf(ending.brokenBy(error));
    expect(others).toEqual([]);
    expect(isLast(ending, chunk)).toBe(true);
    expect(chunk).toContain("replica_unavailable");
  });
});

it("takes what is no JSON for no end of a run", () => {
  for (const data of ["", "null", "[1", '"RUN_ERROR"'])
    expect(AGUI_ENDING.isLast({ data })).toBe(false);
});
