/**
 * Starts an agent process: in a process group of its own, marked with its id and its server,
 * tied to the life of the server, in its control group if it has one, and on its step of the ladder
 * on which the kernel looks for memory. The environment it gets is the one given, nothing of the
 * server's.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { SERVER_ID_MARKER, PROCESS_ID_MARKER } from "../lib/process-markers.ts";
import { AgentProcess, type AgentProcessParts } from "./agent-process.ts";
import type { ControlGroup } from "./control-group.ts";
import { placeAgentOnLadder } from "./oom-ladder.ts";
import { type CommandLine, tiedToServer } from "./parent-death.ts";
import { readProcessStat } from "./proc.ts";
import { ProcessTree } from "./process-tree.ts";

export interface SpawnAgentOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** All that the process sees, besides the two markers. */
  readonly env: Readonly<Record<string, string>>;
  /** Marks the tree. No two live processes may have the same. */
  readonly processId: string;
  /** Identifies the data directory, by which the next server finds strays of this one. */
  readonly serverId: string;
  readonly stderrTailBytes: number;
  /** Time for each polite step when the process is disposed. */
  readonly endGraceMs: number;
  /** A control group made for this process alone, which removes it in the end. */
  readonly group?: ControlGroup | null;
  /** Who watches its memory; nobody without it. */
  readonly guard?: AgentProcessParts["guard"];
}

/**
 * Starts the process. Never throws for what the system refuses: that is the `spawnError` of
 * {@link AgentProcess.settled}, and an `error` for the SDK.
 */
export function spawnAgentProcess(options: SpawnAgentOptions): AgentProcess {
  const child = startChild(options);
  const pid = child instanceof Error ? undefined : child.pid;
  return new AgentProcess({
    child,
    guard: options.guard ?? null,
    group: keptGroup(options.group ?? null, pid),
    tree: new ProcessTree(options.processId, pid === undefined ? null : readProcessStat(pid)),
    isOnLadder: pid !== undefined && placeAgentOnLadder(pid),
    stderrTailBytes: options.stderrTailBytes,
    endGraceMs: options.endGraceMs,
  });
}

/** The group of a process, which goes there as its first act; one that never was leaves none. */
function keptGroup(group: ControlGroup | null, pid: number | undefined): ControlGroup | null {
  if (pid !== undefined) return group;
  void group?.remove(AbortSignal.abort());
  return null;
}

/** When a process has long gone to its group, if it can: within 30 ms here. */
const ENTERED_MS = 500;

/**
 * Makes sure that a process is in its group, and moves it there if not. Not at once, nor on this
 * thread: it would hold up everything else for as long as the process takes itself. One that cannot
 * be moved leaves its group for good.
 */
export async function settleInGroup(agent: AgentProcess): Promise<void> {
  const { pid, group, processExited } = agent;
  if (pid === null || group === null) return;
  let hasEnded = false;
  void processExited.then(() => (hasEnded = true));
  await delay(ENTERED_MS, undefined, { ref: false });
  if (hasEnded || group.has(pid) || (await group.add(pid))) return;
  // One that has ended meanwhile cannot be moved any more, and may have left others there.
  if (!hasEnded) agent.leaveGroup();
}

function startChild(options: SpawnAgentOptions): ChildProcess | Error {
  const { cwd, processId, serverId } = options;
  const env = { ...options.env, [PROCESS_ID_MARKER]: processId, [SERVER_ID_MARKER]: serverId };
  const { command, args } = commandLineOf(options);
  try {
    return spawn(command, args, { cwd, env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  } catch (error) {
    // Node throws for some refusals (E2BIG, ENOMEM) and emits others.
    return error instanceof Error ? error : new Error(String(error));
  }
}

function commandLineOf({ command, args, cwd, env, group = null }: SpawnAgentOptions): CommandLine {
  const given = { command, args };
  // A missing command is left to Node, which says ENOENT where a wrapper says exit code 127.
  if (!canExecute(command, { cwd, searchPath: env["PATH"] })) return given;
  return tiedToServer(group === null ? given : enteredBy(given, group));
}

/**
 * A command line that enters the group before it becomes the command: from outside, a program that
 * forks at once would be quicker than we are.
 */
export function enteredBy({ command, args }: CommandLine, { doors }: ControlGroup): CommandLine {
  const [first = "", second = first] = doors;
  return { command: "/bin/sh", args: ["-c", ENTER, "sh", first, second, command, ...args] };
}

/**
 * Whoever cannot enter goes on outside; {@link settleInGroup} finds out. What a shell adds to the
 * environment by itself is taken out again.
 */
const ENTER =
  '{ echo 0 >"$1"; echo 0 >"$2"; } 2>/dev/null; shift 2; unset PWD OLDPWD SHLVL; exec "$@"';

function canExecute(
  command: string,
  at: { readonly cwd: string; readonly searchPath: string | undefined },
): boolean {
  const candidates = command.includes("/")
    ? [resolve(at.cwd, command)]
    : (at.searchPath ?? "").split(delimiter).map((directory) => join(directory, command));
  return candidates.some((path) => {
    try {
      accessSync(path, constants.X_OK);
      return statSync(path).isFile();
    } catch {
      return false;
    }
  });
}
