import { setMaxListeners } from "node:events";
import { setTimeout as delay } from "node:timers/promises";

import { describe, expect, it, vi } from "vitest";

import { AppError } from "../../src/lib/errors.ts";
import { sessionRefOf } from "../../src/session/session-id.ts";
import type { StartTurn } from "../../src/turn/live-turn.ts";
import { LiveTurns, type LiveTurnsOptions } from "../../src/turn/live-turns.ts";
import type { Caller, TurnEvent, TurnOutcome, TurnRequest } from "../../src/turn/turn.ts";
import { collect, STARTED, text, USAGE } from "../protocol/turns.ts";

const ADA: Caller = { id: "ada", tenant: "acme", role: "caller", priority: "normal" };
const never = new AbortController().signal;
setMaxListeners(0, never);

let turnCount = 0;
function request(caller: Caller = ADA): TurnRequest {
  turnCount += 1;
  const session = { by: "thread", threadId: `t${turnCount}`, expectsHistory: false } as const;
  return { turnId: `turn-${turnCount}`, agentName: "a", caller, session, input: [] };
}

/** Turns that say hello, and end when they are let, or with the reason of their signal. */
class FakeTurns {
  readonly finish: (() => void)[] = [];
  given = 0;
  readonly start: StartTurn = (_request, signal) => this.#run(signal);

  async *#run(signal: AbortSignal): AsyncGenerator<TurnEvent, boolean, undefined> {
    try {
      yield STARTED;
      yield* text("m1", "Hello");
      if (!signal.aborted) {
        await new Promise<void>((resolve) => {
          this.finish.push(resolve);
          signal.addEventListener("abort", () => resolve(), { once: true });
        });
      }
      const outcome = signal.aborted ? outcomeOf(signal.reason) : COMPLETED;
      yield { type: "turn_ended", outcome };
      return true;
    } finally {
      this.given += 1;
    }
  }
}

const FAILED = { status: "failed", usage: USAGE, message: "" } as const;
const CANCELLED = { status: "cancelled", usage: USAGE } as const;
const COMPLETED: TurnOutcome = { status: "completed", usage: USAGE, stopReason: "end", text: "" };

function outcomeOf(reason: unknown): TurnOutcome {
  if (reason instanceof AppError) {
    return { status: "failed", usage: USAGE, code: reason.code, message: reason.message };
  }
  return { status: "cancelled", usage: USAGE, cause: reason as "draining" };
}

const JOURNAL = { turnBytes: 2 ** 20, totalBytes: 2 ** 22, keepMs: 0 };

function open(start: StartTurn, changes: Partial<LiveTurnsOptions> = {}) {
  return new LiveTurns({
    start,
    maxStreamsPerCaller: 3,
    maxReaders: 2,
    journal: JOURNAL,
    clientWaitMsOf: () => 0,
    tell: () => {},
    ...changes,
  });
}

function lastOf(events: readonly TurnEvent[]): TurnOutcome | undefined {
  const last = events.at(-1);
  return last?.type === "turn_ended" ? last.outcome : undefined;
}

