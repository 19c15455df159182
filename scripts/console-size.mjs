/**
 * Weighs the console as browsers load it, gzipped, and fails if all of it together is too heavy.
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { ROOT } from "./installed.mjs";

const MOST_BYTES = 90 * 1024;
const FOLDER = join(ROOT, "build/console");

const files = readdirSync(FOLDER, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && extname(entry.name) !== ".map")
  .map((entry) => join(entry.parentPath, entry.name))
  .map((path) => ({
    name: path.slice(FOLDER.length + 1),
    bytes: gzipSync(readFileSync(path), { level: 9 }).length,
  }));
const allBytes = files.reduce((sum, { bytes }) => sum + bytes, 0);

for (const { name, bytes } of files) console.log(`${inKib(bytes).padStart(10)}  ${name}`);
console.log(`${inKib(allBytes).padStart(10)}  in all, of ${inKib(MOST_BYTES)}`);
process.exitCode = allBytes <= MOST_BYTES ? 0 : 1;

function inKib(bytes) {
  return `${(bytes / 1024).toFixed(1)} KiB`;
}
