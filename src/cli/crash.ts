/**
 * The last resort: a bug that nobody caught ends the process, and nothing it started outlives it.
 *
 * @module
 */

import { EXIT } from "./exit-codes.ts";
import type { Io } from "./io.ts";

/** Until it is disposed, an error that nobody caught is told and ends the process. */
export function guardAgainstCrash(io: Io, killNow: () => void): Disposable {
  const onCrash = (error: unknown) => {
    killNow();
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    io.stderr(`plimsoll: internal: ${text}\n`);
    process.exit(EXIT.software);
  };
  process.once("uncaughtException", onCrash);
  return { [Symbol.dispose]: () => void process.off("uncaughtException", onCrash) };
}
