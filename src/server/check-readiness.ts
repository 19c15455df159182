/**
 * Takes a listening server from `starting` to `ready`, or to `broken` when an agent process cannot
 * be started here; a broken server tries again, because the reason may go away. One that was ready
 * is tried anew when the starts of turns fail: they may for their agent's own fault, so that alone
 * breaks nothing.
 *
 * @module
 */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { AgentProcesses } from "../agent-process/registry.ts";
import { AGENT_PROCESS_SETTINGS } from "../agent/sdk-options.ts";
import type { Config } from "../config/config.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { DataDirectory } from "../session/data-directory.ts";
import type { Logger } from "../telemetry/log.ts";
import { probeAgentProcess } from "../turn/probe.ts";
import type { ServedAgent } from "../turn/served-agent.ts";
import type { TurnStarts } from "../turn/turn-starts.ts";
import type { ReadinessState } from "./readiness-state.ts";

const RETRY_MS = 10_000;

/**
 * The process asks its provider for this and that before it is initialised, and waits for half a
 * minute where nobody answers. Whether the model can be reached is not the question here, and a
 * replica that cannot reach it is of as much use as any other.
 */
const NO_MODEL = {
  ANTHROPIC_BASE_URL: "http://127.0.0.1:9",
  NO_PROXY: "127.0.0.1",
  no_proxy: "127.0.0.1",
};

export interface ReadinessDeps {
  readonly config: Pick<Config, "agentProcess">;
  readonly data: DataDirectory;
  readonly agents: ReadonlyMap<string, ServedAgent>;
  readonly processes: AgentProcesses;
  readonly readiness: ReadinessState;
  readonly log: Logger;
  /** Told what a process holds that was started and did nothing. */
  readonly onPeak: (bytes: number) => void;
}

/**
 * Resolves after the first try: null when turns are taken, else what is in the way. Never rejects.
 *
 * @param stop Ends the tries.
 */
export async function checkReadiness(
  deps: ReadinessDeps,
  stop: AbortSignal,
): Promise<string | null> {
  const problem = await tryToStart(deps, stop);
  if (deps.readiness.state === "draining") return null;
  if (problem === null) {
    becomeReady(deps);
    return null;
  }
  // It was ended with the server, which could not listen, say.
  if (stop.aborted) return problem;
  deps.log.error(
    { problem },
    `Cannot start an agent process; trying again in ${RETRY_MS / 1000} s`,
  );
  // What the process wrote is for the log; anyone may read the reason.
  const reason = "an agent process could not be started; see the server log";
  deps.readiness.become("broken", reason);
  void delay(RETRY_MS, undefined, { signal: stop, ref: false })
    // A turn may have started meanwhile.
    .then(() => (deps.readiness.state === "broken" ? checkReadiness(deps, stop) : null))
    .catch(() => undefined);
  return problem;
}

/** From now on it follows the starts of turns, too. @param stop Ends the tries. */
export function watchStarts(starts: TurnStarts, deps: ReadinessDeps, stop: AbortSignal): void {
  let notBeforeMs = 0;
  starts.watch({
    worked() {
      if (deps.readiness.state === "broken") becomeReady(deps);
    },
    doubted() {
      if (deps.readiness.state !== "ready" || monotonicMs() < notBeforeMs) return;
      // An agent that never starts must not have another process started with each of its turns.
      notBeforeMs = Infinity;
      deps.log.warn("Turns fail to start: trying whether an agent process does");
      void checkReadiness(deps, stop).then(() => {
        notBeforeMs = monotonicMs() + RETRY_MS;
        return notBeforeMs;
      });
    },
  });
}

function becomeReady({ readiness, log }: ReadinessDeps): void {
  readiness.become("ready", "");
  log.info("Ready for turns");
}

async function tryToStart(deps: ReadinessDeps, stop: AbortSignal): Promise<string | null> {
  const { config, data, agents, processes, onPeak } = deps;
  const [agent] = agents.values();
  const directory = join(data.runDirectory, "probe");
  try {
    await mkdir(directory, { recursive: true });
  } catch (thrown) {
    return `its directory could not be made: ${String(thrown)}`;
  }
  const environment = {
    ...agent?.providerEnvironment,
    ...AGENT_PROCESS_SETTINGS,
    ...NO_MODEL,
    HOME: directory,
    CLAUDE_CONFIG_DIR: directory,
    TMPDIR: directory,
  };
  const spawn = processes.spawn.bind(processes);
  return probeAgentProcess({ directory, environment, ...config.agentProcess, spawn, onPeak }, stop);
}
