import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { memoryLimitReader, readMemoryLimit } from "../../src/capacity/memory-limit.ts";
import { MemoryMeter } from "../../src/capacity/memory-reading.ts";
import { mount1, mount2, writeTree } from "./system-tree.ts";

const MiB = 2 ** 20;
const GiB = 2 ** 30;
const TOTAL = 64 * GiB;
/** What v1 says when there is no limit: 2^63 less a page of 4 KiB. */
const SENTINEL_V1 = "9223372036854771712\n";

function limitOf(files: Readonly<Record<string, string>>, explicitBytes: number | null = null) {
  using tree = writeTree(files);
  return readMemoryLimit({ root: tree.root, explicitBytes, totalMemoryBytes: TOTAL });
}

/** A container of cgroup v2 with a private namespace: its files are at the mount point. */
function privateV2(files: Readonly<Record<string, string>>): Record<string, string> {
  const tree: Record<string, string> = {
    "proc/self/cgroup": "0::/\n",
    "proc/self/mountinfo": mount2("/sys/fs/cgroup"),
  };
  for (const [name, text] of Object.entries(files)) tree[`sys/fs/cgroup/${name}`] = text;
  return tree;
}

describe("readMemoryLimit, cgroup v2", () => {
  it("reads memory.max at the mount point of a private namespace", () => {
    const limit = limitOf(privateV2({ "memory.max": `${2 * GiB}\n`, "memory.high": "max\n" }));
    expect(limit).toMatchObject({ bytes: 2 * GiB, kind: "cgroup2", notes: [] });
    expect(limit.source).toBe("cgroup v2 memory.max of / (tightest of 2)");
    expect(limit.group?.directory).toMatch(/\/sys\/fs\/cgroup$/);
  });

  it("takes memory.high where it is the tighter one", () => {
    const limit = limitOf(privateV2({ "memory.max": `${2 * GiB}`, "memory.high": `${GiB}` }));
    expect(limit.bytes).toBe(GiB);
    expect(limit.source).toBe("cgroup v2 memory.high of / (tightest of 3)");
  });

  it("finds the own group in the view of the host, and the tightest of its ancestors", () => {
    const limit = limitOf({
      "proc/self/cgroup": "0::/kubepods/pod1/app\n",
      "proc/self/mountinfo": mount2("/sys/fs/cgroup"),
      "sys/fs/cgroup/kubepods/pod1/app/memory.max": `${4 * GiB}`,
      "sys/fs/cgroup/kubepods/pod1/app/memory.high": "max",
      "sys/fs/cgroup/kubepods/pod1/memory.max": `${3 * GiB}`,
      "sys/fs/cgroup/kubepods/pod1/memory.high": "max",
      "sys/fs/cgroup/kubepods/memory.max": "max",
      "sys/fs/cgroup/kubepods/memory.high": "max",
    });
    expect(limit.bytes).toBe(3 * GiB);
    expect(limit.source).toBe("cgroup v2 memory.max of /kubepods/pod1 (tightest of 3)");
    expect(limit.group?.directory).toMatch(/kubepods\/pod1$/);
    expect(limit.notes).toEqual([]);
  });

  it("reads a bind-mounted group: the mount shows it, not the root of the hierarchy", () => {
    const limit = limitOf({
      "proc/self/cgroup": "0::/system.slice/docker-1f.scope\n",
      "proc/self/mountinfo": mount2("/sys/fs/cgroup", "/system.slice/docker-1f.scope"),
      "sys/fs/cgroup/memory.max": `${GiB}`,
      "sys/fs/cgroup/memory.high": "max",
    });
    expect(limit.bytes).toBe(GiB);
    expect(limit.source).toContain("of /system.slice/docker-1f.scope");
  });

  it("falls back to the mount point where the own path is outside of what is mounted", () => {
    const limit = limitOf({
      "proc/self/cgroup": "0::/../../other\n",
      "proc/self/mountinfo": mount2("/sys/fs/cgroup"),
      "sys/fs/cgroup/memory.max": `${GiB}`,
    });
    expect(limit.bytes).toBe(GiB);
  });

  it("uses the customary mount point where mountinfo says nothing", () => {
    expect(limitOf({ "sys/fs/cgroup/memory.max": `${GiB}` }).bytes).toBe(GiB);
  });

  it("understands a mount point with a space in it", () => {
    const limit = limitOf({
      "proc/self/cgroup": "0::/\n",
      "proc/self/mountinfo": mount2("/sys/fs/c\\040group"),
      "sys/fs/c group/memory.max": `${GiB}`,
    });
    expect(limit.bytes).toBe(GiB);
  });
});

