/**
 * The order in which the kernel kills processes when memory runs out: tools first, then agent
 * processes, the server last. Without it the kernel kills the biggest, which is the server.
 *
 *     tools            1000
 *     agent process    b + 0.3 (1000 - b)
 *     server           b, its own value, given by whoever runs it
 *
 * A process may raise its score, and needs no privilege for that; so may we for our children.
 * See proc(5), `oom_score_adj`.
 *
 * @module
 */

import { writeFileSync } from "node:fs";
import { readSmallFile } from "./proc.ts";

export const TOOL_OOM_SCORE = 1000;

/** How far an agent process stands between the server and its tools. */
const AGENT_STEP_RATIO = 0.3;

export function agentOomScore(serverScore: number): number {
  return serverScore + Math.round((TOOL_OOM_SCORE - serverScore) * AGENT_STEP_RATIO);
}

/** Puts an agent process on its step; false where the system does not let us. */
export function placeAgentOnLadder(pid: number): boolean {
  const serverScore = Number.parseInt(readSmallFile("/proc/self/oom_score_adj") ?? "", 10);
  return !Number.isNaN(serverScore) && writeScore(pid, agentOomScore(serverScore));
}

/** Puts whatever an agent process started on the step of tools; a refusal is let be. */
export function placeToolOnLadder(pid: number): boolean {
  return writeScore(pid, TOOL_OOM_SCORE);
}

function writeScore(pid: number, score: number): boolean {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, String(score));
    return true;
  } catch {
    return false;
  }
}
