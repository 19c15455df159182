/** Run by a test: counts up an object. Arguments: URL of the store, name, rounds. */

import { openObjectStore } from "../../../src/session/stores/open-object-store.ts";
import { countUp } from "./count-up.ts";

const [url = "", name = "", rounds = ""] = process.argv.slice(2);
const store = await openObjectStore({ url: new URL(url), timeoutMs: 20_000 });
await countUp(store, name, Number(rounds));
await store[Symbol.asyncDispose]();
