import { describe, expect, it } from "vitest";

import { counterPaths, parseOomKillCount } from "../../src/agent-process/oom-kill-counter.ts";
import { agentOomScore } from "../../src/agent-process/oom-ladder.ts";

describe("agentOomScore", () => {
  it.each([
    ["a plain container", 0, 300],
    ["a Guaranteed pod", -997, -398],
    ["a Burstable pod", 921, 945],
    ["a BestEffort pod, which has no ladder", 1000, 1000],
  ])("is a third of the way up from the server in %s", (_where, server, agent) => {
    expect(agentOomScore(server)).toBe(agent);
  });
});

describe("counterPaths", () => {
  it.each([
    ["v2", "0::/a/b\n", ["/sys/fs/cgroup/a/b/memory.events", "/sys/fs/cgroup/memory.events"]],
    ["a container", "0::/\n", ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory.events"]],
    [
      "v1 beside v2",
      "5:cpu,cpuacct:/x\n4:memory:/y\n0::/\n",
      ["/sys/fs/cgroup/memory/y/memory.oom_control", "/sys/fs/cgroup/memory/memory.oom_control"],
    ],
    ["none", "", []],
  ])("finds the files of %s", (_which, membership, paths) => {
    expect(counterPaths(membership)).toEqual(paths);
  });
});

describe("parseOomKillCount", () => {
  it("reads both forms, and knows when there is none", () => {
    expect(parseOomKillCount("low 0\nhigh 2\noom 5\noom_kill 3\noom_group_kill 0\n")).toBe(3);
    expect(parseOomKillCount("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n")).toBe(7);
    expect(parseOomKillCount("oom_kill_disable 0\nunder_oom 0\n")).toBeNull();
  });
});
