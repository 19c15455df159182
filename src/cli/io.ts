/**
 * What a command may touch of the world around it. Tests give their own.
 *
 * @module
 */

import { isatty } from "node:tty";
import { ownEnvironment } from "../config/environment.ts";
import { errnoOf } from "../lib/errno.ts";
import type { Environment } from "../lib/substitute.ts";

export interface Io {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /**
   * To the standard output; ends when it has gone out, so that nothing piles up for a slow reader.
   * Rejects with `EPIPE` when the reader has gone.
   */
  readonly write: (bytes: Uint8Array) => Promise<void>;
  /** Aborts when the reader of the standard output, such as `head`, has gone. */
  readonly readerGone: AbortSignal;
  readonly environment: Environment;
  readonly workingDirectory: string;
  /** Whether to colour what people read. */
  readonly color: boolean;
  /** Whether a person looks at the standard output. */
  readonly isTerminal: boolean;
  /** Whether that person can also write. */
  readonly isInteractive: boolean;
}

export function processIo(): Io {
  const environment = ownEnvironment();
  const isTerminal = isatty(1);
  // What is told there is told to nobody; the work goes on for whoever reads the output.
  untilReaderGone(process.stderr);
  const isInteractive = isTerminal && isatty(0);
  return {
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
    write,
    readerGone: untilReaderGone(process.stdout),
    environment,
    workingDirectory: process.cwd(),
    // https://no-color.org
    color: isTerminal && (environment["NO_COLOR"] ?? "") === "",
    isTerminal,
    isInteractive,
  };
}

/** Failures of which whoever wrote has heard: their event comes after the answer to the write. */
const TOLD = new WeakSet<Error>();

async function write(bytes: Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    process.stdout.write(bytes, (error) => {
      if (error == null) return resolve();
      TOLD.add(error);
      reject(error);
    });
  });
}

/** A reader that has had enough is no failure: without a listener it would end the process. */
function untilReaderGone(stream: NodeJS.WriteStream): AbortSignal {
  const gone = new AbortController();
  stream.on("error", (error) => {
    if (errnoOf(error) === "EPIPE") gone.abort();
    else if (!TOLD.has(error)) throw error;
  });
  return gone.signal;
}
