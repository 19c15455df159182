/**
 * Builds the package when it is older than its sources: some tests start the built program, as an
 * operator does.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..", "..");

export default function buildIfStale(): void {
  const built = statSync(join(ROOT, "build", "main.js"), { throwIfNoEntry: false });
  if (built !== undefined && built.mtimeMs > newestSourceMs()) return;
  const tsc = join(ROOT, "node_modules", "typescript", "bin", "tsc");
  // It also writes what does not type-check; to say so is the part of `npm run check`.
  spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], { cwd: ROOT, stdio: "ignore" });
}

function newestSourceMs(): number {
  const names = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" });
  const times = names.map((name) => statSync(join(ROOT, "src", name)).mtimeMs);
  return Math.max(...times, statSync(join(ROOT, "tsconfig.build.json")).mtimeMs);
}
