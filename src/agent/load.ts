/**
 * Agent files to {@link AgentDefinition}s: one file, or all of a folder, with every problem of
 * every file at once.
 *
 * @module
 */

import { readdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { KIB, MIB } from "../lib/byte-units.ts";
import { formatBytes } from "../lib/bytes.ts";
import { deepFreeze } from "../lib/deep-freeze.ts";
import { type Diagnostic, DiagnosticsError, placeless } from "../lib/diagnostics.ts";
import type { Environment } from "../lib/substitute.ts";
import { readTextFile } from "../lib/text-file.ts";
import { inOrder, readYaml } from "../lib/yaml-file.ts";
import type { AgentDefinition, McpServer, ModelProvider } from "./definition.ts";
import { type Included, readIncluded, versionOf } from "./included.ts";
import { hostingOf } from "./hosting.ts";
import { AgentFile, type AgentSettings } from "./schema.ts";

const MAX_FILE_BYTES = MIB;
const MAX_AGENTS = 100;
/** The agent process gets it as one argument, and Linux takes none of more than 128 KiB. */
const MAX_OUTPUT_SCHEMA_BYTES = 120 * KIB;

export interface AgentOverrides {
  readonly provider?: ModelProvider;
  readonly modelId?: string;
}

/**
 * Loads an agent file, or of a folder every `*.yaml` but plimsoll.yaml and every `<name>/agent.yaml`.
 *
 * @throws {DiagnosticsError} `agent_invalid` with every problem of every file.
 */
export async function loadAgents(
  path: string,
  environment: Environment,
  overrides: AgentOverrides = {},
): Promise<readonly AgentDefinition[]> {
  const found = await findAgentFiles(path);
  const loaded: LoadedAgent[] = [];
  for (const file of found.files) loaded.push(await loadAgent(file, environment, overrides));
  const diagnostics = [
    ...found.diagnostics,
    ...loaded.flatMap((each) => each.diagnostics),
    ...repeatedNames(loaded),
    ...notAlone(loaded),
  ];
  if (diagnostics.length > 0) throw new DiagnosticsError("agent_invalid", diagnostics);
  return deepFreeze(loaded.flatMap(({ agent }) => (agent === undefined ? [] : [agent])));
}

async function findAgentFiles(path: string) {
  const kind = await stat(path).catch(() => undefined);
  if (kind?.isDirectory() !== true) return { files: [path], diagnostics: [] };
  const entries = await readdir(path, { withFileTypes: true }).catch(() => undefined);
  if (entries === undefined) {
    const remedy = "Change its permissions or the user";
    return { files: [], diagnostics: [placeless(path, "may not be read by this user", remedy)] };
  }
  const files: string[] = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith(".") || entry.name === "node_modules") continue;
    const nested = join(path, entry.name, "agent.yaml");
    if (entry.isDirectory() || (entry.isSymbolicLink() && (await isFolder(dirname(nested))))) {
      if (await exists(nested)) files.push(nested);
    } else if (/\.ya?ml$/u.test(entry.name) && !/^plimsoll\.ya?ml$/u.test(entry.name)) {
      files.push(join(path, entry.name));
    }
  }
  if (files.length > 0 && files.length <= MAX_AGENTS) return { files, diagnostics: [] };
  const [message, remedy] =
    files.length === 0
      ? ["holds no agent file", "Put a file `agent.yaml` there"]
      : [`holds ${files.length} agent files, more than ${MAX_AGENTS}`, "Spread them over servers"];
  return { files: [], diagnostics: [placeless(path, message, remedy)] };
}

/** Follows links. */
async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (kind) => kind.isDirectory(),
    () => false,
  );
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

interface LoadedAgent {
  /** There if the file has no problems. */
  readonly agent?: AgentDefinition;
  readonly diagnostics: readonly Diagnostic[];
  /** For the problem of a name that is there twice. */
  readonly complainOfName?: (otherFile: string) => Diagnostic;
  /** For the problem of an agent that needs a server of its own. */
  readonly complainOfCompany?: (agents: number) => Diagnostic;
}

