import { getEventListeners } from "node:events";
import { setTimeout as delay } from "node:timers/promises";

import { createParser, type EventSourceMessage } from "eventsource-parser";
import * as fc from "fast-check";
import { describe, expect, it, vi } from "vitest";

import {
  encodeSseFrame,
  lastFrameIn,
  SSE_HEARTBEAT,
  wholeFrames,
  withHeartbeat,
} from "../../src/protocol/sse.ts";
import { collect } from "./turns.ts";

function parse(text: string): EventSourceMessage[] {
  const messages: EventSourceMessage[] = [];
  createParser({ onEvent: (message) => messages.push(message) }).feed(text);
  return messages;
}

describe("encodeSseFrame()", () => {
  it("writes id, event and data, and ends with an empty line", () => {
    expect(encodeSseFrame({ id: "a:1", event: "x", data: "{}" })).toBe(
      "id: a:1\nevent: x\ndata: {}\n\n",
    );
    expect(encodeSseFrame({ data: "" })).toBe("data: \n\n");
  });

  it("keeps several lines of data in one event", () => {
    expect(encodeSseFrame({ data: "a\nb\r\nc\rd" })).toBe("data: a\ndata: b\ndata: c\ndata: d\n\n");
  });

  it("refuses names that would smuggle in another field", () => {
    expect(() => encodeSseFrame({ event: "x\ndata: y", data: "" })).toThrow(TypeError);
    expect(() => encodeSseFrame({ id: "1\r2", data: "" })).toThrow(TypeError);
  });

  it("is read back as one event, whatever the data, also between heartbeats", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary" })), (all) => {
        const wire = all.map((data) => encodeSseFrame({ data }) + SSE_HEARTBEAT).join("");
        expect(parse(wire).map(({ data }) => data)).toEqual(
          all.map((data) => data.replace(/\r\n?/g, "\n")),
        );
      }),
      { numRuns: 200 },
    );
  });
});

describe("lastFrameIn()", () => {
  it("gives the last event as it was framed, whatever comes before it and after it", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary" }), { minLength: 1 }), (all) => {
        const frames = all.map((data, index) => ({ id: `a-${index}`, event: "x", data }));
        const wire = frames.map(encodeSseFrame).join(SSE_HEARTBEAT);
        const data = (all.at(-1) ?? "").replace(/\r\n?/g, "\n");
        const last = { ...frames.at(-1), data };
        expect(lastFrameIn(wire)).toEqual(last);
        expect(lastFrameIn(wire + SSE_HEARTBEAT)).toEqual(last);
      }),
      { numRuns: 200 },
    );
  });

  it("finds none where there are only comments", () => {
    expect(lastFrameIn("")).toBeNull();
    expect(lastFrameIn(SSE_HEARTBEAT + SSE_HEARTBEAT)).toBeNull();
  });
});

/** A source that yields after each of the times, and tells when it is cleaned up. */
function slowSource(timesMs: readonly number[], log: string[]): AsyncGenerator<string> {
  return (async function* () {
    try {
      for (const [index, timeMs] of timesMs.entries()) {
        await delay(timeMs);
        yield `frame ${index}`;
      }
    } finally {
      log.push("closed");
    }
  })();
}

const never = new AbortController().signal;

