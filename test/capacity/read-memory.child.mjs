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
import { readMemoryUse } from "../../build/capacity/memory-reading.js";

const MiB = 2 ** 20;
const [filePath = "", fileMiB = "0", fileCount = "0", usageFile = ""] = process.argv.slice(2);

const limit = readMemoryLimit({ explicitBytes: null, totalMemoryBytes: totalmem() });
const readNow = () => ({
  use: readMemoryUse({ limit }).bytes,
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

process.stdout.write(
  JSON.stringify({ limit, idle, cached, littered, holding, heldBytes: held.length }),
);