async function loadAgent(
  file: string,
  environment: Environment,
  overrides: AgentOverrides,
): Promise<LoadedAgent> {
  const path = resolve(file);
  const read = await readTextFile(path, MAX_FILE_BYTES);
  if (!read.ok) {
    return { diagnostics: [placeless(file, `the agent file ${read.message}`, read.remedy)] };
  }
  const result = readYaml({ file, text: read.text }, AgentFile, environment);
  const { included, diagnostics } = await readIncluded(result.document, path);
  if (!result.ok) return { diagnostics: inOrder([...result.diagnostics, ...diagnostics]) };
  if (diagnostics.length > 0) return { diagnostics: inOrder(diagnostics) };

  const version = versionOf(read.text, included);
  const agent = toDefinition(result.value, { path, included, overrides, version });
  if (Buffer.byteLength(JSON.stringify(agent.outputSchema ?? {})) > MAX_OUTPUT_SCHEMA_BYTES) {
    const message = `is larger than ${formatBytes(MAX_OUTPUT_SCHEMA_BYTES)} as JSON`;
    const remedy = "Make it smaller, by shorter descriptions for example";
    return { diagnostics: [result.document.diagnosticAt(["output", "schema"], message, remedy)] };
  }
  const complainOfName = (otherFile: string) =>
    result.document.diagnosticAt(["name"], `is the name of ${otherFile} as well`, "Rename one");
  const complainOfCompany = (agents: number) =>
    result.document.diagnosticAt(
      ["hosting", "pattern"],
      `needs a server of its own: it serves one session of one agent, and here are ${agents}`,
      "Serve this file alone, or use the pattern `long-running`",
    );
  return { agent, diagnostics: [], complainOfName, complainOfCompany };
}

function repeatedNames(loaded: readonly LoadedAgent[]): readonly Diagnostic[] {
  const files = new Map<string, string>();
  return loaded.flatMap(({ agent, complainOfName }) => {
    if (agent === undefined || complainOfName === undefined) return [];
    const other = files.get(agent.name);
    if (other !== undefined) return [complainOfName(other)];
    files.set(agent.name, agent.file);
    return [];
  });
}

function notAlone(loaded: readonly LoadedAgent[]): readonly Diagnostic[] {
  if (loaded.length === 1) return [];
  return loaded.flatMap(({ agent, complainOfCompany }) =>
    agent?.hosting.pattern === "single-container" && complainOfCompany !== undefined
      ? [complainOfCompany(loaded.length)]
      : [],
  );
}

interface Resolved {
  readonly path: string;
  readonly included: Included;
  readonly overrides: AgentOverrides;
  readonly version: string;
}

function toDefinition(settings: AgentSettings, resolved: Resolved): AgentDefinition {
  const { name, description, limits, hosting, tools, instructions, output } = settings;
  const { included } = resolved;
  const outputSchema = included.outputSchema ?? output?.schema;
  return {
    name,
    description,
    file: resolved.path,
    version: resolved.version,
    model: modelOf(settings, resolved),
    instructions: typeof instructions === "string" ? instructions : (included.instructions ?? ""),
    tools: {
      builtin: tools.builtin,
      functions: included.functions,
      mcp: mcpOf(settings, resolved),
    },
    ...(outputSchema !== undefined && { outputSchema }),
    limits: {
      steps: limits.steps,
      ...(limits.budgetUsd !== undefined && { budgetUsd: limits.budgetUsd }),
      turnTimeMs: limits.turnTime,
      stallTimeMs: Math.min(limits.stallTime, limits.turnTime),
      ...(limits.turnMemory !== undefined && { turnMemoryBytes: limits.turnMemory }),
      transcript: { maxBytes: limits.transcript, whenFull: limits.whenTranscriptFull },
    },
    hosting: hostingOf(hosting),
  };
}

function modelOf({ model }: AgentSettings, { included, overrides }: Resolved) {
  const { effort, thinking, fallback } = model;
  const provider = overrides.provider ?? model.provider;
  const script = provider === "rehearsal" ? included.rehearsalScript : undefined;
  return {
    provider,
    id: overrides.modelId ?? model.id,
    ...(effort !== undefined && { effort }),
    ...(thinking !== undefined && { thinking: thinkingOf(thinking) }),
    fallback,
    ...(script !== undefined && { rehearsalScript: script }),
  };
}

/** The working directory of an MCP server is its session's: what is beside the file needs its path. */
function mcpOf({ tools }: AgentSettings, { path }: Resolved): Readonly<Record<string, McpServer>> {
  const inPlace = (text: string) =>
    /^\.{1,2}\//u.test(text) ? resolve(dirname(path), text) : text;
  const servers = Object.entries(tools.mcp).map(([name, server]) => {
    if (server.type !== "stdio") return [name, server] as const;
    const { command, args } = server;
    return [name, { ...server, command: inPlace(command), args: args.map(inPlace) }] as const;
  });
  return Object.fromEntries(servers);
}

function thinkingOf(thinking: NonNullable<AgentSettings["model"]["thinking"]>) {
  if (typeof thinking === "string") return { type: thinking } as const;
  return { type: "enabled", budgetTokens: thinking.budgetTokens } as const;
}
