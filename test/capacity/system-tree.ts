import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** A directory that stands for `/`, with real files in it; gone when disposed. */
export interface SystemTree extends Disposable {
  readonly root: string;
  /** Writes more files, over those that are there. */
  write(files: Readonly<Record<string, string>>): void;
}

/** Writes the files (path below the root to text) into a new directory. */
export function writeTree(files: Readonly<Record<string, string>>): SystemTree {
  const root = mkdtempSync(join(tmpdir(), "plimsoll-tree-"));
  const write = (more: typeof files): void => {
    for (const [path, text] of Object.entries(more)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
  };
  write(files);
  return { root, write, [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }) };
}

/** A line of mountinfo for cgroup v2. */
export function mount2(mountPoint: string, topGroup = "/"): string {
  return `41 31 0:38 ${topGroup} ${mountPoint} ro,nosuid - cgroup2 cgroup2 rw,nsdelegate\n`;
}

/** A line of mountinfo for one controller of cgroup v1. */
export function mount1(controller: string, mountPoint: string, topGroup = "/"): string {
  return `35 31 0:32 ${topGroup} ${mountPoint} rw,relatime - cgroup cgroup rw,${controller}\n`;
}
