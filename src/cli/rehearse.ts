/**
 * `plimsoll rehearse`: serves the scripted Messages API alone, so that a load test does not pay
 * for the model within the server that it measures.
 *
 * @module
 */

import { aborted } from "../lib/aborted.ts";
import type { Environment } from "../lib/substitute.ts";
import { loadRehearsalScript } from "../rehearsal/load-script.ts";
import { startRehearsal } from "../rehearsal/server.ts";

export interface RehearseOptions {
  /** Path of a rehearsal script; the built-in script without it. */
  readonly script?: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** For `${VAR}` in the script; none without it. */
  readonly environment?: Environment;
}

/**
 * Serves until `signal` aborts; what still streams then is broken off.
 *
 * @throws {DiagnosticsError} `agent_invalid` when the script does not fit.
 * @throws {AppError} `cannot_listen` when the port is taken.
 */
export async function runRehearse(
  options: RehearseOptions,
  output: { write(text: string): void },
  signal: AbortSignal,
): Promise<void> {
  const { environment = {}, port } = options;
  const script = await loadRehearsalScript(options.script, environment);
  await using rehearsal = await startRehearsal({ script, port });
  output.write(
    `Rehearsal model (scripted, not Claude) on ${rehearsal.url}\n\n` +
      "Use it with:\n" +
      `  export ANTHROPIC_BASE_URL=${rehearsal.url}\n` +
      "  export ANTHROPIC_API_KEY=rehearsal\n",
  );
  await aborted(signal);
  output.write(`Answered ${rehearsal.requestCount} requests\n`);
}
