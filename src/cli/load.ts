/**
 * What a command that runs agents begins with: the settings and the agents, or every problem of
 * both at once.
 *
 * @module
 */

import type { AgentDefinition, ModelProvider } from "../agent/definition.ts";
import { loadAgents } from "../agent/load.ts";
import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { DiagnosticsError } from "../lib/diagnostics.ts";
import type { Io } from "./io.ts";

export interface LoadOptions {
  /** An agent file, or a folder of them. */
  readonly path: string;
  /** plimsoll.yaml of the working directory, if it is there, without it. */
  readonly serverFile?: string;
  /** Dotted settings. */
  readonly flags: Readonly<Record<string, string | undefined>>;
  /** See `ConfigInput`. */
  readonly flagNames?: Readonly<Record<string, string>>;
  readonly provider?: ModelProvider;
  readonly modelId?: string;
}

export interface Loaded {
  readonly config: Config;
  readonly agents: readonly AgentDefinition[];
}

/** Both, each with the problems of its own. Never rejects. */
export async function tryLoad(
  { path, serverFile, flags, flagNames = {}, provider, modelId }: LoadOptions,
  { environment, workingDirectory }: Pick<Io, "environment" | "workingDirectory">,
) {
  const file = serverFile === undefined ? {} : { file: serverFile };
  const overrides = {
    ...(provider !== undefined && { provider }),
    ...(modelId !== undefined && { modelId }),
  };
  return Promise.allSettled([
    loadAgents(path, environment, overrides),
    loadConfig({ ...file, flags, flagNames, environment, workingDirectory }),
  ]);
}

/** @throws {DiagnosticsError} `agent_invalid`, `config_invalid`. */
export async function loadAll(options: LoadOptions, io: Io): Promise<Loaded> {
  const [agents, settings] = await tryLoad(options, io);
  if (agents.status === "fulfilled" && settings.status === "fulfilled") {
    return { agents: agents.value, config: settings.value.config };
  }
  throw allProblems([agents, settings]);
}

function allProblems(results: readonly PromiseSettledResult<unknown>[]): unknown {
  const reasons = results.flatMap((each): unknown[] =>
    each.status === "rejected" ? [each.reason] : [],
  );
  const bug = reasons.find((reason) => !(reason instanceof DiagnosticsError));
  if (bug !== undefined) return bug;
  const diagnostics = reasons.flatMap((reason) => (reason as DiagnosticsError).diagnostics);
  return new DiagnosticsError("config_invalid", diagnostics);
}