describe("LiveTurns", () => {
  it("gives a turn's events to its reader", async () => {
    const fake = new FakeTurns();
    const turns = open(fake.start);
    const { turn, events: read } = await turns.start(request(), never);
    expect(turns.size).toBe(1);
    expect(turns.find(turn.request.turnId, ADA)).toBe(turn);
    const events = collect(read());
    await vi.waitFor(() => expect(fake.finish).toHaveLength(1), { timeout: 10_000 });
    fake.finish[0]?.();
    expect(await events).toEqual([
      STARTED,
      ...text("m1", "Hello"),
      { type: "turn_ended", outcome: COMPLETED },
    ]);
    await turn.ended;
    expect({ size: turns.size, given: fake.given }).toEqual({ size: 0, given: 1 });
  });

  it("runs a turn that nobody reads to its end", async () => {
    const fake = new FakeTurns();
    const turns = open(fake.start);
    const { turn } = await turns.start(request(), never);
    await vi.waitFor(() => expect(fake.finish).toHaveLength(1), { timeout: 10_000 });
    fake.finish[0]?.();
    await turn.ended;
    expect({ size: turns.size, given: fake.given }).toEqual({ size: 0, given: 1 });
  });

  it("finds nothing more of a session that is deleted, but lets who reads it finish", async () => {
    const fake = new FakeTurns();
    const turns = open(fake.start, { journal: { ...JOURNAL, keepMs: 60_000 } });
    const key = { hash: "k", inputHash: "i" };
    const asked = { ...request(), key };
    const { turn } = await turns.start(asked, never);
    await vi.waitFor(() => expect(fake.finish).toHaveLength(1));
    const reader = turn.attach(never);
    fake.finish[0]?.();
    await turn.ended;
    expect(turns.known(asked)).toBe(turn);
    const { session: target, caller, agentName } = asked;
    const ref = sessionRefOf({ tenant: caller.tenant, agentName, target });
    turns.forget({ ...ref, tenant: "another" });
    await turn.ended;
    expect(turns.kept).toBe(1);
    turns.forget(ref);
    await turn.ended;
    expect(turns.kept).toBe(0);
    expect(turns.known(asked)).toBeNull();
    expect(turns.ofSession(ref)).toBeUndefined();
    expect(() => turns.find(turn.request.turnId, ADA)).toThrow("Cannot find the turn");
    expect(lastOf(await collect(reader.events()))).toEqual(COMPLETED);
  });

  it("ends its turns when it is disposed, and takes no new one", async () => {
    const fake = new FakeTurns();
    const turns = open(fake.start);
    const turn = await turns.start(request(), never);
    await turns[Symbol.asyncDispose]();
    expect({ size: turns.size, given: fake.given }).toEqual({ size: 0, given: 1 });
    const outcome = lastOf(await collect(turn.events()));
    expect(outcome).toMatchObject({ status: "cancelled", cause: "draining" });
    await expect(turns.start(request(), never)).rejects.toMatchObject({ code: "draining" });
  });

  it("ends a turn whose events outgrow the buffer, and says so at the end", async () => {
    const fake = new FakeTurns();
    const turns = open(fake.start, { journal: { ...JOURNAL, turnBytes: 1_324 } });
    const { turn, events: read } = await turns.start(request(), never);
    await turn.ended;
    const outcome = lastOf(await collect(read()));
    expect(outcome).toMatchObject({ status: "failed", code: "turn_output_too_large" });
    expect(fake.given).toBe(1);
  });

  it("cancels a turn whose reader leaves, whether it reads or waits", async () => {
    const fake = new FakeTurns();
    const turns = open(fake.start);
    const left = await turns.start(request(), never);
    for await (const event of left.events()) if (event.type === "text_delta") break;
    await left.turn.ended;

    const gone = new AbortController();
    const { turn: waiting, events: read } = await turns.start(request(), gone.signal);
    const events = collect(read());
    await vi.waitFor(() => expect(fake.finish).toHaveLength(1), { timeout: 10_000 });
    gone.abort();
    await events;
    await waiting.ended;
    expect({ size: turns.size, given: fake.given }).toEqual({ size: 0, given: 2 });
  });

  it("cancels a turn whose reader had left before it began", async () => {
    const fake = new FakeTurns();
    const turns = open(fake.start);
    const { turn } = await turns.start(request(), AbortSignal.abort());
    await turn.ended;
    expect(fake).toMatchObject({ given: 1, finish: [] });
  });

  it("keeps the first of two causes", async () => {
    const fake = new FakeTurns();
    const turns = open(fake.start);
    const { turn, events } = await turns.start(request(), never);
    turn.cancel("cancel_requested");
    turn.cancel("draining");
    const outcome = lastOf(await collect(events()));
    expect(outcome).toMatchObject({ status: "cancelled", cause: "cancel_requested" });
  });

  it("keeps nothing of a turn that is refused", async () => {
    const refusal = new AppError("at_capacity", "Cannot start the turn: full");
    const turns = open(async function* () {
      yield await Promise.reject<TurnEvent>(refusal);
      return true;
    });
    for (let n = 0; n < 10; n++) {
      await expect(turns.start(request(), never)).rejects.toBe(refusal);
      expect(turns.size).toBe(0);
    }
  });

  it("tells the reader what broke a turn after it was admitted", async () => {
    const broken = new Error("a bug");
    const turns = open(async function* () {
      yield STARTED;
      throw broken;
    });
    const turn = await turns.start(request(), never);
    const heard: TurnEvent[] = [];
    const reading = (async () => {
      for await (const event of turn.events()) heard.push(event);
    })();
    await expect(reading).rejects.toBe(broken);
    expect(heard).toEqual([STARTED]);
    await turn.turn.ended;
    expect(turns.size).toBe(0);
  });

  it("counts the turns of a caller, not those of another one of that name", async () => {
    const turns = open(new FakeTurns().start);
    const begin = async (caller = ADA) => (await turns.start(request(caller), never)).turn;
    const started = await Promise.all([1, 2, 3].map(() => begin()));
    const refused = turns.start(request(), never);
    await expect(refused).rejects.toMatchObject({ code: "too_many_streams" });
    const other = await begin({ ...ADA, tenant: "other" });
    const [first] = started;
    first?.cancel("cancel_requested");
    await first?.ended;
    const next = await begin();
    for (const turn of [...started, other, next]) turn.cancel("draining");
    await Promise.all([...started, other, next].map((turn) => turn.ended));
    expect(turns.size).toBe(0);
  });

  it("shows a tenant its own turns, and an operator all", async () => {
    const turns = open(new FakeTurns().start);
    const { turn } = await turns.start(request(), never);
    const stranger: Caller = { id: "eve", tenant: "evil", role: "caller", priority: "normal" };
    const operator: Caller = { id: "op", tenant: "ops", role: "operator", priority: "normal" };
    expect(turns.list(ADA)).toEqual([turn]);
    expect(turns.list(stranger)).toEqual([]);
    expect(turns.list(operator)).toEqual([turn]);
    expect(() => turns.find(turn.request.turnId, stranger)).toThrow(AppError);
    expect(turns.find(turn.request.turnId, operator)).toBe(turn);
    turn.cancel("cancel_requested");
    await turn.ended;
    expect(() => turns.findRunning(turn.request.turnId, ADA)).toThrow(AppError);
  });
});

