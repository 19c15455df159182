/**
 * Real tiny file systems, where this process may mount them.
 *
 * @module
 */

import { execFileSync } from "node:child_process";

/** @returns False where mounting is not allowed. */
export function mountTmpfs(path: string, options: string): boolean {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", path], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

export function unmount(path: string): void {
  execFileSync("umount", ["-l", path]);
}
