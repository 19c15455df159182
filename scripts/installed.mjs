/**
 * Makes a clone ready to run: dependencies installed, TypeScript compiled and the console bundled, each only when it is
 * not so already. Uses nothing but Node, because nothing else may be there yet.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { lstatSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

const BUILDS = [
  {
    sources: ["src", "package.json", "tsconfig.json", "tsconfig.build.json"],
    command: ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"],
    built: "build/main.js",
  },
  {
    sources: ["console", "package.json"],
    command: ["node_modules/vite/bin/vite.js", "build", "console", "--logLevel", "warn"],
    built: "build/console/index.html",
  },
];

/** Says on one line what is needed, and ends the process, if this Node is too old. */
export function requireNode() {
  const [least] = packageFile().engines.node.match(/\d+\.\d+/);
  const wanted = least.split(".").map(Number);
  const present = process.versions.node.split(".").map(Number);
  const isEnough = present[0] > wanted[0] || (present[0] === wanted[0] && present[1] >= wanted[1]);
  if (isEnough) return;
  console.error(`Node ${least} or newer is needed, this is ${process.versions.node}`);
  process.exit(69);
}

/** Runs `npm ci` unless what is installed is what package-lock.json names. */
export function ensureInstalled() {
  requireNode();
  // What a link leads to belongs to another clone: npm would empty it.
  if (isLink("node_modules")) return;
  // npm writes its own record at the end of an install; one without compiler is not for building.
  const installed = modifiedMs("node_modules/.package-lock.json");
  if (hasCompiler() && installed >= modifiedMs("package-lock.json")) return;
  console.error("Installing…");
  const npm = process.env.npm_execpath;
  // Without the compiler nothing can be built: NODE_ENV=production would leave it out.
  const flags = ["ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"];
  // Under `npm start` the npm that runs us is the one to use; else the one of the PATH.
  if (npm?.endsWith(".js")) run(process.execPath, [npm, ...flags]);
  else run("npm", flags);
}

/** False after an install that left out what is needed for development. */
export function hasCompiler() {
  return modifiedMs("node_modules/typescript/package.json") > 0;
}

/** Compiles src/ and console/ into build/, each unless what is built of it is newer. */
export function ensureBuilt() {
  for (const { sources, command, built } of BUILDS) {
    const newest = Math.max(...sources.map((path) => newestMs(path)));
    if (modifiedMs(built) > newest) continue;
    console.error(`Building ${built}…`);
    // A build with errors is no build: the next run must try again.
    run(process.execPath, command, () => rmSync(join(ROOT, built), { force: true }));
  }
}

/** Runs a step to its end, its output shown; ends the process if the step fails. */
function run(command, args, onFailure = () => {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: ROOT,
    stdio: ["ignore", 2, 2],
    // npm is a script on Windows.
    shell: process.platform === "win32" && command === "npm",
  });
  if (status === 0) return;
  onFailure();
  console.error(error === undefined ? `${command} failed` : `${command}: ${error.message}`);
  process.exit(status || 69);
}

function packageFile() {
  return JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
}

function isLink(path) {
  return lstatSync(join(ROOT, path), { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
}

/** 0 for what is not there. */
function modifiedMs(path) {
  return statSync(join(ROOT, path), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** Of a file, or of a directory with all that is in it: what was removed changes its directory. */
function newestMs(path) {
  const entries = statSync(join(ROOT, path)).isDirectory()
    ? readdirSync(join(ROOT, path)).map((name) => newestMs(join(path, name)))
    : [];
  return Math.max(modifiedMs(path), ...entries);
}
