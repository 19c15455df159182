import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readMemoryUse } from "../../src/capacity/memory-reading.ts";
import { writeTree } from "./system-tree.ts";

const MiB = 2 ** 20;

function useOf(files: Readonly<Record<string, string>>, version: "cgroup2" | "cgroup1") {
  using tree = writeTree(files);
  const directory = join(tree.root, "group");
  return readMemoryUse({
    root: tree.root,
    limit: { kind: version, group: { version, directory } },
  });
}

describe("readMemoryUse", () => {
  it("leaves out page cache and reclaimable slab of cgroup v2, at usage = limit too", () => {
    const use = useOf(
      {
        "group/memory.current": `${700 * MiB}\n`,
        "group/memory.stat": [
          `anon ${480 * MiB}`,
          `file ${200 * MiB}`,
          `shmem ${2 * MiB}`,
          `inactive_anon ${400 * MiB}`,
          `active_file ${90 * MiB}`,
          `inactive_file ${108 * MiB}`,
          `slab_reclaimable ${10 * MiB}`,
        ].join("\n"),
      },
      "cgroup2",
    );
    expect(use.bytes).toBe(492 * MiB);
    expect(use.source).toContain("cgroup v2");
  });

  it("is never negative, since the two files of v2 are read one after the other", () => {
    const stat = "active_file 5\ninactive_file 6\nslab_reclaimable 7\n";
    const use = useOf({ "group/memory.current": "10", "group/memory.stat": stat }, "cgroup2");
    expect(use.bytes).toBe(0);
  });

  it("adds rss, shared memory and the kernel's part of cgroup v1, over the whole subtree", () => {
    const use = useOf(
      {
        "group/memory.stat":
          "cache 900\nrss 1\nshmem 2\ntotal_cache 900\ntotal_rss 100\ntotal_shmem 20\n",
        "group/memory.kmem.usage_in_bytes": "3\n",
      },
      "cgroup1",
    );
    expect(use).toMatchObject({
      bytes: 123,
      covers: "group",
      source: "cgroup v1: rss, shmem, swap and kernel",
    });
  });

  it("counts no more of the kernel's part of v1 than processes can keep", () => {
    const group = {
      "group/memory.stat": `total_rss ${128 * MiB}\ntotal_shmem 0\n`,
      "group/memory.kmem.usage_in_bytes": `${200 * MiB}\n`,
    };
    const loadavg = { "proc/loadavg": "0.23 0.81 0.89 2/80 10444\n" };
    expect(useOf({ ...group, ...loadavg }, "cgroup1").bytes).toBe((128 + 80 / 16 + 1) * MiB);
    // A sandbox that has no tasks to tell of: then all of it counts.
    expect(useOf(group, "cgroup1").bytes).toBe(328 * MiB);
    expect(useOf({ ...group, "proc/loadavg": "0.00 0.00 0.00 0/0 0\n" }, "cgroup1").bytes).toBe(
      328 * MiB,
    );
  });

  it("counts what is in swap as if it were in memory, and only once", () => {
    const stat = "active_file 10\ninactive_file 0\nslab_reclaimable 0\n";
    const group2 = {
      "group/memory.current": "110",
      "group/memory.stat": stat,
      "group/memory.swap.current": "40\n",
    };
    expect(useOf(group2, "cgroup2").bytes).toBe(140);
    const group1 = "total_rss 100\ntotal_shmem 20\ntotal_swap 7\ntotal_swapcached 3\n";
    expect(useOf({ "group/memory.stat": group1 }, "cgroup1").bytes).toBe(127);
  });

  it("leaves out the swap of a machine, which is mostly of others", () => {
    using tree = writeTree({
      "proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 700 kB\nSwapTotal: 9 kB\nSwapFree: 1 kB\n",
    });
    const use = readMemoryUse({ root: tree.root, limit: { kind: "physical", group: null } });
    expect(use.bytes).toBe(300 * 1024);
  });

  it("does without the kernel's part where v1 does not keep it", () => {
    const use = useOf({ "group/memory.stat": "total_rss 100\ntotal_shmem 20\n" }, "cgroup1");
    expect(use.bytes).toBe(120);
  });

  it("reads the machine where physical memory is the limit", () => {
    using tree = writeTree({
      "proc/meminfo": "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    700 kB\n",
    });
    const use = readMemoryUse({ root: tree.root, limit: { kind: "physical", group: null } });
    expect(use).toMatchObject({
      bytes: 300 * 1024,
      covers: "machine",
      source: "machine: total less available",
    });
  });

  it("falls back to this process where the files of the group have no split", () => {
    const use = useOf(
      {
        "group/memory.stat": "cache 900\n",
        "proc/self/status":
          "Name:\tnode\nRssAnon:\t   40 kB\nRssFile:\t 90 kB\nRssShmem:\t  2 kB\n",
      },
      "cgroup1",
    );
    expect(use).toEqual({
      bytes: 42 * 1024,
      covers: "process",
      source: "this process alone, without file pages",
    });
  });

  it("has an answer where there is no /proc at all", () => {
    using tree = writeTree({});
    const use = readMemoryUse({ root: tree.root, limit: { kind: "setting", group: null } });
    expect(use.source).toBe("rss of this process alone");
    expect(use.bytes).toBeGreaterThan(10 * MiB);
  });
});
