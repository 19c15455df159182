/**
 * The last resort: an exception that nobody caught ends the process, and nothing it started outlives
 * it. A rejection that nobody handled does not: function tools of others run here, and a promise one
 * of them forgot must not cost every turn. Nothing was cut short by it, but perhaps the call itself.
 *
 * @module
 */

import type { Logger } from "../telemetry/log.ts";
import { toolCallNow } from "../tools/tool-call.ts";
import { EXIT } from "./exit-codes.ts";
import type { Io } from "./io.ts";

export interface CrashOptions {
  /** Kills all that was started. */
  readonly killNow: () => void;
  /** Where a rejection is told; undefined while there is no log, and it then ends the process. */
  readonly log: () => Logger | undefined;
}

/** Until it is disposed, an error that nobody caught is told. */
export function guardAgainstCrash(io: Io, { killNow, log }: CrashOptions): Disposable {
  const onCrash = (error: unknown) => {
    killNow();
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    io.stderr(`plimsoll: internal: ${text}\n`);
    process.exit(EXIT.software);
  };
  const onRejection = (reason: unknown) => {
    const opened = log();
    if (opened === undefined) onCrash(reason);
    else tellRejection(reason, opened);
  };
  process.once("uncaughtException", onCrash);
  process.on("unhandledRejection", onRejection);
  return {
    [Symbol.dispose]: () => {
      process.off("uncaughtException", onCrash);
      process.off("unhandledRejection", onRejection);
    },
  };
}

function tellRejection(reason: unknown, log: Logger): void {
  // An object that is no error may hold anything; as a cause it is not written.
  const err = reason instanceof Error ? reason : new Error("No error was given", { cause: reason });
  const call = toolCallNow();
  const from = call === undefined ? {} : { toolName: call.toolName, turnId: call.turnId };
  log.error({ ...from, err }, "A promise was rejected, and nobody handled it");
  call?.fail(reason);
}
