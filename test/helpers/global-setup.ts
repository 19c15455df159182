/**
 * Builds the package when it is older than its sources: some tests start the built program, as an
 * operator does. Others start programs of the sources, which jiti translates and remembers: without
 * that the first test to start the thread of the memory guard waits seconds for it.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const ROOT = join(import.meta.dirname, "..", "..");

/** What the programs of the sources import; jiti remembers all that these import in turn. */
const STARTED_BY_TESTS = [
  "agent-process/memory-guard-thread.ts",
  "agent-process/registry.ts",
  "agent-process/spawn.ts",
  "agent-process/delegation.ts",
  "capacity/memory-limit.ts",
  "session/data-directory.ts",
  "session/stores/open-object-store.ts",
];

/** To come without it is slower, and no more. */
const TRANSLATE_WITHIN_MS = 120_000;

export default function prepare(): void {
  buildIfStale();
  translateSources();
}

function buildIfStale(): void {
  const built = statSync(join(ROOT, "build", "main.js"), { throwIfNoEntry: false });
  if (built !== undefined && built.mtimeMs > newestSourceMs()) return;
  const tsc = join(ROOT, "node_modules", "typescript", "bin", "tsc");
  // It also writes what does not type-check; to say so is the part of `npm run check`.
  spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], { cwd: ROOT, stdio: "ignore" });
}

function translateSources(): void {
  // The thread finds that it is none, and throws, when all that it imports is there.
  const program = "for (const url of process.argv.slice(1)) await import(url).catch(() => {});";
  const urls = STARTED_BY_TESTS.map((name) => pathToFileURL(join(ROOT, "src", name)).href);
  const node = ["--import", "jiti/register", "--input-type=module", "--eval", program];
  spawnSync(process.execPath, [...node, ...urls], {
    cwd: ROOT,
    stdio: "ignore",
    timeout: TRANSLATE_WITHIN_MS,
    killSignal: "SIGKILL",
  });
}

function newestSourceMs(): number {
  const names = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" });
  const times = names.map((name) => statSync(join(ROOT, "src", name)).mtimeMs);
  return Math.max(...times, statSync(join(ROOT, "tsconfig.build.json")).mtimeMs);
}