describe("the readers of a turn", () => {
  const gone = () => new AbortController();

  it("keep it running until the last of them leaves", async () => {
    const turns = open(new FakeTurns().start);
    const [first, second] = [gone(), gone()];
    const { turn } = await turns.start(request(), first.signal);
    const { events } = turn.attach(second.signal);
    const read = collect(events());
    first.abort();
    expect(turn.readers).toBe(1);
    await new Promise(setImmediate);
    expect(turn.outcome).toBeNull();
    second.abort();
    await turn.ended;
    expect(turn.outcome).toMatchObject({ status: "cancelled", cause: "client_gone" });
    await read;
  });

  it("may come back within the time that their agent gives them, and no later", async () => {
    const turns = open(new FakeTurns().start, { clientWaitMsOf: () => 60 });
    const first = gone();
    const { turn } = await turns.start(request(), first.signal);
    first.abort();
    await delay(20);
    const second = gone();
    turn.attach(second.signal);
    await delay(80);
    expect(turn.outcome).toBeNull();
    second.abort();
    await turn.ended;
    expect(turn.outcome).toMatchObject({ status: "cancelled", cause: "client_gone" });
  });

  it("need not come back where their agent goes on without them", async () => {
    const fake = new FakeTurns();
    const turns = open(fake.start, { clientWaitMsOf: () => null });
    const { turn } = await turns.start(request(), AbortSignal.abort());
    await vi.waitFor(() => expect(fake.finish).toHaveLength(1), { timeout: 10_000 });
    fake.finish[0]?.();
    await turn.ended;
    expect(turn.outcome).toEqual(COMPLETED);
  });

  it("are as many as may be, and no more", async () => {
    const turns = open(new FakeTurns().start);
    const { turn } = await turns.start(request(), never);
    const second = turn.attach(never);
    expect(() => turn.attach(never)).toThrow(/has 2 readers/);
    second.leave();
    turn.attach(never).leave();
    turn.cancel("cancel_requested");
    await turn.ended;
  });

  it("find it after its end, without what was asked, until its time is over", async () => {
    const fake = new FakeTurns();
    const turns = open(fake.start, { journal: { ...JOURNAL, keepMs: 60_000 } });
    const asked = { ...request(), input: [{ type: "text", text: "a secret" }] as const };
    const { turn, events } = await turns.start(asked, never);
    await vi.waitFor(() => expect(fake.finish).toHaveLength(1), { timeout: 10_000 });
    fake.finish[0]?.();
    const seen = await collect(events());
    await turn.ended;
    expect(turns.find(turn.request.turnId, ADA)).toBe(turn);
    expect(await collect(turn.attach(never).events())).toEqual(seen);
    expect(turn.request.input).toEqual([]);
    expect(turns).toMatchObject({ size: 0, kept: 1 });
    await turns[Symbol.asyncDispose]();
    expect(turns).toMatchObject({ kept: 0, journalBytes: 0 });
  });
});

