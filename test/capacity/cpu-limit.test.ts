import { describe, expect, it } from "vitest";
import { cpuLimitReader, readCpuLimit } from "../../src/capacity/cpu-limit.ts";
import { mount1, mount2, writeTree } from "./system-tree.ts";

function limitOf(files: Readonly<Record<string, string>>) {
  using tree = writeTree(files);
  return readCpuLimit({ root: tree.root, cpuCount: 8 });
}

describe("readCpuLimit", () => {
  it.each([
    ["50000 100000\n", 0.5],
    ["250000 100000\n", 2.5],
    ["max 100000\n", 8],
    ["1600000 100000\n", 8], // More than the machine has.
    ["", 8],
    ["0 0", 8],
    ["fast", 8],
  ])("reads cpu.max %j of cgroup v2 as %d", (text, cpus) => {
    const limit = limitOf({
      "proc/self/cgroup": "0::/\n",
      "proc/self/mountinfo": mount2("/sys/fs/cgroup"),
      "sys/fs/cgroup/cpu.max": text,
    });
    expect(limit.cpus).toBe(cpus);
    expect(limit.kind).toBe(cpus === 8 ? "machine" : "cgroup2");
  });

  it.each([
    ["150000", "100000", 1.5],
    ["-1", "100000", 8],
  ])("reads a quota of %s over %s of cgroup v1 as %d", (quota, period, cpus) => {
    const limit = limitOf({
      "proc/self/cgroup": "1:cpu,cpuacct:/app\n",
      "proc/self/mountinfo": mount1("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"),
      "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us": quota,
      "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us": period,
    });
    expect(limit.cpus).toBe(cpus);
  });

  it("takes the tightest of the own group and its ancestors", () => {
    const limit = limitOf({
      "proc/self/cgroup": "0::/pod/app\n",
      "proc/self/mountinfo": mount2("/sys/fs/cgroup"),
      "sys/fs/cgroup/pod/app/cpu.max": "max 100000",
      "sys/fs/cgroup/pod/cpu.max": "200000 100000",
    });
    expect(limit).toEqual({ cpus: 2, source: "cgroup v2 cpu.max of /pod", kind: "cgroup2" });
  });

  it("is what the machine has where there are no control groups", () => {
    expect(limitOf({})).toEqual({ cpus: 8, source: "CPUs of the machine", kind: "machine" });
  });

  it("asks again how many those are", () => {
    using tree = writeTree({});
    let cpuCount = 8;
    const read = cpuLimitReader({ root: tree.root, cpuCount: () => cpuCount });
    expect(read().cpus).toBe(8);
    cpuCount = 2;
    expect(read().cpus).toBe(2);
  });
});
