/**
 * A server seen from outside: the private memory of its process, and of all it has started.
 *
 * @module
 */

import {
  statFieldBytes,
  readPrivateBytes,
  readProcessStat,
  readProcessTable,
  readSmallFile,
} from "./proc.ts";
import { grownMembers } from "./process-tree.ts";

export interface ServerLook {
  readonly serverBytes: number;
  /** Private memory of all that it has started, together. */
  readonly agentsBytes: number;
  /** How many agent processes there are: its own children. */
  readonly agents: number;
  /** The most file pages that one of them has resident: their text, which they share. */
  readonly agentFileBytes: number;
}

/** One look at all processes of the machine: some milliseconds. Null when the server is gone. */
export function lookAtServer(pid: number): ServerLook | null {
  const server = readProcessStat(pid);
  if (server === null) return null;
  let agentsBytes = 0;
  let agents = 0;
  let agentFileBytes = 0;
  for (const member of grownMembers([server], readProcessTable()).values()) {
    // Between fork and exec it shows the pages of its parent.
    if (member.pid === pid || !member.hasOwnProgram) continue;
    agentsBytes += readPrivateBytes(member.pid) ?? 0;
    if (member.parentPid !== pid) continue;
    agents += 1;
    agentFileBytes = Math.max(agentFileBytes, readResidentParts(member.pid)?.fileBytes ?? 0);
  }
  return { serverBytes: readPrivateBytes(pid) ?? 0, agentsBytes, agents, agentFileBytes };
}

/** The resident memory of a process, by what it is of. */
export interface ResidentParts {
  /** Heap, stacks and buffers: pages of no file. */
  readonly anonymousBytes: number;
  /** Pages of files: the text of programs. */
  readonly fileBytes: number;
  readonly sharedBytes: number;
}

/** What a process has resident; null when it cannot be read. */
export function readResidentParts(pid: number): ResidentParts | null {
  const status = readSmallFile(`/proc/${pid}/status`);
  if (status === null) return null;
  return {
    anonymousBytes: statFieldBytes(status, "RssAnon") ?? 0,
    fileBytes: statFieldBytes(status, "RssFile") ?? 0,
    sharedBytes: statFieldBytes(status, "RssShmem") ?? 0,
  };
}
