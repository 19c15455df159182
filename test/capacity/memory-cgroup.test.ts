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
const FILE_MIB = 200;

interface Reading {
  /** What `readMemoryUse` says. */
  readonly use: number;
  /** The kernel's own count, page cache included. */
  readonly usage: number;
}

interface Report {
  readonly limit: MemoryLimit;
  readonly idle: Reading;
  readonly cached: Reading;
  readonly holding: Reading;
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
  const args = [process.execPath, script, filePath, String(FILE_MIB), usageFile];
  const output = execFileSync("sh", ["-c", `${enter} && exec "$@"`, "sh", ...args], {
    encoding: "utf8",
    timeout: 25_000,
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
  it("readMemoryLimit finds the limit of an ancestor, readMemoryUse leaves out the page cache", () => {
    using group = new LimitedGroup();
    const directory = mkdtempSync(join(tmpdir(), "plimsoll-cache-"));
    try {
      const { limit, idle, cached, holding } = runInside(group, join(directory, "large"));

      expect(limit).toMatchObject({ bytes: GiB, kind: "cgroup1" });
      expect(limit.source).toContain(`memory.limit_in_bytes of /${group.name} (tightest of `);
      expect(limit.group?.directory).toBe(group.directory);

      // The cache was charged to the group: the kernel's count rose by the file, ours did not.
      expect(cached.usage - idle.usage).toBeGreaterThan(0.9 * FILE_MIB * MiB);
      expect(Math.abs(cached.use - idle.use)).toBeLessThan(10 * MiB);
      // What cannot be reclaimed is seen.
      expect(holding.use - cached.use).toBeGreaterThan(95 * MiB);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
