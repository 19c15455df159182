/**
 * Run by a test: counts up an object, and writes a line for each count that was acknowledged.
 * Arguments: URL of the store, name, rounds.
 */

import { writeSync } from "node:fs";

import { openObjectStore } from "../../../src/session/stores/open-object-store.ts";
import { countUp } from "./count-up.ts";

const [url = "", name = "", rounds = ""] = process.argv.slice(2);
const store = await openObjectStore({ url: new URL(url), timeoutMs: 20_000 });
for (let round = 0; round < Number(rounds); round += 1) {
  await countUp(store, name, 1);
  writeSync(1, "counted\n");
}
// Nothing else ends this process: a store that is closed must not keep it alive.
await store[Symbol.asyncDispose]();
