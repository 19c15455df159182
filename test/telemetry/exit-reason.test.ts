import { describe, expect, it } from "vitest";

import { exitReason } from "../../src/telemetry/exit-reason.ts";

const EXIT = { code: 0, step: "exited", outOfMemory: false } as const;

describe("exitReason", () => {
  it.each([
    ["finished", EXIT],
    ["failed", { ...EXIT, code: 1 }],
    ["failed", { ...EXIT, code: null }],
    ["asked_to_end", { ...EXIT, step: "stdin_closed" }],
    ["asked_to_end", { ...EXIT, code: 143, step: "sigterm" }],
    ["killed", { ...EXIT, code: null, step: "sigkill" }],
    ["killed_for_memory", { ...EXIT, code: null, outOfMemory: true }],
    ["start_failed", { ...EXIT, code: null, spawnError: "ENOENT" }],
  ] as const)("is %s for %j", (reason, exit) => {
    expect(exitReason(exit)).toBe(reason);
  });
});
