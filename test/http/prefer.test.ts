import { expect, it } from "vitest";

import { prefersAsync } from "../../src/http/prefer.ts";

it.each([
  ["respond-async", true],
  ["Respond-Async", true],
  ["wait=10, respond-async", true],
  ["respond-async; foo=bar, wait=10", true],
  ["return=minimal", false],
  ["respond-async-maybe", false],
  ['note="a, respond-async, b"', false],
  ['note="a \\", respond-async"', false],
  ['note="', false],
  [`note="${String.raw`\"`.repeat(2_000)}, respond-async\\`, false],
  ["", false],
])("reads Prefer: %.40s", (prefer, isAsync) => {
  expect(prefersAsync({ prefer })).toBe(isAsync);
});

it("reads a request without it, and one with several", () => {
  expect(prefersAsync({})).toBe(false);
  expect(prefersAsync({ prefer: ["wait=1", "respond-async"] })).toBe(true);
});
