/**
 * Makes agent processes die with the server, also when the server is killed with SIGKILL:
 * `setpriv --pdeathsig TERM` (util-linux) has the kernel send SIGTERM when the thread that
 * started the process ends. That thread must be the main one: agent processes are not to be
 * spawned from a worker. Without it the strays of a killed server live on, still spending
 * tokens, until the next start sweeps them.
 *
 * @module
 */

import { spawnSync } from "node:child_process";

export interface CommandLine {
  readonly command: string;
  readonly args: readonly string[];
}

/** A command line that dies with us, or the one given where that cannot be had. */
export function tiedToServer({ command, args }: CommandLine): CommandLine {
  const setpriv = setprivPath();
  if (setpriv === null) return { command, args };
  return { command: setpriv, args: ["--pdeathsig", "TERM", "--", command, ...args] };
}

/** Whether agent processes die with the server. */
export function diesWithServer(): boolean {
  return setprivPath() !== null;
}

let probed: string | null | undefined;

/** Tried once: whether there is a setpriv, and whether it knows the option (busybox does not). */
function setprivPath(): string | null {
  if (probed === undefined) {
    const probe = spawnSync(
      "/bin/sh",
      ["-c", 'p=$(command -v setpriv) && "$p" --pdeathsig TERM -- /bin/sh -c : && echo "$p"'],
      { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], timeout: PROBE_LIMIT_MS },
    );
    probed = probe.status === 0 ? probe.stdout.trim() : null;
  }
  return probed;
}

const PROBE_LIMIT_MS = 2000;
