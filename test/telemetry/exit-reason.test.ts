import { describe, expect, it } from "vitest";

import { exitReason } from "../../src/telemetry/exit-reason.ts";

const EXIT = { code: 0, step: "exited", outOfMemory: false, oomKillCounterRose: null } as const;
const KILLED = { ...EXIT, code: null, outOfMemory: true } as const;

describe("exitReason", () => {
  it.each([
    ["finished", EXIT],
    ["failed", { ...EXIT, code: 1 }],
    ["failed", { ...EXIT, code: null }],
    ["asked_to_end", { ...EXIT, step: "stdin_closed" }],
    ["asked_to_end", { ...EXIT, code: 143, step: "sigterm" }],
    ["killed", { ...EXIT, code: null, step: "sigkill" }],
    ["killed_by_unknown", KILLED],
    ["killed_by_unknown", { ...KILLED, oomKillCounterRose: false }],
    ["killed_by_kernel", { ...KILLED, oomKillCounterRose: true }],
    ["killed_by_guard", { ...KILLED, oomKillCounterRose: true, guardVerdict: {} }],
    ["killed_by_guard", { ...EXIT, code: null, guardVerdict: {} }],
    ["asked_to_end", { ...EXIT, step: "stdin_closed", guardVerdict: {} }],
    ["killed", { ...EXIT, code: null, step: "sigkill", guardVerdict: {} }],
    ["start_failed", { ...EXIT, code: null, spawnError: "ENOENT" }],
  ] as const)("is %s for %j", (reason, exit) => {
    expect(exitReason(exit)).toBe(reason);
  });
});
