/**
 * `npm run docs`: writes the generated parts of docs/ and schemas/ anew.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { ensureInstalled, ROOT } from "./installed.mjs";

ensureInstalled();
const vitest = ["node_modules/vitest/vitest.mjs", "run", "test/docs"];
const env = { ...process.env, UPDATE: "1" };
const { status } = spawnSync(process.execPath, vitest, { cwd: ROOT, env, stdio: "inherit" });
process.exitCode = status ?? 1;
