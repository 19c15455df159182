import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { MemoryLimit } from "../../src/capacity/memory-limit.ts";

const MiB = 2 ** 20;
const GiB = 2 ** 30;
const MEMORY_HIERARCHY = "/sys/fs/cgroup/memory";
const TMPFS_MAGIC = 0x01021994;
/** More than fits: what is cached is dropped for the rest. */
const FILE_MIB = 2_048;
const FILE_COUNT = 20_000;

interface Reading {
  /** What `MemoryMeter` says. */
  readonly use: number;
  /** The kernel's own count, page cache included. */
  readonly usage: number;
}

interface Report {
  readonly limit: MemoryLimit;
  readonly idle: Reading;
  readonly cached: Reading;
  /** After many small files. */
  readonly littered: Reading;
  readonly holding: Reading;
  /** Of many readings while it took and gave back: the most that one said too little. */
  readonly worstLagBytes: number;
}

/** A group with a limit of 1 GiB and a child without one; removed when disposed. */
class LimitedGroup implements Disposable {
  readonly name = `plimsoll-test-${process.pid}`;
  readonly directory = join(MEMORY_HIERARCHY, this.name);

  constructor() {
    mkdirSync(join(this.directory, "app"), { recursive: true });
    writeFileSync(join(this.directory, "memory.limit_in_bytes"), String(GiB));
  }

  [Symbol.dispose](): void {
    rmdirSync(join(this.directory, "app"));
    rmdirSync(this.directory);
  }
}

/** Runs the child script in the unlimited group below the limited one. */
function runInside(group: LimitedGroup, filePath: string): Report {
  const script = join(import.meta.dirname, "read-memory.child.mjs");
  const enter = `echo $$ > ${join(group.directory, "app/cgroup.procs")}`;
  const usageFile = join(group.directory, "memory.usage_in_bytes");
  const sizes = [String(FILE_MIB), String(FILE_COUNT)];
  const args = [process.execPath, "--expose-gc", script, filePath, ...sizes, usageFile];
  const output = execFileSync("sh", ["-c", `${enter} && exec "$@"`, "sh", ...args], {
    encoding: "utf8",
    timeout: 150_000,
  });
  const report: Report = JSON.parse(output);
  return report;
}

/** Null where the test can run. */
function reasonToSkip(): string | null {
  if (process.platform !== "linux") return "needs Linux";
  if (statfsSync(tmpdir()).type === TMPFS_MAGIC) return "the temporary directory is in memory";
  try {
    using _group = new LimitedGroup();
    return null;
  } catch {
    return `cannot make groups in ${MEMORY_HIERARCHY}`;
  }
}

const skipped = reasonToSkip();

describe.skipIf(skipped !== null)(`in a real cgroup v1${skipped ? `: ${skipped}` : ""}`, () => {
  it("readMemoryLimit finds the limit of an ancestor, MemoryMeter leaves out the page cache", () => {
    using group = new LimitedGroup();
    const directory = mkdtempSync(join(tmpdir(), "plimsoll-cache-"));
    try {
      const { limit, idle, cached, littered, holding, worstLagBytes } = runInside(
        group,
        join(directory, "large"),
      );

      expect(limit).toMatchObject({ bytes: GiB, kind: "cgroup1" });
      expect(limit.source).toContain(`memory.limit_in_bytes of /${group.name} (tightest of `);
      expect(limit.group?.directory).toBe(group.directory);

      // The cache fills the group by the kernel's count, and nothing of it by ours.
      expect(cached.usage).toBeGreaterThan(0.9 * GiB);
      expect(Math.abs(cached.use - idle.use)).toBeLessThan(10 * MiB);
      // 20,000 inodes and names are 28 MiB.
      expect(Math.abs(littered.use - idle.use)).toBeLessThan(16 * MiB);
      // What cannot be reclaimed is seen.
      expect(holding.use - littered.use).toBeGreaterThan(95 * MiB);
      expect(worstLagBytes).toBeLessThan(8 * MiB);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
