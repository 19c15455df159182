/**
 * `npm run check`: tells whether all is well. Every step runs, also after one that failed.
 *
 * `npm run check -- --fast` leaves out the tests, but for those of seconds that hold the
 * architecture, the documents and the public surface.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { ensureBuilt, ensureInstalled, ROOT } from "./installed.mjs";

const CODE = ["src", "console", "test", "bench", "scripts", "examples"];
const TSC = "node_modules/.bin/tsc";
const GUARDIANS = ["test/arch.test.ts", "test/index.test.ts", "test/docs"];
const isFast = process.argv.includes("--fast");

const steps = {
  format: ["node_modules/.bin/oxfmt", "--check", ...CODE],
  lint: ["node_modules/.bin/oxlint", "--type-aware", "--deny-warnings", ...CODE],
  types: [TSC, "--noEmit"],
  console: [TSC, "--noEmit", "-p", "console"],
  "its tests": [TSC, "--noEmit", "-p", "test/console"],
  size: [process.execPath, "scripts/console-size.mjs"],
  unused: ["node_modules/.bin/knip"],
  tests: isFast
    ? [process.execPath, "node_modules/vitest/vitest.mjs", "run", ...GUARDIANS]
    : [process.execPath, "scripts/test.mjs"],
};

ensureInstalled();
// The examples import the package by its name, and so its build.
ensureBuilt();
const results = Object.entries(steps).map(([name, command]) => run(name, command));
process.exitCode = results.every(Boolean) ? 0 : 1;

function run(name, [command, ...args]) {
  const beganAtMs = performance.now();
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: ROOT,
    encoding: "utf8",
    maxBuffer: 64 * 2 ** 20,
    env: { ...process.env, FORCE_COLOR: process.stdout.isTTY ? "1" : "0" },
  });
  const seconds = ((performance.now() - beganAtMs) / 1000).toFixed(1);
  console.log(`${name.padEnd(11)}${(status === 0 ? "ok" : "failed").padEnd(8)}${seconds} s`);
  if (status !== 0) console.log(`${stdout ?? ""}${stderr ?? ""}`);
  return status === 0;
}
