/**
 * npm runs this at the end of an install in a clone, so that `npx plimsoll` works there at once:
 * npx keeps the link it makes for good, also one that was made when there was no program yet.
 *
 * @module
 */

import { ensureBuilt, hasCompiler } from "./installed.mjs";

// `npm ci --omit=dev` is for a clone that was built before.
if (hasCompiler()) ensureBuilt();
