/**
 * Goal: the check of conversations finds every fault it names, and none where there is none.
 * Method: questions, transcripts and requests made by hand.
 */
import { describe, expect, it } from "vitest";

import {
  type Ask,
  exchangesOf,
  faultsOf,
  modelFaultsOf,
  modelRequestOf,
  questionOf,
} from "../../bench/conversation-check.ts";

function ask(number: number, fate: Ask["fate"] = "acknowledged"): Ask {
  return { number, conversation: 1, fate, answer: fate === "unknown" ? "" : `answer ${number}` };
}

function exchange(number: number) {
  return { number, answer: `answer ${number}` };
}

const NONE = { lost: [], doubled: [], outOfOrder: [], altered: [], foreign: [] };

describe("faultsOf", () => {
  const asked = [ask(1), ask(4, "unknown"), ask(5, "found")];

  it("takes a question of which nothing is known, or leaves it", () => {
    expect(faultsOf(asked, [1, 5].map(exchange))).toEqual(NONE);
    expect(faultsOf(asked, [1, 4, 5].map(exchange))).toEqual(NONE);
  });

  it("finds what is lost, doubled, out of order, altered and foreign", () => {
    expect(faultsOf(asked, [exchange(1)])).toEqual({ ...NONE, lost: [5] });
    expect(faultsOf(asked, [1, 4, 4, 5].map(exchange))).toEqual({ ...NONE, doubled: [4] });
    expect(faultsOf(asked, [5, 1].map(exchange))).toEqual({ ...NONE, outOfOrder: [1] });
    expect(faultsOf(asked, [exchange(1), { number: 5, answer: "" }])).toEqual({
      ...NONE,
      altered: [5],
    });
    expect(faultsOf(asked, [1, 2, 5].map(exchange))).toEqual({ ...NONE, foreign: [2] });
  });
});

describe("modelFaultsOf", () => {
  it("holds each request against what its client knew before", () => {
    const asks = [ask(1), ask(2), ask(3)];
    const right = [
      { number: 1, history: [] },
      { number: 2, history: [exchange(1)] },
      { number: 3, history: [1, 2].map(exchange) },
    ];
    expect(modelFaultsOf(asks, right)).toEqual({ ranTwice: [], wrongHistory: [] });
    const again = { number: 3, history: [exchange(2)] };
    expect(modelFaultsOf(asks, [...right, again])).toEqual({ ranTwice: [3], wrongHistory: [3] });
  });
});

describe("modelRequestOf", () => {
  it("reads questions that stand together, and not what Claude Code adds", () => {
    const text = (words: string) => ({ type: "text", text: words });
    const request = modelRequestOf([
      { role: "user", content: [text(`<system-reminder>${questionOf(9)}`), text(questionOf(1))] },
      { role: "assistant", content: [text("Turn 1. You said: "), text(questionOf(1))] },
      { role: "user", content: [text(questionOf(2)), text(questionOf(3))] },
    ]);
    const answer = `Turn 1. You said: ${questionOf(1)}`;
    expect(request).toEqual({
      number: 3,
      history: [
        { number: 1, answer },
        { number: 2, answer: "" },
      ],
    });
    expect(modelRequestOf([{ role: "user", content: "hello" }])).toBeNull();
  });

  it("takes no answer to be longer by what Claude Code says of an interruption", () => {
    const text = (words: string) => ({ type: "text", text: words }) as const;
    const request = modelRequestOf([
      { role: "user", content: [text(questionOf(1))] },
      { role: "assistant", content: [text("answer 1"), text("No response requested.")] },
      { role: "user", content: [text("[Request interrupted by user]"), text(questionOf(2))] },
      { role: "assistant", content: "No response requested." },
      { role: "user", content: [text(questionOf(3))] },
    ]);
    const history = [exchange(1), { number: 2, answer: "" }];
    expect(request).toEqual({ number: 3, history });
  });

  it("leaves words before the first question out", () => {
    expect(exchangesOf([{ role: "assistant", text: "Good morning." }])).toEqual([]);
  });
});
