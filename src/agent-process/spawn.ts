/**
 * Starts an agent process: in a process group of its own, marked with its turn and its server,
 * tied to the life of the server, in its control group if it has one, and on its step of the
 * ladder on which the kernel looks for memory. The environment it gets is the one given, nothing of the server's.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { SERVER_ID_MARKER, TURN_ID_MARKER } from "../lib/process-markers.ts";
import { AgentProcess } from "./agent-process.ts";
import type { ControlGroup } from "./control-group.ts";
import { placeAgentOnLadder } from "./oom-ladder.ts";
import { tiedToServer } from "./parent-death.ts";
import { readProcessStat } from "./proc.ts";
import { ProcessTree } from "./process-tree.ts";

export interface SpawnAgentOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** All that the process sees, besides the two markers. */
  readonly env: Readonly<Record<string, string>>;
  /** Marks the tree. No two live processes may have the same. */
  readonly turnId: string;
  /** Identifies the data directory, by which the next server finds strays of this one. */
  readonly serverId: string;
  readonly stderrTailBytes: number;
  /** Time for each polite step when the process is disposed. */
  readonly endGraceMs: number;
  /** Made for this process alone, which removes it in the end. */
  readonly group?: ControlGroup | null;
}

/**
 * Starts the process. Never throws for what the system refuses: that is the `spawnError` of
 * {@link AgentProcess.exited}, and an `error` for the SDK.
 */
export function spawnAgentProcess(options: SpawnAgentOptions): AgentProcess {
  const child = startChild(options);
  const pid = child instanceof Error ? undefined : child.pid;
  return new AgentProcess({
    child,
    group: moveInto(options.group ?? null, pid),
    tree: new ProcessTree(options.turnId, pid === undefined ? null : readProcessStat(pid)),
    onLadder: pid !== undefined && placeAgentOnLadder(pid),
    stderrTailBytes: options.stderrTailBytes,
    endGraceMs: options.endGraceMs,
  });
}

/** At once, before the process can start another; null when it runs outside of it. */
function moveInto(group: ControlGroup | null, pid: number | undefined): ControlGroup | null {
  if (group === null || (pid !== undefined && group.add(pid))) return group;
  void group.remove(AbortSignal.abort());
  return null;
}

function startChild(options: SpawnAgentOptions): ChildProcess | Error {
  const { cwd, turnId, serverId } = options;
  const env = { ...options.env, [TURN_ID_MARKER]: turnId, [SERVER_ID_MARKER]: serverId };
  const at = { cwd, searchPath: options.env["PATH"] };
  const { command, args } = tiedToServer(options.command, options.args, at);
  try {
    return spawn(command, args, { cwd, env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  } catch (error) {
    // Node throws for some refusals (E2BIG, ENOMEM) and emits others.
    return error instanceof Error ? error : new Error(String(error));
  }
}
