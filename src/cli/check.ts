/**
 * `plimsoll check`: whether agent files and server file fit, everything that does not, and what
 * the server would run with. Starts nothing and asks no model.
 *
 * @module
 */

import { relative } from "node:path";
import type { AgentDefinition, ModelProvider } from "../agent/definition.ts";
import { loadAgents } from "../agent/load.ts";
import { type LoadedConfig, loadConfig } from "../config/load.ts";
import {
  type Diagnostic,
  DiagnosticsError,
  type DiagnosticsFormat,
  formatDiagnostics,
} from "../lib/diagnostics.ts";
import { AppError } from "../lib/errors.ts";
import { EXIT } from "./exit-codes.ts";
import { countOf } from "./figures.ts";

export interface CheckOptions {
  /** An agent file, or a folder of them. */
  readonly path: string;
  /** plimsoll.yaml of the working directory, if it is there, without it. */
  readonly serverFile?: string;
  readonly format: DiagnosticsFormat;
  /** Dotted settings, as given to `serve`. */
  readonly flags?: Readonly<Record<string, string | undefined>>;
  readonly provider?: ModelProvider;
  readonly modelId?: string;
}

export interface CheckIo {
  stdout(text: string): void;
  stderr(text: string): void;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly workingDirectory: string;
  readonly color: boolean;
}

/** The exit code: 0 if everything fits, 78 if not. */
export async function runCheck(options: CheckOptions, io: CheckIo): Promise<number> {
  const { environment, workingDirectory } = io;
  const { path, serverFile, flags = {}, provider, modelId } = options;
  const overrides = {
    ...(provider !== undefined && { provider }),
    ...(modelId !== undefined && { modelId }),
  };
  const agents = await attempt(() => loadAgents(path, environment, overrides));
  const settings = await attempt(() => {
    const file = serverFile === undefined ? {} : { file: serverFile };
    return loadConfig({ ...file, flags, environment, workingDirectory });
  });
  const parts = await Promise.all(
    (agents.value ?? []).map((agent) => problemsOfParts(agent, environment, workingDirectory)),
  );
  const diagnostics = [...agents.diagnostics, ...settings.diagnostics, ...parts.flat()];

  if (options.format === "json") {
    io.stdout(toJson(diagnostics, agents.value, settings.value));
    return diagnostics.length === 0 ? EXIT.ok : EXIT.config;
  }
  if (diagnostics.length > 0) {
    const text = formatDiagnostics(diagnostics, options.format, io.color);
    if (options.format === "github") io.stdout(text);
    else io.stderr(`${text}\n${countOf(diagnostics.length, "problem")}\n`);
    return EXIT.config;
  }
  io.stdout(toSummary(agents.value ?? [], settings.value, workingDirectory));
  return EXIT.ok;
}

interface Attempt<T> {
  readonly value?: T;
  readonly diagnostics: readonly Diagnostic[];
}

async function attempt<T>(load: () => Promise<T>): Promise<Attempt<T>> {
  try {
    return { value: await load(), diagnostics: [] };
  } catch (thrown) {
    if (thrown instanceof DiagnosticsError) return { diagnostics: thrown.diagnostics };
    throw thrown;
  }
}

/** What can only be known by loading what the agent file names: its modules and its script. */
async function problemsOfParts(
  agent: AgentDefinition,
  environment: CheckIo["environment"],
  workingDirectory: string,
): Promise<readonly Diagnostic[]> {
  const { functions } = agent.tools;
  const { rehearsalScript } = agent.model;
  try {
    if (rehearsalScript !== undefined) {
      const { loadRehearsalScript } = await import("../rehearsal/load-script.ts");
      await loadRehearsalScript(rehearsalScript, environment);
    }
    if (functions.length > 0) {
      const { loadFunctionTools } = await import("../tools/function-tools.ts");
      await loadFunctionTools(functions);
    }
    return [];
  } catch (thrown) {
    if (thrown instanceof DiagnosticsError) return thrown.diagnostics;
    if (!(thrown instanceof AppError)) throw thrown;
    const file = relative(workingDirectory, agent.file);
    const { message, spec } = thrown;
    const place = { line: 1, column: 1, path: "", frame: "" };
    return [{ file, ...place, message, remedy: spec.remedy }];
  }
}

function toJson(
  diagnostics: readonly Diagnostic[],
  agents: readonly AgentDefinition[] | undefined,
  settings: LoadedConfig | undefined,
): string {
  const result = {
    ok: diagnostics.length === 0,
    diagnostics,
    agents: (agents ?? []).map(({ name, file, version, model, tools, hosting }) => ({
      name,
      file,
      version,
      model: { provider: model.provider, id: model.id },
      tools: { ...tools, mcp: Object.keys(tools.mcp) },
      pattern: hosting.pattern,
    })),
    settings: [...(settings?.effective ?? [])].map(([name, value]) => ({
      name,
      value,
      source: settings?.sources.get(name),
    })),
  };
  return `${JSON.stringify(result, null, 2)}\n`;
}

function toSummary(
  agents: readonly AgentDefinition[],
  settings: LoadedConfig | undefined,
  workingDirectory: string,
): string {
  const shown = (path: string) => relative(workingDirectory, path) || ".";
  const agentLines = agents.flatMap(({ name, file, model, tools, hosting }) => [
    `${name}  ${shown(file)}`,
    `  model    ${model.id} (${model.provider})`,
    `  tools    ${toolsOf(tools, shown)}`,
    `  pattern  ${hosting.pattern}`,
  ]);
  const given = [...(settings?.sources ?? [])].filter(([, source]) => source !== "default");
  const names = Math.max(0, ...given.map(([name]) => name.length));
  const settingLines = given.map(
    ([name, source]) => `  ${name.padEnd(names)}  ${settings?.effective.get(name)}  (${source})`,
  );
  const file = settings?.file ?? null;
  return [
    ...agentLines,
    "",
    `settings  ${file === null ? "no server file" : shown(file)}`,
    ...settingLines,
    given.length === 0 ? "  all at their defaults" : "  the others at their defaults",
    "",
    `${countOf(agents.length, "agent")}, no problems`,
    "",
  ].join("\n");
}

function toolsOf(tools: AgentDefinition["tools"], shown: (path: string) => string): string {
  const names = [
    ...tools.builtin,
    ...tools.functions.map(shown),
    ...Object.entries(tools.mcp).map(([name, { type }]) => `${name} (MCP, ${type})`),
  ];
  return names.length === 0 ? "none" : names.join(", ");
}
