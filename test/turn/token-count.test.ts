/**
 * Goal: while a turn runs, its tokens are counted once each, however often they are told.
 * Method: messages as the SDK sends them; that a real turn has them is in `test/console/e2e`.
 */

import { expect, it } from "vitest";

import { TokenCount } from "../../src/turn/token-count.ts";
import { assistant, streamed, system } from "./sdk-messages.ts";

const PROMPT = {
  input_tokens: 5,
  cache_read_input_tokens: 90,
  cache_creation_input_tokens: 5,
  output_tokens: 1,
};

const started = (id: string, parent: string | null = null) =>
  streamed({ type: "message_start", message: { id, usage: PROMPT } }, parent);

const delta = (usage: object, parent: string | null = null) =>
  streamed({ type: "message_delta", delta: {}, usage }, parent);

function whole(id: string, usage: object | undefined, more: object = {}) {
  const message = assistant(id, [], more);
  Object.assign((message as { message: object }).message, { usage });
  return message;
}

it("counts what a prompt has, cached or not, and the answer as it is told", () => {
  const count = new TokenCount();
  expect(count.heard(system("init"))).toBe(false);
  expect(count.soFar).toEqual({ promptTokens: 0, outputTokens: 0 });
  expect(count.heard(started("one"))).toBe(true);
  expect(count.soFar).toEqual({ promptTokens: 100, outputTokens: 1 });
  // Each block comes again whole, with the usage that its message began with.
  expect(count.heard(whole("one", PROMPT))).toBe(false);
  expect(count.heard(delta({ output_tokens: 20, input_tokens: null }))).toBe(true);
  expect(count.heard(delta({ output_tokens: 20 }))).toBe(false);
  count.heard(started("two"));
  count.heard(delta({ output_tokens: 7 }));
  expect(count.soFar).toEqual({ promptTokens: 200, outputTokens: 27 });
});

it("keeps apart what the model and its subagents say at the same time", () => {
  const count = new TokenCount();
  count.heard(started("main"));
  count.heard(started("sub", "call-1"));
  count.heard(delta({ output_tokens: 10 }, "call-1"));
  count.heard(delta({ output_tokens: 30 }));
  expect(count.soFar).toEqual({ promptTokens: 200, outputTokens: 40 });
});

it("counts an answer that was not streamed, and no words on an error", () => {
  const count = new TokenCount();
  expect(count.heard(whole("one", { ...PROMPT, output_tokens: 12 }))).toBe(true);
  expect(count.soFar).toEqual({ promptTokens: 100, outputTokens: 12 });
  expect(count.heard(whole("two", PROMPT, { error: "overloaded" }))).toBe(false);
  expect(count.heard(whole("three", undefined))).toBe(false);
});
