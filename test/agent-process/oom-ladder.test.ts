import { describe, expect, it } from "vitest";

import { parseOomKillCount, readOomKillCount } from "../../src/agent-process/oom-kill-counter.ts";
import { agentOomScore } from "../../src/agent-process/oom-ladder.ts";
import { mount1, mount2, writeTree } from "../capacity/system-tree.ts";

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

describe("readOomKillCount", () => {
  it.each([
    [
      "v2, of the nearest group that has one",
      {
        "proc/self/cgroup": "0::/pod/app/job\n",
        "proc/self/mountinfo": mount2("/sys/fs/cgroup"),
        "sys/fs/cgroup/pod/app/memory.events": "oom 1\noom_kill 4\n",
        "sys/fs/cgroup/pod/memory.events": "oom 1\noom_kill 9\n",
      },
      4,
    ],
    [
      "v1 beside v2",
      {
        "proc/self/cgroup": "4:memory:/y\n0::/\n",
        "proc/self/mountinfo":
          mount2("/sys/fs/cgroup/unified") + mount1("memory", "/sys/fs/cgroup/memory"),
        "sys/fs/cgroup/memory/y/memory.oom_control": "oom_kill_disable 0\noom_kill 7\n",
      },
      7,
    ],
    ["no control groups", {}, null],
  ])("reads the counter of %s", (_which, files, count) => {
    using tree = writeTree(files);
    expect(readOomKillCount(tree.root)).toBe(count);
  });
});

describe("parseOomKillCount", () => {
  it("reads both forms, and knows when there is none", () => {
    expect(parseOomKillCount("low 0\nhigh 2\noom 5\noom_kill 3\noom_group_kill 0\n")).toBe(3);
    expect(parseOomKillCount("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n")).toBe(7);
    expect(parseOomKillCount("oom_kill_disable 0\nunder_oom 0\n")).toBeNull();
  });
});
