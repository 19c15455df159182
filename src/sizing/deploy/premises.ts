/**
 * What all artefacts are made from: the plan, and of agents and settings what a platform has to know.
 * Finds what cannot work together before anything is written. Pure.
 *
 * @module
 */

import type { AgentDefinition } from "../../agent/definition.ts";
import type { Config } from "../../config/config.ts";
import { USUAL_COPIES_SIZE } from "../../config/sessions-schema.ts";
import { formatBytes, parseBytes } from "../../lib/bytes.ts";
import { type Diagnostic, placeless } from "../../lib/diagnostics.ts";
import { type PlannedFleet, modelIsShort, type Workload } from "../plan.ts";
import type { Profile } from "../profile.ts";

export interface DeployInput {
  /** The name of the service, and of what belongs to it. */
  readonly name: string;
  readonly image: string;
  /** Where the artefacts are written, as the user named it. */
  readonly folder: string;
  /** The path of the agent file or folder, in the folder of which the image is made. */
  readonly agentPath: string;
  /** The path of the server file, there too; null without one. */
  readonly serverFile: string | null;
  /** Where Prometheus is asked; null if nobody said. */
  readonly prometheus: string | null;
  /** Variables of the environment, without a default, that the files name. */
  readonly variables: readonly string[];
  readonly agents: readonly AgentDefinition[];
  readonly config: Config;
  readonly profile: Profile;
  readonly workload: Workload;
  readonly fleet: PlannedFleet;
}

export interface Premises extends Omit<DeployInput, "agents" | "config"> {
  readonly port: number;
  readonly longestTurn: { readonly durationMs: number; readonly agent: string };
  /** Whether sessions outlive their turns. */
  readonly keepsSessions: boolean;
  /** Whether any replica can take the next turn of a session. */
  readonly isShared: boolean;
  /** Whether replicas can find each other, in the store. */
  readonly hasStore: boolean;
  /** Whether sessions hold memory between their turns. */
  readonly isLongRunning: boolean;
  /** Agents whose tools need a shell. */
  readonly shellAgents: readonly string[];
  /** Besides 443, what the replicas have to reach. */
  readonly egressPorts: readonly EgressPort[];
  /** Whether credentials come from an address of the cloud itself. */
  readonly usesCloud: boolean;
  readonly metricsNeedKey: boolean;
  readonly outboxBytes: number;
  /** Of `sessions.copiesSize`; null where that is as it is by itself. */
  readonly copiesBytes: number | null;
}

export interface EgressPort {
  readonly port: number;
  readonly what: string;
}

export function premisesOf({ agents, config, ...input }: DeployInput): Premises {
  const patterns = agents.map(({ hosting }) => hosting.pattern);
  const keepsSessions = patterns.some((pattern) => pattern !== "ephemeral");
  const [longest] = agents.toSorted((a, b) => b.limits.turnTimeMs - a.limits.turnTimeMs);
  const providers = agents.map(({ model }) => model.provider);
  const isUsual = config.sessions.copiesBytes === parseBytes(USUAL_COPIES_SIZE);
  const credentials = providers.includes("anthropic") ? ["ANTHROPIC_API_KEY"] : [];
  return {
    ...input,
    variables: [...new Set([...credentials, ...input.variables])],
    port: config.listen.port === 0 ? 8080 : config.listen.port,
    longestTurn: { durationMs: longest?.limits.turnTimeMs ?? 0, agent: longest?.name ?? "" },
    keepsSessions,
    isShared: !keepsSessions || config.sessions.store !== null,
    hasStore: config.sessions.store !== null,
    isLongRunning: patterns.includes("long-running"),
    shellAgents: agents.filter(({ tools }) => tools.builtin.includes("Bash")).map(nameOf),
    egressPorts: egressOf(agents, config),
    usesCloud: providers.some((one) => one !== "anthropic" && one !== "rehearsal"),
    metricsNeedKey: config.auth.keys.length > 0 && !config.telemetry.publicMetrics,
    outboxBytes: config.sessions.outboxBytes,
    copiesBytes: isUsual ? null : config.sessions.copiesBytes,
  };
}

