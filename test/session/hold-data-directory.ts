/** Run by a test: holds the data directory named on the command line until stdin ends. */

import { once } from "node:events";

import { openDataDirectory } from "../../src/session/data-directory.ts";

const directory = await openDataDirectory(process.argv[2] ?? "", 77);
process.stdout.write("held\n");
await once(process.stdin.resume(), "end");
await directory[Symbol.asyncDispose]();
