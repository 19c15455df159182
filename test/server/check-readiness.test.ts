/**
 * Goal: a server is ready when, and only when, a process of Claude Code starts here; finding out
 * never throws, and never holds up the end of a server.
 */

import { randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { AgentProcesses, type StartAgentOptions } from "../../src/agent-process/registry.ts";
import { checkReadiness } from "../../src/server/check-readiness.ts";
import { ReadinessState } from "../../src/server/readiness-state.ts";

let directory = "";
let processes: AgentProcesses;
let readiness: ReadinessState;
let stop: AbortController;
let peaks: number[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "readiness-"));
  readiness = new ReadinessState();
  stop = new AbortController();
  peaks = [];
  processes = new AgentProcesses({
    serverId: randomUUID(),
    stderrTailBytes: 4_096,
    endGraceMs: 1_000,
    sampleIntervalMs: 100,
    onExit: () => {},
    onAbandoned: () => {},
    onNotice: () => {},
  });
});

afterEach(async () => {
  stop.abort();
  await processes[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

type Deps = Parameters<typeof checkReadiness>[0];

/** @param change Of what is spawned as the probe. */
function check(
  change: Partial<StartAgentOptions> = {},
  at = directory,
  provider: Record<string, string> = {},
): Promise<string | null> {
  const changed = {
    spawn: (options: StartAgentOptions) => processes.spawn({ ...options, ...change }),
  } as AgentProcesses;
  const log = { info() {}, error() {} } as unknown as Deps["log"];
  const agentProcess = {
    startTimeoutMs: 60_000,
    endGraceMs: 1_000,
    stderrTailBytes: 4_096,
    sampleIntervalMs: 100,
    ownGroup: false,
  };
  const environment = {
    PATH: process.env["PATH"] ?? "",
    ANTHROPIC_API_KEY: "none",
    ...provider,
  };
  const agents = new Map([
    ["a", { providerEnvironment: environment }],
  ]) as unknown as Deps["agents"];
  const data = { runDirectory: at } as Deps["data"];
  const config = { agentProcess };
  const onPeak = (bytes: number) => peaks.push(bytes);
  const deps = { config, data, agents, processes: changed, readiness, log, onPeak };
  return checkReadiness(deps, stop.signal);
}

describe("checkReadiness", () => {
  it("is ready when the real Claude Code starts, and leaves no process", async () => {
    expect(await check()).toBeNull();
    expect([readiness.state, readiness.reason]).toEqual(["ready", ""]);
    expect(processes.live.size).toBe(0);
    // Measured: 60 to 120 MiB, by how long it had time to start.
    expect(peaks).toEqual([expect.any(Number)]);
    expect(peaks[0]).toBeGreaterThan(30 * 2 ** 20);
  });

  it("does not need the model to be reached", async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const problem = await check({}, directory, { ANTHROPIC_BASE_URL: url, HTTPS_PROXY: url });
    silent.close();
    expect(problem).toBeNull();
  });

  it("is broken when it does not, and keeps what it wrote for the log", async () => {
    const args = ["-c", "echo the library is missing >&2; exit 127"];
    const problem = await check({ command: "/bin/sh", args });
    expect(problem).toContain("the library is missing");
    expect(readiness.state).toBe("broken");
    expect(readiness.reason).not.toContain("library");
    expect(processes.live.size).toBe(0);
  });

  it("is broken when there is no such program, and when there is no place for it", async () => {
    expect(await check({ command: "/none/such" })).toContain("failed to launch");
    expect(readiness.state).toBe("broken");
    await writeFile(join(directory, "file"), "");
    expect(await check({}, join(directory, "file"))).toContain("could not be made");
  });

  it("does not hold up a server that ends", async () => {
    const beganAtMs = performance.now();
    const checked = check({ command: "sleep", args: ["60"] });
    await vi.waitFor(() => expect(processes.live.size).toBe(1), { timeout: 10_000 });
    readiness.become("draining", "");
    stop.abort();
    expect(await checked).toBeNull();
    // A third of what its start may take.
    expect(performance.now() - beganAtMs).toBeLessThan(20_000);
    expect(readiness.state).toBe("draining");
    expect(processes.live.size).toBe(0);
  });
});