describe("withHeartbeat()", () => {
  it("passes frames on and beats only in silence", async () => {
    const log: string[] = [];
    const source = slowSource([0, 400, 0], log);
    const frames = await collect(withHeartbeat(source, 100, "beat", never));
    expect(frames.filter((frame) => frame !== "beat")).toEqual(["frame 0", "frame 1", "frame 2"]);
    const silence = frames.slice(frames.indexOf("frame 0") + 1, frames.indexOf("frame 1"));
    // Three on an idle machine.
    expect(silence.length).toBeGreaterThan(0);
    expect(silence.length).toBeLessThan(4);
    expect(log).toEqual(["closed"]);
  });

  it("fails with its source, after the frames before", async () => {
    const source = (async function* () {
      yield "one";
      throw new Error("broken");
    })();
    const frames = withHeartbeat(source, 1000, "beat", never);
    expect((await frames.next()).value).toBe("one");
    await expect(frames.next()).rejects.toThrow("broken");
  });

  it("cleans its source up when the consumer stops early", async () => {
    const log: string[] = [];
    for await (const frame of withHeartbeat(slowSource([1, 1], log), 1000, "beat", never)) {
      expect(frame).toBe("frame 0");
      break;
    }
    expect(log).toEqual(["closed"]);
  });

  it("ends at once when the signal aborts during a silence", async () => {
    const controller = new AbortController();
    let isReturned = false;
    const silent: AsyncIterable<string> = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise(() => undefined),
        return: async () => {
          isReturned = true;
          return { done: true, value: undefined };
        },
      }),
    };
    const frames = withHeartbeat(silent, 60_000, "beat", controller.signal);
    const next = frames.next();
    controller.abort();
    expect(await next).toEqual({ done: true, value: undefined });
    expect(isReturned).toBe(true);
  });

  it("does not even start to wait when the signal has aborted", async () => {
    const log: string[] = [];
    const frames = withHeartbeat(slowSource([1], log), 60_000, "beat", AbortSignal.abort());
    expect(await collect(frames)).toEqual([]);
    expect(log).toEqual(["closed"]);
  });

  it("leaves no timer and no listener behind", async () => {
    const set = vi.spyOn(globalThis, "setTimeout");
    const cleared = vi.spyOn(globalThis, "clearTimeout");
    const { signal } = new AbortController();
    await collect(withHeartbeat(slowSource([1, 30, 1], []), 10, "beat", signal));
    for await (const _ of withHeartbeat(slowSource([1, 1], []), 60_000, "beat", signal)) break;

    const started = set.mock.results
      .filter((_, call) => [10, 60_000].includes(set.mock.calls[call]?.[1] ?? 0))
      .map(({ value }) => value);
    expect(started.length).toBeGreaterThan(4);
    expect(cleared.mock.calls.flat()).toEqual(expect.arrayContaining(started));
    expect(getEventListeners(signal, "abort")).toEqual([]);
    vi.restoreAllMocks();
  });
});

describe("wholeFrames()", () => {
  it("has the same bytes, in chunks that end where a frame does, wherever they were cut", async () => {
    const texts = fc.array(fc.string({ maxLength: 5 }), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(texts, fc.infiniteStream(fc.nat({ max: 4 })), async (datas, cuts) => {
        const frames = datas.map((data) => encodeSseFrame({ data }));
        const all = Buffer.from(`${frames.join("")}data: begun`);
        async function* pieces() {
          for (let at = 0; at < all.length;) {
            const size = 1 + (cuts.next().value ?? 0);
            yield all.subarray(at, at + size);
            at += size;
          }
        }
        const chunks = await collect(wholeFrames(pieces(), 1_000));
        expect(Buffer.concat(chunks).toString()).toBe(frames.join(""));
        for (const chunk of chunks) expect(chunk.toString()).toMatch(/\n\n$/);
      }),
    );
  });

  it("takes no longer for a byte of a long frame than for one of a short", async () => {
    const piece = Buffer.from(`${"x".repeat(63)}\n`);
    async function* long() {
      for (let times = 0; times < 2 ** 16; times += 1) yield piece;
      yield Buffer.from("\n");
    }
    const before = process.cpuUsage();
    const [frame] = await collect(wholeFrames(long(), 2 ** 23));
    const { user, system } = process.cpuUsage(before);
    expect(frame?.length).toBe(2 ** 22 + 1);
    // Some 50 ms; copied and searched anew with each piece, it was a minute.
    expect((user + system) / 1_000).toBeLessThan(3_000);
  });

  it("holds no frame that never ends", async () => {
    async function* endless() {
      for (;;) yield Buffer.from("data: and so on");
    }
    await expect(collect(wholeFrames(endless(), 100))).rejects.toThrow("too long");
  });
});
