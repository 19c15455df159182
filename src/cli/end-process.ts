/**
 * The end of the process once its command is done. Modules of others run here, function tools, and
 * what they hold open, a timer or a pool of connections, would keep the process for ever.
 *
 * @module
 */

/** What a module has still to send may go out; nobody waits longer for it. */
const LAST_WORK_MS = 1_000;

/** The process ends by itself, or in a moment; what was printed goes out first. */
export function endProcess(exitCode: number): void {
  process.exitCode = exitCode;
  setTimeout(() => void exitWhenWritten(), LAST_WORK_MS).unref();
}

async function exitWhenWritten(): Promise<void> {
  await Promise.all([process.stdout, process.stderr].map(written));
  process.exit();
}

/** Resolves when all that was written has gone out, or cannot. */
async function written(stream: NodeJS.WriteStream): Promise<void> {
  await new Promise<void>((resolve) => {
    stream.once("error", () => resolve());
    stream.write("", () => resolve());
  });
}
