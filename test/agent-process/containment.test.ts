/**
 * Goal: what holds is found by trying, and a refusal leaves everything as it was.
 * Method: for cgroup v2 a stand-in for the kernel on fixture directories; for v1 fixture
 * directories for what is refused. What a real kernel does with groups is in control-group.test.ts.
 */

import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  type Containment,
  type ContainmentOptions,
  detectContainment,
} from "../../src/agent-process/containment.ts";
import { KERNEL_FILES, MAX_TASKS } from "../../src/agent-process/control-group.ts";
import { TEXT_ROOM_BYTES } from "../../src/capacity/turn-ceiling.ts";
import { mount1, writeTree } from "../capacity/system-tree.ts";
import { reasonForNoGroups1 } from "../helpers/control-group.ts";
import { until } from "../helpers/leaks.ts";
import { type FakeCgroup2, fakeCgroup2, refusal } from "./fake-cgroup2.ts";

const MIB = 2 ** 20;

function detectIn(
  { root, files }: Pick<FakeCgroup2, "root" | "files">,
  more: Partial<ContainmentOptions> = {},
): Promise<Containment> {
  return detectContainment({ ownGroup: true, serverId: "s1", root, files, ...more });
}

describe("detectContainment in cgroup v2", () => {
  it("moves the server to a leaf, and gives each process a group with a limit", async () => {
    using system = fakeCgroup2();
    await using containment = await detectIn(system);
    expect(containment).toMatchObject({ kind: "cgroup2", killsAll: false, notes: [] });
    expect(containment.text).toContain("control group of its own (cgroup v2)");
    expect(system.groups()).toEqual({ "plimsoll-server": `${process.pid}`, "plimsoll-turns": "" });
    expect(system.read("", "cgroup.subtree_control")).toBe("memory pids");

    const group = containment.openGroup("turn-1", 512 * MIB);
    expect(await group?.add(4242)).toBe(true);
    expect(system.groups()).toMatchObject({ "plimsoll-turns/turn-1": "4242" });
    const turn = "plimsoll-turns/turn-1";
    expect(system.read(turn, "memory.max")).toBe(`${512 * MIB}`);
    expect(system.read(turn, "memory.swap.max")).toMatch(/^0/);
    expect(system.read(turn, "pids.max")).toBe(`${MAX_TASKS}`);
    expect(group?.oomKills).toBe(0);
  });

  it("puts everything back when it is disposed", async () => {
    using system = fakeCgroup2();
    const containment = await detectIn(system);
    containment.openGroup("turn-1", 512 * MIB);
    await containment[Symbol.asyncDispose]();
    expect(system.groups()).toEqual({});
    expect(system.read("", "cgroup.procs")).toBe(`${process.pid}`);
    expect(system.read("", "cgroup.subtree_control")).toBe("");
  });

  it("moves nobody when the server is not alone", async () => {
    using system = fakeCgroup2({ members: [1, process.pid, 0] });
    await using containment = await detectIn(system);
    expect(containment.kind).toBe("guard");
    expect(containment.text).toContain("shares its group with 2 other processes");
    expect(containment.openGroup("turn-1", 512 * MIB)).toBeNull();
    expect(system.done).toEqual([]);
  });

  it.each([
    ["make plimsoll-server", "EROFS", "read-only"],
    [`write plimsoll-server/cgroup.procs ${process.pid}`, "EACCES", "its user may make none"],
    ["write cgroup.subtree_control +memory +pids", "EBUSY", "none could be made (EBUSY)"],
    ["make plimsoll-turns", "EAGAIN", "none could be made (EAGAIN)"],
    ["write plimsoll-turns/cgroup.subtree_control +memory +pids", "EPERM", "its user may make"],
    ["make plimsoll-turns/probe", "ENOSPC", "none could be made (ENOSPC)"],
    [
      `write plimsoll-turns/probe/memory.max ${192 * MIB + TEXT_ROOM_BYTES}`,
      "EINVAL",
      "none could be made (EINVAL)",
    ],
  ])("takes everything back when the system refuses to %s", async (refused, code, reason) => {
    using system = fakeCgroup2({
      refuse: (change) => {
        if (change === refused) throw refusal(code);
      },
    });
    await using containment = await detectIn(system);
    expect(containment.kind).toBe("guard");
    expect(containment.text).toContain(reason);
    expect(system.groups()).toEqual({});
    expect(system.read("", "cgroup.procs")).toBe(`${process.pid}`);
    expect(system.read("", "cgroup.subtree_control")).toBe("");
  });

  it("does without the pids controller, and says so", async () => {
    using system = fakeCgroup2({ controllers: "memory" });
    await using containment = await detectIn(system);
    expect(containment.kind).toBe("cgroup2");
    expect(containment.notes).toEqual([expect.stringContaining("pids controller")]);
    expect(containment.openGroup("turn-1", 512 * MIB)).not.toBeNull();
  });

  it("is no more than the guard where the memory controller is not handed down", async () => {
    using system = fakeCgroup2({ controllers: "cpu pids" });
    await using containment = await detectIn(system);
    expect(containment.text).toContain("this system has no memory control groups");
    expect(system.done).toEqual([]);
  });

  it("takes over what an earlier server has left there", async () => {
    using system = fakeCgroup2();
    for (const group of ["plimsoll-server", "plimsoll-turns", "plimsoll-turns/turn-of-before"]) {
      system.files.make(join(system.own, group));
    }
    await using containment = await detectIn(system);
    expect(containment.kind).toBe("cgroup2");
    expect(system.groups()).toEqual({ "plimsoll-server": `${process.pid}`, "plimsoll-turns": "" });
  });

  it.each(["guard", "cgroup2"])("names memory.oom.group with the %s", async (kind) => {
    using system = fakeCgroup2({ oomGroup: "1" });
    await using containment = await detectIn(system, { ownGroup: kind === "cgroup2" });
    expect(containment).toMatchObject({ kind, killsAll: true });
    expect(containment.text).toContain("as Kubernetes sets memory.oom.group");
    // One turn over its ceiling is not the replica at its limit.
    const group = containment.openGroup("turn-1", 512 * MIB);
    if (group !== null)
      expect(system.read("plimsoll-turns/turn-1", "memory.oom.group")).toMatch(/^0/);
  });
});

