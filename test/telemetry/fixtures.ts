import type { ModelUsage, TurnOutcome, TurnUsage } from "../../src/turn/turn.ts";
import type { CapacityNumbers } from "../../src/telemetry/metrics.ts";

const MEBIBYTE = 1024 * 1024;

export const CAPACITY: CapacityNumbers = {
  turnsInFlight: 3,
  turnsThatFit: 12,
  memoryLimitBytes: 2048 * MEBIBYTE,
  loadLineBytes: 1800 * MEBIBYTE,
  memoryUsedBytes: 700 * MEBIBYTE,
  committedBytes: 900 * MEBIBYTE,
  promisedBytes: 150 * MEBIBYTE,
  poolBytes: 50 * MEBIBYTE,
  guardLevel: 0,
  startsWaiting: 1,
  headroomBytes: 900 * MEBIBYTE,
  residents: 2,
  spares: 1,
  liveStrays: 0,
  shed: { memory: 7, max_turns: 2, share: 0, start: 0, pressure: 0, draining: 0 },
};

const MODEL_USAGE: ModelUsage = {
  model: "claude-sonnet-5",
  inputTokens: 100,
  outputTokens: 20,
  cacheReadTokens: 5_000,
  cacheWriteTokens: 300,
  costUsd: 0.25,
};

const USAGE: TurnUsage = {
  ...MODEL_USAGE,
  steps: 2,
  durationMs: 4_000,
  firstTokenMs: 350,
  byModel: [MODEL_USAGE],
};

export const COMPLETED: TurnOutcome = {
  status: "completed",
  usage: USAGE,
  stopReason: "end_turn",
  text: "what the model said",
};

export const FAILED: TurnOutcome = {
  status: "failed",
  usage: { ...USAGE, firstTokenMs: null, byModel: [] },
  code: "turn_timeout",
  message: "Cannot finish the turn: it ran out of time",
};
