/**
 * `npm run bench` lists the benchmarks; `npm run bench -- NAME` runs one, on a clean clone too.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { ensureBuilt, ensureInstalled, ROOT } from "./installed.mjs";

ensureInstalled();
ensureBuilt();

const args = ["--import", "jiti/register", "bench/run.ts", ...process.argv.slice(2)];
const child = spawn(process.execPath, args, { cwd: ROOT, stdio: "inherit" });
// The child ends what it has started; a terminal's Ctrl-C reaches it by itself.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => child.kill("SIGTERM"));
child.once("exit", (code) => {
  process.exitCode = code ?? 70;
});