describe("a key", () => {
  const keyed = (inputHash = "asked"): TurnRequest => ({
    ...request(),
    session: { by: "thread", threadId: "same", expectsHistory: false },
    key: { hash: "key", inputHash },
  });

  it("is one turn, for whoever asks and however soon", async () => {
    const fake = new FakeTurns();
    const turns = open(fake.start);
    const [first, second] = await Promise.all([
      turns.start(keyed(), never),
      turns.start(keyed(), never),
    ]);
    expect(second.turn).toBe(first.turn);
    expect(turns.knowsKey(ADA, "a", "key")).toBe(true);
    await expect(turns.start(keyed("other"), never)).rejects.toMatchObject({
      code: "idempotency_key_reused",
    });
    const other = { ...keyed(), caller: { ...ADA, tenant: "other" } };
    const third = await turns.start(other, never);
    expect(third.turn).not.toBe(first.turn);
    for (const reader of [first, second, third]) reader.leave();
    await turns[Symbol.asyncDispose]();
    expect(fake.given).toBe(2);
    expect(turns.knowsKey(ADA, "a", "key")).toBe(false);
  });

  it("tells all who ask why its turn is refused, and then is free", async () => {
    const refusal = new AppError("at_capacity", "Cannot start the turn: full");
    let isFull = true;
    const fake = new FakeTurns();
    const turns = open(async function* (asked, signal) {
      await delay(10);
      if (isFull) throw refusal;
      return yield* fake.start(asked, signal);
    });
    const asking = [1, 2].map(() => turns.start(keyed(), never));
    const told = await Promise.allSettled(asking);
    expect(told.map((each) => each.status === "rejected" && each.reason)).toEqual([
      refusal,
      refusal,
    ]);
    isFull = false;
    const { turn } = await turns.start(keyed(), never);
    turn.cancel("cancel_requested");
    await turn.ended;
  });

  it.each<[what: string, hasRun: boolean, outcome: TurnOutcome]>([
    ["nothing of its turn has run", false, { ...FAILED, code: "agent_start_failed" }],
    ["its turn was refused as it started", false, { ...FAILED, code: "mcp_server_unavailable" }],
    ["its turn was cancelled as it waited", false, { ...CANCELLED, cause: "client_gone" }],
    ["a drain cut its turn off", true, { ...CANCELLED, cause: "draining" }],
  ])("is free again when %s", async (_what, hasRun, outcome) => {
    const turns = open(
      async function* () {
        yield STARTED;
        yield { type: "turn_ended", outcome };
        return hasRun;
      },
      { journal: { ...JOURNAL, keepMs: 60_000 } },
    );
    const first = await turns.start(keyed(), never);
    await first.turn.ended;
    const second = await turns.start(keyed(), never);
    expect(second.turn).not.toBe(first.turn);
    await turns[Symbol.asyncDispose]();
  });
});

