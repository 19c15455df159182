import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LimitWatch } from "../../src/capacity/limit-watch.ts";
import { type MemoryLimit, memoryLimitReader } from "../../src/capacity/memory-limit.ts";
import { mount2, writeTree } from "./system-tree.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function watched() {
  const told: [number, number][] = [];
  const system = { bytes: 2048 };
  const read = (): MemoryLimit => {
    return { bytes: system.bytes, source: "a test", kind: "physical", group: null, notes: [] };
  };
  const onRead = (limit: MemoryLimit, before: MemoryLimit) =>
    told.push([before.bytes, limit.bytes]);
  return { watch: new LimitWatch({ read, onRead }), system, told };
}

describe("LimitWatch", () => {
  it("hears of a replica that is resized within ten seconds, though nobody asks", () => {
    const { watch, system, told } = watched();
    using _watch = watch;
    system.bytes = 4096;
    vi.advanceTimersByTime(9_999);
    expect(watch.current.bytes).toBe(2048);
    vi.advanceTimersByTime(1);
    expect(told).toEqual([[2048, 4096]]);
    expect(watch.current.bytes).toBe(4096);
  });

  it("reads anew for who asks after the timer was held up", () => {
    const { watch, system, told } = watched();
    watch[Symbol.dispose]();
    system.bytes = 1024;
    vi.advanceTimersByTime(60_000);
    expect(told).toEqual([]);
    expect(watch.current.bytes).toBe(1024);
    expect(told).toEqual([[2048, 1024]]);
  });
});

describe("LimitWatch, of files that cannot be read", () => {
  const GiB = 2 ** 30;
  const MAX = "sys/fs/cgroup/app/memory.max";
  const PROC = {
    "proc/self/cgroup": "0::/app\n",
    "proc/self/mountinfo": mount2("/sys/fs/cgroup"),
  };

  function watchedTree(explicitBytes: number | null = null) {
    const tree = writeTree({ ...PROC, [MAX]: `${2 * GiB}\n` });
    const { root } = tree;
    const read = memoryLimitReader({ root, explicitBytes, totalMemoryBytes: 64 * GiB });
    const notes: string[] = [];
    const onRead = (limit: MemoryLimit, before: MemoryLimit) =>
      void notes.push(...limit.notes.filter((note) => !before.notes.includes(note)));
    const watch = new LimitWatch({ read, onRead });
    return {
      tree,
      notes,
      remove: (path: string) => rmSync(join(root, path), { recursive: true }),
      next: () => {
        vi.advanceTimersByTime(10_000);
        return watch.current;
      },
      [Symbol.dispose]: () => {
        watch[Symbol.dispose]();
        tree[Symbol.dispose]();
      },
    };
  }

  it("keeps the last limit while its file is gone, and follows it when it is back", () => {
    using system = watchedTree();
    system.remove(MAX);
    expect(system.next()).toMatchObject({ bytes: 2 * GiB, kind: "cgroup2" });
    expect(system.next().bytes).toBe(2 * GiB);
    const gone = system.notes.filter((note) => note.includes("memory.max"));
    expect(gone).toEqual(["cgroup v2 memory.max of /app is missing; its last value holds"]);
    system.tree.write({ [MAX]: `${3 * GiB}` });
    expect(system.next()).toMatchObject({ bytes: 3 * GiB, kind: "cgroup2" });
  });

  it("keeps it while the file cannot be read, and lifts it where the file says so", () => {
    using system = watchedTree();
    system.remove(MAX);
    // A directory in its place fails to be read for every user, also for root.
    mkdirSync(join(system.tree.root, MAX));
    expect(system.next().bytes).toBe(2 * GiB);
    const note = "cgroup v2 memory.max of /app cannot be read: EISDIR; its last value holds";
    expect(system.notes).toContain(note);
    system.remove(MAX);
    system.tree.write({ [MAX]: "max\n" });
    expect(system.next()).toMatchObject({ bytes: 64 * GiB, kind: "physical" });
  });

  it("keeps it while nothing at all can be read, as without descriptors", () => {
    using system = watchedTree();
    system.remove("proc");
    system.remove("sys");
    expect(system.next()).toMatchObject({ bytes: 2 * GiB, kind: "cgroup2" });
  });

  it("keeps the group whose use counts beside a setting", () => {
    using system = watchedTree(GiB);
    system.remove(MAX);
    const limit = system.next();
    expect(limit).toMatchObject({ bytes: GiB, kind: "setting" });
    expect(limit.group?.directory).toMatch(/app$/);
  });

  it("follows a process that was moved to another group", () => {
    using system = watchedTree();
    system.remove(MAX);
    const moved = { "proc/self/cgroup": "0::/other\n", "sys/fs/cgroup/other/memory.max": "max" };
    system.tree.write(moved);
    expect(system.next()).toMatchObject({ bytes: 64 * GiB, kind: "physical" });
  });
});
