/** Starts the little programs of test/fixtures/agent-programs as agent processes. */

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { afterAll, expect } from "vitest";

import type { AgentProcess } from "../../src/agent-process/agent-process.ts";
import type { SpawnAgentOptions } from "../../src/agent-process/spawn.ts";
import { countStrays, sweepStrays } from "../../src/agent-process/strays.ts";
import { LIVENESS_LIMIT_MS } from "../helpers/leaks.ts";

export const PATH = process.env["PATH"] ?? "";

export function programPath(name: string): string {
  return fileURLToPath(new URL(`../fixtures/agent-programs/${name}`, import.meta.url));
}

export function optionsFor(
  name: string,
  serverId: string,
  more: Partial<SpawnAgentOptions> = {},
): SpawnAgentOptions {
  return {
    command: programPath(name),
    args: [],
    cwd: "/",
    env: { PATH },
    processId: randomUUID(),
    serverId,
    stderrTailBytes: 4096,
    endGraceMs: 200,
    ...more,
  };
}

/** A server id of its own for a test file, with a check that nothing that carries it is left. */
export function useServerId(): string {
  const serverId = `test-${randomUUID()}`;
  afterAll(async () => {
    const left = countStrays(serverId);
    await sweepStrays(serverId);
    expect(left, "processes left behind by the tests").toBe(0);
  });
  return serverId;
}

/** Waits until the program has printed this line. */
export async function printed(agent: AgentProcess, line: string): Promise<void> {
  for await (const text of createInterface({ input: agent.forSdk.stdout })) {
    if (text === line) {
      agent.forSdk.stdout.resume();
      return;
    }
  }
  throw new Error(`The program ended without printing "${line}": ${agent.stderrTail()}`);
}

/** Looks until the condition holds. @throws when it does not in time. */
export async function until(condition: () => boolean, limitMs = LIVENESS_LIMIT_MS): Promise<void> {
  const deadlineMs = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > deadlineMs)
      throw new Error(`Not so after ${limitMs} ms: ${condition.toString()}`);
    await delay(10);
  }
}

/** Seen apart from the code under test: whether the pid is of a process that is no zombie. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** Empty when it ended meanwhile. */
export function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "";
  }
}

export function oomScoreOf(pid: number | string): number {
  return Number(readFileSync(`/proc/${pid}/oom_score_adj`, "utf8"));
}
