/**
 * What a command may touch of the world around it. Tests give their own.
 *
 * @module
 */

import { isatty } from "node:tty";
import { readEnvironment } from "../config/environment.ts";
import type { Environment } from "../lib/substitute.ts";

export interface Io {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /**
   * To the standard output; ends when it has gone out, so that nothing piles up for a slow reader.
   * Rejects with `EPIPE` when the reader has gone.
   */
  readonly write: (bytes: Uint8Array) => Promise<void>;
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
  const environment = readEnvironment();
  const isTerminal = isatty(1);
  const isInteractive = isTerminal && isatty(0);
  return {
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
    write,
    environment,
    workingDirectory: process.cwd(),
    // https://no-color.org
    color: isTerminal && (environment["NO_COLOR"] ?? "") === "",
    isTerminal,
    isInteractive,
  };
}

async function write(bytes: Uint8Array): Promise<void> {
  const { stdout } = process;
  const ignore = (): void => {};
  // Its event comes after the answer to the write; nobody else listens, and it would end the process.
  stdout.on("error", ignore);
  await new Promise<void>((resolve, reject) => {
    stdout.write(bytes, (error) => (error == null ? resolve() : reject(error)));
  });
  stdout.off("error", ignore);
}
