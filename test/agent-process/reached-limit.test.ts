import { describe, expect, it } from "vitest";
import { ControlGroup } from "../../src/agent-process/control-group.ts";
import { writeTree } from "../capacity/system-tree.ts";

describe("ControlGroup.reachedLimit, cgroup v2", () => {
  it.each([
    ["killed for the limit of a group above", 0, false],
    ["killed at its own", 1, true],
  ])("of one that was %s", (_how, ooms, expected) => {
    const events = `low 0\nhigh 0\nmax 7\noom ${ooms}\noom_kill 1\noom_group_kill 0\n`;
    using tree = writeTree({ "turn-1/memory.events": events });
    const parent = { version: "cgroup2", directory: tree.root, pidsDirectory: null } as const;
    expect(new ControlGroup(parent, "turn-1").reachedLimit).toBe(expected);
  });
});
