/**
 * Runs inside a real memory cgroup: says what it reads of its limit and its use, before and after
 * filling the page cache and making files, and after taking memory that cannot be reclaimed. It is the built program:
 * a compiler in the same process would hold and drop more than what is measured here.
 */

import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { totalmem } from "node:os";
import { readMemoryLimit } from "../../build/capacity/memory-limit.js";
import { MemoryMeter } from "../../build/capacity/memory-reading.js";

const MiB = 2 ** 20;
const ROUNDS = 40;
const [filePath = "", fileMiB = "0", fileCount = "0", usageFile = ""] = process.argv.slice(2);

const limit = readMemoryLimit({ explicitBytes: null, totalMemoryBytes: totalmem() });
const meter = new MemoryMeter();
const readNow = () => ({
  use: meter.read(limit).bytes,
  usage: Number(readFileSync(usageFile, "utf8")),
});

const block = Buffer.alloc(MiB, 1);
const idle = readNow();

const file = openSync(filePath, "w+");
for (let written = 0; written < Number(fileMiB); written += 1) writeSync(file, block);
for (let at = 0; at < Number(fileMiB); at += 1) readSync(file, block, 0, MiB, at * MiB);
closeSync(file);
const cached = readNow();

mkdirSync(`${filePath}-many`);
for (let at = 0; at < Number(fileCount); at += 1) writeFileSync(`${filePath}-many/${at}`, "");
const littered = readNow();

const held = Buffer.alloc(100 * MiB, 1);
const holding = readNow();

// The kernel's own sum is behind in one of three of these, where nobody asks further.
const ownBytes = () =>
  1024 * Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
const besideBytes = holding.use - ownBytes();
let worstLagBytes = 0;
for (let round = 0; round < ROUNDS; round += 1) {
  const taken = Buffer.alloc((20 + (round % 4) * 20) * MiB, 1);
  worstLagBytes = Math.max(worstLagBytes, ownBytes() + besideBytes - readNow().use);
  if (taken.length > 0) globalThis.gc();
}

process.stdout.write(
  JSON.stringify({ limit, idle, cached, littered, holding, worstLagBytes, heldBytes: held.length }),
);
