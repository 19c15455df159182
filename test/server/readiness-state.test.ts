/** Goal: readiness is what was said last, and a server that drains does not become ready again. */

import { expect, it } from "vitest";
import { ReadinessState } from "../../src/server/readiness-state.ts";

function shown({ state, reason }: ReadinessState) {
  return { state, reason };
}

it("starts, breaks and becomes ready, in whatever order", () => {
  const readiness = new ReadinessState();
  expect(shown(readiness)).toEqual({ state: "starting", reason: "the server is starting" });
  readiness.become("broken", "no process starts");
  expect(shown(readiness)).toEqual({ state: "broken", reason: "no process starts" });
  readiness.become("ready", "");
  expect(shown(readiness)).toEqual({ state: "ready", reason: "" });
});

it("ignores everything after `draining`", () => {
  const readiness = new ReadinessState();
  readiness.become("draining", "the server is shutting down");
  readiness.become("ready", "");
  readiness.become("broken", "no process starts");
  expect(shown(readiness)).toEqual({ state: "draining", reason: "the server is shutting down" });
});