describe("readMemoryLimit, cgroup v1", () => {
  it("reads memory.limit_in_bytes of the own group", () => {
    const limit = limitOf({
      "proc/self/cgroup": "4:memory:/docker/1f\n1:cpu,cpuacct:/docker/1f\n",
      "proc/self/mountinfo": mount1("memory", "/sys/fs/cgroup/memory"),
      "sys/fs/cgroup/memory/docker/1f/memory.limit_in_bytes": `${GiB}\n`,
      "sys/fs/cgroup/memory/docker/memory.limit_in_bytes": SENTINEL_V1,
      "sys/fs/cgroup/memory/memory.limit_in_bytes": SENTINEL_V1,
    });
    expect(limit).toMatchObject({ bytes: GiB, kind: "cgroup1", notes: [] });
    expect(limit.source).toBe("cgroup v1 memory.limit_in_bytes of /docker/1f (tightest of 2)");
  });

  it("reads the limit of an ancestor", () => {
    const limit = limitOf({
      "proc/self/cgroup": "4:memory:/kubepods/pod1/app\n",
      "proc/self/mountinfo": mount1("memory", "/sys/fs/cgroup/memory"),
      "sys/fs/cgroup/memory/kubepods/pod1/app/memory.limit_in_bytes": `${3 * GiB}`,
      "sys/fs/cgroup/memory/kubepods/pod1/memory.limit_in_bytes": `${2 * GiB}`,
      "sys/fs/cgroup/memory/kubepods/memory.limit_in_bytes": SENTINEL_V1,
    });
    expect(limit.bytes).toBe(2 * GiB);
    expect(limit.source).toContain("of /kubepods/pod1 ");
  });

  it("reads a bind-mounted group at its mount point, as Docker shows it", () => {
    const limit = limitOf({
      "proc/self/cgroup": "4:memory:/docker/1f\n",
      "proc/self/mountinfo": mount1("memory", "/sys/fs/cgroup/memory", "/docker/1f"),
      "sys/fs/cgroup/memory/memory.limit_in_bytes": `${GiB}`,
    });
    expect(limit.bytes).toBe(GiB);
  });

  it("takes the limit of a Fargate task from hierarchical_memory_limit", () => {
    const limit = limitOf({
      "proc/self/cgroup": "4:memory:/ecs/task/app\n",
      "proc/self/mountinfo": mount1("memory", "/sys/fs/cgroup/memory", "/ecs/task/app"),
      "sys/fs/cgroup/memory/memory.limit_in_bytes": SENTINEL_V1,
      "sys/fs/cgroup/memory/memory.stat": `cache 0\nhierarchical_memory_limit ${512 * MiB}\nhierarchical_memsw_limit 9223372036854771712\n`,
    });
    expect(limit.bytes).toBe(512 * MiB);
    expect(limit.source).toContain("cgroup v1 hierarchical_memory_limit of /ecs/task/app");
  });
});

describe("readMemoryLimit, hybrid", () => {
  const hybrid = {
    "proc/self/cgroup": "4:memory:/app\n1:name=systemd:/\n0::/app\n",
    "proc/self/mountinfo":
      mount1("memory", "/sys/fs/cgroup/memory") + mount2("/sys/fs/cgroup/unified"),
    "sys/fs/cgroup/memory/app/memory.limit_in_bytes": `${2 * GiB}`,
    "sys/fs/cgroup/unified/app/cgroup.procs": "1\n",
  };

  it("reads v1 where the v2 tree has no memory controller", () => {
    const limit = limitOf(hybrid);
    expect(limit).toMatchObject({ bytes: 2 * GiB, kind: "cgroup1" });
    expect(limit.notes).toContain("cgroup v2 has no memory limits to read");
  });

  it("takes the tighter one where both have", () => {
    const both = { ...hybrid, "sys/fs/cgroup/unified/app/memory.max": `${GiB}` };
    expect(limitOf(both)).toMatchObject({ bytes: GiB, kind: "cgroup2" });
  });
});