describe("a start that is expected", () => {
  const knock = `write plimsoll-server/cgroup.procs ${process.pid}`;
  const knocks = ({ done }: FakeCgroup2) => done.filter((change) => change === knock).length;

  it("takes the lock of all groups by moving the server to where it is, one at a time", async () => {
    using system = fakeCgroup2();
    await using containment = await detectIn(system);
    const before = knocks(system);
    containment.expectStart();
    containment.expectStart();
    expect(knocks(system)).toBe(before + 1);
    await until(() => {
      containment.expectStart();
      return knocks(system) === before + 2;
    }, "the lock to be let go");
    expect(system.groups()).toEqual({ "plimsoll-server": `${process.pid}`, "plimsoll-turns": "" });
  });

  it("goes on where that is refused, or there are no groups", async () => {
    let isRefused = false;
    using system = fakeCgroup2({
      refuse: (change) => {
        if (isRefused && change === knock) throw refusal("EACCES");
      },
    });
    await using containment = await detectIn(system);
    isRefused = true;
    containment.expectStart();
    await using none = await detectIn(system, { ownGroup: false });
    none.expectStart();
    expect(containment.openGroup("turn-1", 512 * MIB)).not.toBeNull();
  });
});

describe("detectContainment in cgroup v1", () => {
  const system1 = (more: Readonly<Record<string, string>> = {}) =>
    writeTree({
      "proc/self/mountinfo": mount1("memory", "/sys/fs/cgroup/memory"),
      "proc/self/cgroup": "4:memory:/\n",
      "sys/fs/cgroup/memory/memory.limit_in_bytes": `${2 ** 31}\n`,
      "sys/fs/cgroup/memory/memory.use_hierarchy": "1\n",
      "sys/fs/cgroup/memory/cgroup.procs": `1\n${process.pid}\n`,
      ...more,
    });

  it.each([
    ["memory.use_hierarchy", "0\n", "memory.use_hierarchy is off"],
    ["cgroup.procs", "1\n", "own group cannot be seen"],
    // A sandbox without a kernel behind its files: directories can be made, nothing is in them.
    ["cgroup.procs", `${process.pid}\n`, "none could be made (ENOENT)"],
  ])("refuses with %s of %j", async (name, text, reason) => {
    using system = system1({ [`sys/fs/cgroup/memory/${name}`]: text });
    await using containment = await detectIn({ root: system.root, files: KERNEL_FILES });
    expect(containment.kind).toBe("guard");
    expect(containment.text).toContain(reason);
    const left = readdirSync(join(system.root, "sys/fs/cgroup/memory"));
    expect(left.filter((each) => each.startsWith("plimsoll"))).toEqual([]);
  });

  it("does not trust a group that does not count what it kills", async () => {
    using system = system1();
    const files = { ...KERNEL_FILES, write: () => {} };
    await using containment = await detectIn({ root: system.root, files });
    expect(containment.text).toContain("does not count what it kills");
  });
});

const skipped = reasonForNoGroups1();

describe.skipIf(skipped !== null)(`real groups of v1${skipped ? `: ${skipped}` : ""}`, () => {
  const options = { ownGroup: true, serverId: `test-${randomUUID()}` };

  it("ends and removes what a killed server has left in its groups", async () => {
    const before = await detectContainment(options);
    expect(before.kind).toBe("cgroup1");
    const group = before.openGroup("turn-of-before", 512 * MIB);
    // Neither mark nor parent tell whose it is.
    const stray = spawn("sleep", ["1000"], { env: {} });
    expect(await group?.add(stray.pid ?? 0)).toBe(true);

    const ended = once(stray, "exit");
    const after = await detectContainment(options);
    await ended;
    expect(stray.signalCode).toBe("SIGKILL");
    expect(group?.oomKills).toBeNull();
    await after[Symbol.asyncDispose]();
    expect(existsSync(join(group?.directory ?? "", ".."))).toBe(false);
  });

  it("gives several servers in one group their own places", async () => {
    await using one = await detectContainment(options);
    await using other = await detectContainment({ ...options, serverId: `test-${randomUUID()}` });
    const [first, second] = [one, other].map((each) => each.openGroup("turn-1", 512 * MIB));
    expect(first?.directory).not.toBe(second?.directory);
    expect(first?.oomKills).toBe(0);
  });
});

describe("detectContainment", () => {
  it("tries nothing when it is switched off", async () => {
    using system = fakeCgroup2();
    await using containment = await detectIn(system, { ownGroup: false });
    expect(containment.text).toContain("agentProcess.ownGroup is off");
    expect(system.done).toEqual([]);
  });

  it("says so where there are no control groups", async () => {
    using system = writeTree({});
    await using containment = await detectIn({ root: system.root, files: KERNEL_FILES });
    expect(containment).toMatchObject({ kind: "guard", killsAll: false });
    expect(containment.text).toContain("this system has no memory control groups");
  });
});
