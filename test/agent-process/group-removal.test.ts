/**
 * Goal: who waits for a group to be removed is not left by a program that has nothing else to do.
 * Method: a group that cannot be removed at once, and what Node says keeps it alive.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

import { ControlGroup } from "../../src/agent-process/control-group.ts";

function timers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
}

describe("the removal of a group", () => {
  it.each([
    ["keeps the server alive when it is waited for", true, 1],
    ["does not when it goes on beside the server", false, 0],
  ])("%s", async (_name, isWaitedFor, more) => {
    const directory = mkdtempSync(join(tmpdir(), "plimsoll-group-"));
    let refusals = 1;
    const files = {
      make: () => {},
      write: () => {},
      writeAside: async () => {},
      remove: () => {
        refusals -= 1;
        if (refusals >= 0) throw Object.assign(new Error("busy"), { code: "EBUSY" });
      },
    };
    const group = new ControlGroup(
      { version: "cgroup2", directory, pidsDirectory: null },
      "left",
      files,
    );
    const before = timers();
    const removed = group.remove(new AbortController().signal, isWaitedFor);
    expect(timers() - before).toBe(more);
    expect(await removed).toBe(true);
    rmSync(directory, { recursive: true });
  });
});