describe("readMemoryLimit, no limit", () => {
  it("is the memory of the machine, never a made-up figure, where there are no control groups", () => {
    const limit = limitOf({});
    expect(limit).toMatchObject({ bytes: TOTAL, kind: "physical", source: "physical memory" });
    expect(limit.group).toBeNull();
  });

  it.each([
    ["max", []],
    ["-1", []],
    ["0", []],
    [SENTINEL_V1, []],
    ["1125899906842624", []], // 2^50
    ["99999999999999999999999999", []],
    ["", ["cgroup v2 memory.max of / is not understood"]],
    ["  \n", ["cgroup v2 memory.max of / is not understood"]],
    ["2G", ["cgroup v2 memory.max of / is not understood"]],
    ["-5", ["cgroup v2 memory.max of / is not understood"]],
    ["0x400", ["cgroup v2 memory.max of / is not understood"]],
  ])("takes memory.max = %j for none", (text, notes) => {
    expect(limitOf(privateV2({ "memory.max": text }))).toMatchObject({
      bytes: TOTAL,
      kind: "physical",
      notes,
    });
  });

  it("is the memory of the machine where the group is allowed more", () => {
    const limit = limitOf(privateV2({ "memory.max": `${2 * TOTAL}` }));
    expect(limit.source).toBe("physical memory (tightest of 2)");
  });

  it("is what the machine has at each reading, and as it was where nothing is told", () => {
    using tree = writeTree({});
    const read = memoryLimitReader({
      root: tree.root,
      explicitBytes: null,
      totalMemoryBytes: TOTAL,
    });
    const bytesWith = (meminfo: string) => {
      tree.write({ "proc/meminfo": meminfo });
      return read().bytes;
    };
    expect(read().bytes).toBe(TOTAL);
    expect(bytesWith("MemTotal: 16777216 kB\n")).toBe(16 * GiB);
    const left = "MemTotal: 8388608 kB\nMemAvailable: 204800 kB\n";
    expect(bytesWith(left), "8 GiB were taken away").toBe(8 * GiB);
    const use = new MemoryMeter(tree.root).read(read());
    expect(read().bytes - use.bytes, "what is available").toBe(200 * MiB);
    expect(bytesWith("MemTotal: 33554432 kB\n"), "and 24 given").toBe(32 * GiB);
    expect(bytesWith("MemTotal: 0 kB\n")).toBe(TOTAL);
  });

  it("notes a file that cannot be read, and goes on to the others", () => {
    using tree = writeTree({
      "proc/self/cgroup": "0::/app\n",
      "proc/self/mountinfo": mount2("/sys/fs/cgroup"),
      "sys/fs/cgroup/app/memory.high": `${GiB}`,
    });
    // A directory in its place fails to be read for every user, also for root.
    mkdirSync(join(tree.root, "sys/fs/cgroup/app/memory.max"));
    const limit = readMemoryLimit({
      root: tree.root,
      explicitBytes: null,
      totalMemoryBytes: TOTAL,
    });
    expect(limit.bytes).toBe(GiB);
    expect(limit.notes).toEqual(["cgroup v2 memory.max of /app cannot be read: EISDIR"]);
  });

  it("notes a group that has vanished, and reads its ancestors", () => {
    const limit = limitOf({
      "proc/self/cgroup": "4:memory:/pod/gone\n",
      "proc/self/mountinfo": mount1("memory", "/sys/fs/cgroup/memory"),
      "sys/fs/cgroup/memory/pod/memory.limit_in_bytes": `${GiB}`,
    });
    expect(limit.bytes).toBe(GiB);
    expect(limit.notes).toEqual(["cgroup v1 memory.limit_in_bytes of /pod/gone is missing"]);
  });
});

describe("readMemoryLimit, with the setting", () => {
  it("prefers the setting where that is tighter", () => {
    const limit = limitOf(privateV2({ "memory.max": `${4 * GiB}` }), 2 * GiB);
    expect(limit).toMatchObject({ bytes: 2 * GiB, kind: "setting", notes: [] });
    expect(limit.source).toBe("setting capacity.memoryLimit");
    expect(limit.group?.version).toBe("cgroup2");
  });

  it("notes that the system allows less, and keeps to that", () => {
    const limit = limitOf(privateV2({ "memory.max": `${GiB}` }), 2 * GiB);
    expect(limit).toMatchObject({ bytes: GiB, kind: "cgroup2" });
    expect(limit.notes).toEqual([
      `capacity.memoryLimit is above the ${GiB} bytes of cgroup v2 memory.max of /, which hold`,
    ]);
  });
});
