/**
 * What the process says at its end: the codes of sysexits.h, and those a shell has for signals.
 *
 * @module
 */

import type { ErrorCode } from "../lib/errors.ts";

export const EXIT = {
  ok: 0,
  /** A turn of a piped `chat` failed. */
  turnFailed: 1,
  usage: 64,
  unavailable: 69,
  software: 70,
  config: 78,
  /** A second signal: ended at once. */
  interrupted: 130,
} as const;

const EXIT_OF_CODE: Readonly<Partial<Record<ErrorCode, number>>> = {
  usage: EXIT.usage,
  config_invalid: EXIT.config,
  agent_invalid: EXIT.config,
  profile_invalid: EXIT.config,
  measure_failed: EXIT.unavailable,
  limit_too_small: EXIT.config,
  claude_missing: EXIT.unavailable,
  cannot_listen: EXIT.unavailable,
  data_directory_in_use: EXIT.unavailable,
  storage_full: EXIT.unavailable,
  storage_failed: EXIT.unavailable,
  store_unusable: EXIT.config,
  store_unavailable: EXIT.unavailable,
  session_busy: EXIT.unavailable,
  session_on_hold: EXIT.unavailable,
  session_unreadable: EXIT.unavailable,
  session_newer: EXIT.unavailable,
};

export function exitCodeOf(code: ErrorCode): number {
  return EXIT_OF_CODE[code] ?? EXIT.software;
}
