import { describe, expect, it } from "vitest";

import { AppError } from "../../src/lib/errors.ts";
import { withOneEnding } from "../../src/protocol/ending.ts";
import { unnumbered } from "../../src/protocol/event-id.ts";
import type { TurnEvent } from "../../src/turn/turn.ts";
import { collect, completed, STARTED, stream, text, TURNS } from "./turns.ts";

async function* ending(
  events: AsyncIterable<TurnEvent>,
  reports: AppError[],
): AsyncGenerator<TurnEvent, void, undefined> {
  const ended = withOneEnding(unnumbered(events), (error) => reports.push(error));
  for await (const { event } of ended) yield event;
}

describe("withOneEnding()", () => {
  it.each(Object.entries(TURNS))("ends the turn %j exactly once", async (_name, events) => {
    const reports: AppError[] = [];
    const seen = await collect(ending(stream(events), reports));
    expect(seen.filter(({ type }) => type === "turn_ended")).toHaveLength(1);
    expect(seen.at(-1)?.type).toBe("turn_ended");
    expect(seen.slice(0, events.length)).toEqual(events);
    expect(reports).toHaveLength(seen.length - events.length);
  });

  it("gives a thrown AppError its own code, and tells the log", async () => {
    const thrown = new AppError("turn_stalled", "Cannot go on: silence");
    const reports: AppError[] = [];
    const seen = await collect(ending(stream([STARTED], thrown), reports));
    expect(seen.at(-1)).toMatchObject({ outcome: { status: "failed", code: "turn_stalled" } });
    expect(reports).toEqual([thrown]);
  });

  it("hides the text of a bug from the reader but not from the log", async () => {
    const bug = new Error("secret /path");
    const reports: AppError[] = [];
    const seen = await collect(ending(stream([], bug), reports));
    expect(seen).toMatchObject([{ outcome: { status: "failed", code: "internal" } }]);
    expect(JSON.stringify(seen)).not.toContain("secret");
    expect(reports[0]?.cause).toBe(bug);
  });

  it("drops what comes after the end, and only tells the log of a failure there", async () => {
    const reports: AppError[] = [];
    const events = [STARTED, completed(""), ...text("m9", "late"), completed("again")];
    const seen = await collect(ending(stream(events, new Error("clean-up failed")), reports));
    expect(seen).toEqual([STARTED, completed("")]);
    expect(reports).toHaveLength(1);
  });

  it("lets its source clean up when the consumer stops early", async () => {
    let isClosed = false;
    const source = (async function* () {
      try {
        yield STARTED;
        yield completed("");
      } finally {
        isClosed = true;
      }
    })();
    for await (const _ of withOneEnding(unnumbered(source), () => undefined)) break;
    expect(isClosed).toBe(true);
  });
});
