/** Goal: whoever reads a turn learns how it ended, also when it broke while nobody was reading. */

import { expect, it } from "vitest";

import { attach } from "../../src/http/turn-asking.ts";
import { eventIdOf } from "../../src/protocol/event-id.ts";
import { LiveTurns } from "../../src/turn/live-turns.ts";
import type { TurnOutcome, TurnRequest } from "../../src/turn/turn.ts";
import { STARTED, USAGE } from "../protocol/turns.ts";

const never = new AbortController().signal;
const COMPLETED: TurnOutcome = { status: "completed", usage: USAGE, stopReason: "end", text: "" };
const BUG = new Error("a bug");

/** A turn that is over, whose events are held. */
async function ended(isBroken: boolean) {
  const turns = new LiveTurns({
    async *start() {
      yield STARTED;
      if (isBroken) throw BUG;
      yield { type: "turn_ended", outcome: COMPLETED };
      return true;
    },
    maxStreamsPerCaller: 3,
    maxReaders: 2,
    journal: { turnBytes: 2 ** 20, totalBytes: 2 ** 22, keepMs: 60_000 },
    clientWaitMsOf: () => 0,
    tell: () => {},
  });
  const request: TurnRequest = {
    turnId: STARTED.turnId,
    agentName: "a",
    caller: { id: "ada", tenant: "acme", role: "caller", priority: "normal" },
    session: { by: "thread", threadId: "t", expectsHistory: false },
    input: [],
  };
  const { turn } = await turns.start(request, never);
  await turn.ended;
  const lastId = eventIdOf(STARTED.turnId, { after: turn.journal.lastId, parts: 0 });
  return Object.assign(turns, { comeBack: () => attach(turn, never, lastId) });
}

it("is told nothing more of a turn that it has read to its end", async () => {
  await using turns = await ended(false);
  expect(await turns.comeBack()).toEqual({ is: "done" });
});

it("is told the end of a turn that broke after the last event that it has read", async () => {
  await using turns = await ended(true);
  for (let time = 0; time < 2; time++) {
    const back = await turns.comeBack();
    if (back.is !== "read") expect.fail("It was told that there is nothing more");
    await expect(back.reader.entries().next()).rejects.toBe(BUG);
  }
});
