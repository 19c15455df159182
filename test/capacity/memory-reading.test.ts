import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MemoryMeter } from "../../src/capacity/memory-reading.ts";
import { writeTree } from "./system-tree.ts";

const MiB = 2 ** 20;

/** Two readings by one meter, with other files in between. */
function usesOf(
  version: "cgroup2" | "cgroup1",
  first: Readonly<Record<string, string>>,
  then: Readonly<Record<string, string>> = first,
) {
  using tree = writeTree(first);
  const meter = new MemoryMeter(tree.root);
  const group = { version, directory: join(tree.root, "group") };
  const limit = { bytes: 1024 * MiB, kind: version, group };
  const before = meter.read(limit);
  tree.write(then);
  return [before, meter.read(limit)] as const;
}

function useOf(files: Readonly<Record<string, string>>, version: "cgroup2" | "cgroup1") {
  return usesOf(version, files)[0];
}

const NO_GROUP = { bytes: 1024 * MiB, group: null };

describe("MemoryMeter", () => {
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
    const tasks = {
      "group/cgroup.procs": "1\n2\n",
      "group/tasks": "1\n2\n",
      "group/turn/cgroup.procs": "3\n4\n",
      "group/turn/tasks": "3\n4\n5\n6\n",
    };
    // Four processes with 128 KiB, six threads with 32, and page tables for what is mapped.
    const keptBytes = (4 / 8 + 6 / 32 + 1) * MiB;
    expect(useOf({ ...group, ...tasks }, "cgroup1").bytes).toBe(128 * MiB + keptBytes);
    // Where nobody tells of tasks all of it counts.
    expect(useOf(group, "cgroup1").bytes).toBe(328 * MiB);
  });

  it("counts what the kernel's part grows by as kept, until the tasks are counted again", () => {
    const files = (kernelBytes: number, tasks: string) => ({
      "group/memory.stat": "total_rss 0\ntotal_shmem 0\n",
      "group/memory.kmem.usage_in_bytes": String(kernelBytes),
      "group/cgroup.procs": tasks,
    });
    const first = files(100 * MiB, "1\n");
    const grown = usesOf("cgroup1", first, files(101 * MiB, "1\n"));
    expect(grown[0].bytes).toBe(MiB / 8);
    expect(grown[1].bytes).toBe(MiB / 8 + MiB);
    const counted = usesOf("cgroup1", first, files(150 * MiB, "1\n".repeat(8)));
    expect(counted[1].bytes).toBe(MiB);
  });

  it("asks the groups below one by one where the sum of v1 lags behind the charge", () => {
    const files = (chargedMiB: number) => ({
      "group/memory.usage_in_bytes": String(chargedMiB * MiB),
      "group/memory.kmem.usage_in_bytes": "0",
      "group/memory.stat": `rss ${5 * MiB}\nshmem 0\ntotal_rss ${20 * MiB}\ntotal_shmem 0\ntotal_cache ${300 * MiB}\n`,
      "group/app/memory.stat": `rss ${30 * MiB}\nshmem ${MiB}\nswap ${MiB}\ntotal_rss ${99 * MiB}\n`,
      "group/app/turn/memory.stat": `rss ${40 * MiB}\nshmem 0\n`,
    });
    expect(useOf(files(320), "cgroup1").bytes).toBe(20 * MiB);
    expect(useOf(files(390), "cgroup1").bytes).toBe(77 * MiB);
    // A full group may exchange cache for other memory, and the charge says nothing.
    const full = { ...files(1000), "group/memory.kmem.usage_in_bytes": String(680 * MiB) };
    expect(useOf(full, "cgroup1").bytes).toBe((77 + 680) * MiB);
  });

  it("asks the groups below one by one where the sum of v2 lags behind the charge", () => {
    const stat = (anonMiB: number, fileMiB: number) =>
      `anon ${anonMiB * MiB}\nfile ${fileMiB * MiB}\nkernel ${MiB}\nsock 0\n` +
      `active_file 0\ninactive_file ${fileMiB * MiB}\nslab_reclaimable 0\n`;
    const files = (chargedMiB: number) => ({
      "group/memory.current": String(chargedMiB * MiB),
      "group/memory.stat": stat(20, 79),
      // An inner group, whose processes are in the groups below it.
      "group/turns/memory.current": String(200 * MiB),
      "group/turns/memory.stat": stat(199, 0),
      "group/turns/a/memory.current": String(60 * MiB),
      "group/turns/a/memory.stat": stat(49, 10),
      "group/server/memory.current": String(40 * MiB),
      "group/server/memory.stat": stat(19, 20),
    });
    expect(useOf(files(100), "cgroup2").bytes).toBe(21 * MiB);
    expect(useOf(files(120), "cgroup2").bytes).toBe(70 * MiB);
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
    const use = new MemoryMeter(tree.root).read({ ...NO_GROUP, kind: "physical" });
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
    const use = new MemoryMeter(tree.root).read({ ...NO_GROUP, kind: "physical" });
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
    const use = new MemoryMeter(tree.root).read({ ...NO_GROUP, kind: "setting" });
    expect(use.source).toBe("rss of this process alone");
    expect(use.bytes).toBeGreaterThan(10 * MiB);
  });
});
