/**
 * Goal: when memory runs out, the kernel kills the agent process and not the server, and we know
 * that it was for memory.
 * Method: a server in small, in a control group with a limit, starts a process that takes memory
 * until it is killed. Skipped where no control group can be made.
 */

import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { afterAll, describe, expect, it } from "vitest";

import { programPath, until, useServerId } from "./agent-programs.ts";

const serverId = useServerId();
const LIMIT_BYTES = 400 * 2 ** 20;

/** Makes a control group that may hold `LIMIT_BYTES`, v1 or v2; null where that is not allowed. */
function makeControlGroup(): string | null {
  for (const [root, limit] of [
    ["/sys/fs/cgroup/memory", "memory.limit_in_bytes"],
    ["/sys/fs/cgroup", "memory.max"],
  ]) {
    const group = `${root}/plimsoll-test-${randomUUID()}`;
    try {
      mkdirSync(group);
      writeFileSync(`${group}/${limit}`, String(LIMIT_BYTES));
      return group;
    } catch {
      removeControlGroup(group);
    }
  }
  return null;
}

function removeControlGroup(group: string): boolean {
  try {
    rmdirSync(group);
    return true;
  } catch {
    return false;
  }
}

const group = makeControlGroup();
afterAll(() => (group === null ? undefined : until(() => removeControlGroup(group))));

describe.skipIf(group === null)("a process that takes all memory", () => {
  it("is killed by the kernel before its server, which knows why", async () => {
    const { execPath } = process;
    const server = spawn(
      "/bin/sh",
      [
        "-c",
        `echo $$ >${group}/cgroup.procs && exec "$@"`,
        "sh",
        execPath,
        "--import",
        "jiti/register",
        programPath("server.ts"),
        programPath("balloons.sh"),
        randomUUID(),
        serverId,
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    try {
      const lines: string[] = [];
      for await (const line of createInterface({ input: server.stdout })) {
        if (lines.push(line) === 2) break;
      }
      expect(JSON.parse(lines[1] ?? "null")).toEqual({
        code: null,
        signal: "SIGKILL",
        step: "exited",
        outOfMemory: true,
        oomKillCounterRose: true,
        wasShortForAll: true,
        survivors: 0,
      });
      expect(server.exitCode).toBeNull();
    } finally {
      server.kill("SIGKILL");
    }
  });
});
