/**
 * Goal: what turns have used is told exactly once they have ended.
 * Method: children that burn a known time by their own account, one with a child of its own.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { readCpuTime } from "../../src/agent-process/cpu-time.ts";

const BURN_MS = 400;
/** The kernel tells ticks of 10 ms; a Node that ends uses some more after it has told. */
const ERROR_MS = 150;

/** Burns until it has used that time, and says what it has used in all. */
const BURN = `
  while (process.cpuUsage().user + process.cpuUsage().system < ${BURN_MS * 1_000});
  const { user, system } = process.cpuUsage();
  console.log((user + system) / 1_000);
`;
const BURN_IN_CHILD = `
  const { spawnSync } = require("node:child_process");
  const { stdout } = spawnSync(process.execPath, ["-e", ${JSON.stringify(BURN)}]);
  const { user, system } = process.cpuUsage();
  console.log(Number(stdout) + (user + system) / 1_000);
`;

async function burn(program: string): Promise<number> {
  const child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += String(chunk)));
  await once(child, "close");
  return Number(text);
}

describe("CPU time", () => {
  it.each([
    ["a child", BURN],
    ["a child and its child", BURN_IN_CHILD],
  ])("of %s is in the account of whoever waited for it", async (_who, program) => {
    const before = readCpuTime(process.pid);
    const usedMs = await burn(program);
    const after = readCpuTime(process.pid);
    const toldMs = (after?.endedMs ?? 0) - (before?.endedMs ?? 0);
    expect(usedMs).toBeGreaterThanOrEqual(BURN_MS);
    expect(toldMs).toBeGreaterThanOrEqual(usedMs - 20);
    // Nothing else is started by this process meanwhile; it is time of a core, not of a clock.
    expect(toldMs).toBeLessThan(usedMs + ERROR_MS);
  });

  it("of many at once is their sum", async () => {
    const before = readCpuTime(process.pid);
    const used = await Promise.all(Array.from({ length: 4 }, () => burn(BURN)));
    const after = readCpuTime(process.pid);
    const usedMs = used.reduce((sum, each) => sum + each, 0);
    const toldMs = (after?.endedMs ?? 0) - (before?.endedMs ?? 0);
    expect(Math.abs(toldMs / usedMs - 1)).toBeLessThan(0.15);
  });

  it("of nobody is not told", () => {
    expect(readCpuTime(2 ** 22 + 1)).toBeNull();
  });
});
