/**
 * `plimsoll check`: whether agent files and server file fit, everything that does not, and what
 * the server would run with. Starts nothing and asks no model.
 *
 * @module
 */

import { relative } from "node:path";
import { requireClaude } from "../agent-process/claude-program.ts";
import type { AgentDefinition } from "../agent/definition.ts";
import type { LoadedConfig } from "../config/load.ts";
import {
  type Diagnostic,
  DiagnosticsError,
  type DiagnosticsFormat,
  formatDiagnostics,
  placeless,
} from "../lib/diagnostics.ts";
import { AppError } from "../lib/errors.ts";
import { EXIT } from "./exit-codes.ts";
import { countOf } from "../lib/figures.ts";
import type { Io } from "./io.ts";
import { type LoadOptions, tryLoad } from "./load.ts";

export interface CheckOptions extends LoadOptions {
  readonly format: DiagnosticsFormat;
}

export type CheckIo = Omit<Io, "write" | "readerGone" | "isTerminal" | "isInteractive">;

/**
 * The exit code: 0 if everything fits, 78 if not.
 *
 * @throws {AppError} `claude_missing` when there is no other problem.
 */
export async function runCheck(options: CheckOptions, io: CheckIo): Promise<number> {
  const { environment, workingDirectory } = io;
  const loaded = await tryLoad(options, io);
  const diagnosed = loaded.flatMap(problemsOf);
  const [agents, settings] = [valueOf(loaded[0]), valueOf(loaded[1])];
  const parts = await Promise.all(
    (agents ?? []).map((agent) => problemsOfParts(agent, environment, workingDirectory)),
  );
  const diagnostics = [...diagnosed, ...parts.flat()];
  if (diagnostics.length === 0) requireClaude();

  if (options.format === "json") {
    io.stdout(toJson(diagnostics, agents, settings));
    return diagnostics.length === 0 ? EXIT.ok : EXIT.config;
  }
  if (diagnostics.length > 0) {
    const text = formatDiagnostics(diagnostics, options.format, io.color);
    if (options.format === "github") io.stdout(text);
    else io.stderr(`${text}\n${countOf(diagnostics.length, "problem")}\n`);
    return EXIT.config;
  }
  io.stdout(toSummary(agents ?? [], settings, workingDirectory));
  return EXIT.ok;
}

function valueOf<T>(result: PromiseSettledResult<T>): T | undefined {
  return result.status === "fulfilled" ? result.value : undefined;
}

/** @throws What is no problem of the files but a bug. */
function problemsOf(result: PromiseSettledResult<unknown>): readonly Diagnostic[] {
  if (result.status === "fulfilled") return [];
  if (result.reason instanceof DiagnosticsError) return result.reason.diagnostics;
  throw result.reason;
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
    return await problemsOfTools(functions, workingDirectory);
  } catch (thrown) {
    if (thrown instanceof DiagnosticsError) return thrown.diagnostics;
    if (!(thrown instanceof AppError)) throw thrown;
    const file = relative(workingDirectory, agent.file);
    return [placeless(file, thrown.message, thrown.spec.remedy)];
  }
}

async function problemsOfTools(
  modules: readonly string[],
  workingDirectory: string,
): Promise<readonly Diagnostic[]> {
  if (modules.length === 0) return [];
  const { loadFunctionTools } = await import("../tools/function-tools.ts");
  try {
    await loadFunctionTools(modules);
    return [];
  } catch (thrown) {
    if (!(thrown instanceof AppError)) throw thrown;
    const named = modules.find((file) => thrown.message.includes(`"${file}"`)) ?? "";
    const file = relative(workingDirectory, named);
    const remedy = "A tool is a named export with `description`, `input` and `run`";
    return [placeless(file, thrown.message.replace(named, file), remedy)];
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
