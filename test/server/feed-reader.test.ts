/**
 * Goal: a reader misses nothing while it keeps up, and begins anew when it does not.
 */

import { expect, it } from "vitest";

import { FeedReader } from "../../src/server/feed-reader.ts";

const LIMIT_BYTES = 2 ** 20;

/** A reader whose opening counts how often it began. */
function open() {
  let begun = 0;
  const reader = new FeedReader(() => {
    begun += 1;
    return [`hello ${begun}`, "recent"];
  });
  return { reader, chunks: reader.chunks() };
}

async function next(chunks: AsyncGenerator<string>): Promise<string | undefined> {
  const { value, done } = await chunks.next();
  return done === true ? undefined : value;
}

it("begins with what there is, and goes on with what comes, in order", async () => {
  const { reader, chunks } = open();
  reader.push("before it began");
  expect(await next(chunks)).toBe("hello 1");
  reader.push("a");
  expect(await next(chunks)).toBe("recent");
  reader.push("b");
  expect(await next(chunks)).toBe("ab");
  const waiting = next(chunks);
  reader.push("c");
  expect(await waiting).toBe("c");
});

it("begins anew when more waits than may, with nothing of what waited", async () => {
  const { reader, chunks } = open();
  expect([await next(chunks), await next(chunks)]).toEqual(["hello 1", "recent"]);
  const frame = "x".repeat(1_000);
  for (let sent = 0; sent <= LIMIT_BYTES; sent += frame.length) reader.push(frame);
  reader.push("too late");
  expect([await next(chunks), await next(chunks)]).toEqual(["hello 2", "recent"]);
  reader.push("after");
  expect(await next(chunks)).toBe("after");
});

it("holds as much as may wait", async () => {
  const { reader, chunks } = open();
  expect([await next(chunks), await next(chunks)]).toEqual(["hello 1", "recent"]);
  reader.push("x".repeat(LIMIT_BYTES));
  expect(await next(chunks)).toHaveLength(LIMIT_BYTES);
});

it("ends after what waits when it is closed, and at once when it is dropped", async () => {
  const one = open();
  expect([await next(one.chunks), await next(one.chunks)]).toEqual(["hello 1", "recent"]);
  one.reader.push("last");
  one.reader.close();
  one.reader.push("after the end");
  expect([await next(one.chunks), await next(one.chunks)]).toEqual(["last", undefined]);

  const other = open();
  expect(await next(other.chunks)).toBe("hello 1");
  other.reader.push("last");
  other.reader.drop();
  expect([await next(other.chunks), await next(other.chunks)]).toEqual(["recent", undefined]);
});

it("ends while it waits", async () => {
  const { reader, chunks } = open();
  expect([await next(chunks), await next(chunks)]).toEqual(["hello 1", "recent"]);
  const waiting = next(chunks);
  reader.close();
  expect(await waiting).toBeUndefined();
});