describe("whatever breaks, and wherever", () => {
  const events: readonly TurnEvent[] = [
    STARTED,
    ...text("m1", "Hel", "lo"),
    { type: "turn_ended", outcome: COMPLETED },
  ];
  const places = events.map((_, n) => n);

  /** Breaks before the event of that number, or after all of them. */
  function breaking(at: number, fault: unknown): StartTurn {
    return async function* () {
      for (const [index, event] of events.entries()) {
        await Promise.resolve();
        if (index === at) throw fault;
        yield event;
      }
      await Promise.resolve();
      if (at === events.length) throw fault;
      return true;
    };
  }

  it.each([...places, events.length])("at event %i: nothing is left", async (at) => {
    for (const leaveAt of [...places, Infinity]) {
      const fault = new Error("a bug");
      const turns = open(breaking(at, fault));
      const gone = new AbortController();
      const reader = await turns.start(request(), gone.signal).catch((thrown: unknown) => thrown);
      if (at === 0) expect(reader).toBe(fault);
      else {
        const { turn, events: read } = reader as Awaited<ReturnType<typeof turns.start>>;
        const seen: TurnEvent[] = [];
        const reading = (async () => {
          for await (const event of read()) {
            if (seen.push(event) > leaveAt) gone.abort();
          }
        })();
        const thrown: unknown = await reading.catch((each: unknown) => each);
        await turn.ended;
        expect(seen).toEqual(events.slice(0, seen.length));
        if (leaveAt === Infinity)
          expect({ thrown, seen: seen.length }).toEqual({ thrown: fault, seen: at });
        expect(turn.readers).toBe(0);
      }
      await new Promise(setImmediate);
      expect(turns).toMatchObject({ size: 0, kept: 0, journalBytes: 0 });
    }
  });
});

describe("LiveTurns.drain", () => {
  it("resolves at once when nothing runs, and refuses what comes", async () => {
    const turns = open(new FakeTurns().start);
    await turns.drain(60_000, never);
    const refused = turns.start(request(), never);
    await expect(refused).rejects.toMatchObject({ code: "draining" });
  });

  it("lets running turns end by themselves within the grace", async () => {
    const fake = new FakeTurns();
    const turns = open(fake.start);
    const turn = await turns.start(request(), never);
    await vi.waitFor(() => expect(fake.finish).toHaveLength(1), { timeout: 10_000 });
    const drained = turns.drain(60_000, never);
    fake.finish[0]?.();
    await drained;
    expect(lastOf(await collect(turn.events()))).toEqual(COMPLETED);
  });

  it.each([
    ["the grace has passed", 50, () => never],
    ["it is told to hurry", 60_000, () => AbortSignal.timeout(50)],
    ["it was told to hurry before", 60_000, () => AbortSignal.abort()],
  ])("ends those that still run when %s", async (_when, graceMs, hurry) => {
    const turns = open(new FakeTurns().start);
    const turn = await turns.start(request(), never);
    await turns.drain(graceMs, hurry());
    expect(turns.size).toBe(0);
    const outcome = lastOf(await collect(turn.events()));
    expect(outcome).toMatchObject({ status: "cancelled", cause: "draining" });
  });
});
