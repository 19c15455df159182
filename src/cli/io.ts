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
    environment,
    workingDirectory: process.cwd(),
    // https://no-color.org
    color: isTerminal && (environment["NO_COLOR"] ?? "") === "",
    isTerminal,
    isInteractive,
  };
}