/** What cannot work, whatever the platform; each with its cure. */
export function deployProblemsOf({ agents, config, fleet, ...input }: DeployInput): Diagnostic[] {
  const { replicas, replica, size } = fleet;
  const { maxTurns, memoryLimitBytes } = config.capacity;
  const file = input.serverFile ?? "plimsoll.yaml";
  const problems: Diagnostic[] = [];
  const alone = agents.find(({ hosting }) => hosting.pattern === "single-container");
  if (alone !== undefined) {
    const message = `is \`single-container\` for ${alone.name}: a fleet cannot be planned for it`;
    const remedy = "Start a replica for each session, as examples/single-container does";
    problems.push(placeless(input.agentPath, message, remedy, "hosting.pattern"));
  }
  const { model, users, turnsPerUserHour } = input.workload;
  if (model !== null && modelIsShort(input.workload)) {
    const taken = Math.floor(model.turnsPerHour).toLocaleString("en");
    const asked = Math.ceil(users * turnsPerUserHour).toLocaleString("en");
    const message = `lets the model take ${taken} turns an hour, and ${asked} are asked for`;
    const remedy = "Have the limit raised, or plan for fewer users: more replicas do not help";
    const key = model.binds === "requests" ? "modelRequests" : "modelTokens";
    problems.push(placeless("the workload", message, remedy, key));
  }
  const keeping = agents.find(({ hosting }) => hosting.pattern !== "ephemeral");
  if (replicas > 1 && keeping !== undefined && config.sessions.store === null) {
    const message = `is missing: ${replicas} replicas, and ${keeping.name} keeps its sessions`;
    const remedy =
      "Set a store that they share, such as `store: ${SESSION_STORE}`; or write `hosting: " +
      "{ pattern: ephemeral }` for agents without a memory";
    problems.push(placeless(file, message, remedy, "sessions.store"));
  }
  if (maxTurns !== null && maxTurns < replica.turns) {
    const message = `is ${maxTurns}: the plan counts with ${replica.turns} turns in a replica`;
    const remedy = "Remove it, or plan with smaller replicas";
    problems.push(placeless(file, message, remedy, "capacity.maxTurns"));
  }
  if (memoryLimitBytes !== null && memoryLimitBytes < size.memoryBytes) {
    const limit = formatBytes(memoryLimitBytes);
    const message = `is ${limit}: the plan counts with replicas of ${size.name}`;
    const remedy = "Remove it: the limit of the container is read";
    problems.push(placeless(file, message, remedy, "capacity.memoryLimit"));
  }
  return problems;
}

/** What makes the profile say less of the agents that are deployed. */
export function profileWarnings({
  agents,
  profile,
}: Pick<DeployInput, "agents" | "profile">): readonly string[] {
  const { name, version } = profile.agent;
  const measured = agents.find((agent) => agent.name === name);
  if (measured === undefined) {
    return [`The profile is of ${name}, which is not among the agents: measure one of these.`];
  }
  const others = agents.filter((agent) => agent !== measured).map(nameOf);
  const isChanged = measured.version !== version;
  return [
    ...(isChanged ? [`${name} has changed since it was measured: measure it again.`] : []),
    ...(others.length > 0
      ? [`The plan counts with turns of ${name}, also where they are of ${others.join(", ")}.`]
      : []),
  ];
}

/** Ports other than that of HTTPS, of what is named in the files. */
function egressOf(agents: readonly AgentDefinition[], config: Config): readonly EgressPort[] {
  const { store } = config.sessions;
  const { otlpEndpoint } = config.telemetry;
  const endpoint = store?.searchParams.get("endpoint") ?? null;
  const servers = agents.flatMap(({ tools }) => Object.entries(tools.mcp));
  const named: (readonly [what: string, url: string])[] = [
    ...(store === null ? [] : [["the session store", endpoint ?? store.href] as const]),
    ...(otlpEndpoint === null ? [] : [["the OpenTelemetry collector", otlpEndpoint] as const]),
    ...servers.flatMap(([name, server]) =>
      server.type === "stdio" ? [] : [[`the MCP server ${name}`, server.url] as const],
    ),
  ];
  const ports = named.flatMap(([what, url]) => {
    const port = portOf(url);
    return port === null || port === HTTPS ? [] : [{ what, port }];
  });
  return ports.filter(({ port }, at) => ports.findIndex((one) => one.port === port) === at);
}

const HTTPS = 443;
const USUAL_PORTS: Readonly<Record<string, number>> = {
  "http:": 80,
  "https:": HTTPS,
  "redis:": 6379,
  "rediss:": 6379,
  "postgres:": 5432,
  "postgresql:": 5432,
  "s3:": HTTPS,
};

function portOf(text: string): number | null {
  if (!URL.canParse(text)) return null;
  const { protocol, port } = new URL(text);
  return port === "" ? (USUAL_PORTS[protocol] ?? null) : Number(port);
}

function nameOf({ name }: AgentDefinition): string {
  return name;
}
