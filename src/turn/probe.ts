/**
 * Whether an agent process can be started here at all: one is started as for a turn, initialised
 * and ended. No model is asked.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { startup } from "@anthropic-ai/claude-agent-sdk";
import type { AgentProcess } from "../agent-process/agent-process.ts";
import type { StartAgentOptions } from "../agent-process/registry.ts";

export interface ProbeOptions {
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly startTimeoutMs: number;
  readonly endGraceMs: number;
  readonly spawn: (options: StartAgentOptions) => AgentProcess;
  /** Told the most private memory that the process held, if it started and that was measured. */
  readonly onPeak: (bytes: number) => void;
}

/**
 * What is wrong, in words with what the process wrote; null if it started. Never rejects.
 *
 * @param stop Kills the process at once; the probe has then failed.
 */
export async function probeAgentProcess(
  options: ProbeOptions,
  stop: AbortSignal,
): Promise<string | null> {
  const { directory: cwd, environment: env, startTimeoutMs, endGraceMs } = options;
  let agent: AgentProcess | undefined;
  let hasStarted = false;
  const onStop = (): void => void agent?.terminate(0);
  stop.addEventListener("abort", onStop, { once: true });
  try {
    stop.throwIfAborted();
    const warm = await startup({
      initializeTimeoutMs: startTimeoutMs,
      options: {
        cwd,
        env: { ...env },
        tools: [],
        settingSources: [],
        strictMcpConfig: true,
        mcpServersDelivery: "initialize",
        persistSession: false,
        spawnClaudeCodeProcess: ({ command, args }) => {
          // As with turns, no two processes of a machine may have the same id: another server's
          // probe would be swept away with this one.
          agent = options.spawn({ command, args, cwd, env, processId: `probe-${randomUUID()}` });
          return agent.forSdk;
        },
      },
    });
    warm.close();
    hasStarted = true;
    return null;
  } catch (thrown) {
    const wrote = agent?.stderrTail().trim() ?? "";
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    return wrote === "" ? reason : `${reason}; it wrote: ${wrote}`;
  } finally {
    stop.removeEventListener("abort", onStop);
    await agent?.terminate(endGraceMs);
    if (hasStarted && agent?.peakBytes != null) options.onPeak(agent.peakBytes);
  }
}
