/**
 * The first screen of a server: what runs, where, how much it can carry, and how to try it. Pure.
 *
 * @module
 */

import { styleText } from "node:util";
import type { AgentDefinition } from "../agent/definition.ts";
import type { Config } from "../config/config.ts";
import type { ListeningServer } from "../server/serve.ts";

export interface BannerFacts {
  readonly server: ListeningServer;
  readonly config: Config;
  readonly agents: readonly AgentDefinition[];
  readonly version: string;
}

export function serverBanner(
  { server, config, agents, version }: BannerFacts,
  color: boolean,
): string {
  const paint = (style: Parameters<typeof styleText>[0], text: string) =>
    color ? styleText(style, text, { validateStream: false }) : text;
  const label = (text: string) => paint("dim", text.padEnd(12));
  const { url } = server;

  const lines = ["", `  ${paint("bold", "plimsoll")} ${version}`, ""];
  if (agents.some(({ model }) => model.provider === "rehearsal")) {
    lines.push(...rehearsalNotice(paint), "");
  }
  for (const agent of agents) {
    lines.push(`  ${label("agent")}${paint("bold", agent.name)}  ${paint("dim", describe(agent))}`);
    lines.push(`  ${label("  REST")}POST ${url}/v1/agents/${agent.name}/turns`);
    lines.push(`  ${label("  AG-UI")}POST ${url}/v1/agents/${agent.name}/agui`);
  }
  lines.push("", ...operations(url, label), "", ...loadLine(server, label), "");
  const [first] = agents;
  if (first !== undefined) lines.push("  Try it:", "", `  ${tryIt(url, first, config)}`, "");
  return `${lines.join("\n")}\n`;
}

type Paint = (style: Parameters<typeof styleText>[0], text: string) => string;
type Label = (text: string) => string;

function rehearsalNotice(paint: Paint): string[] {
  return [
    `  ${paint(["bold", "yellow"], "REHEARSAL")}   A script answers in place of Claude: no key, no network, no cost.`,
    "              The SDK, the claude process, its memory and its sessions are real.",
    "              To talk to Claude, set ANTHROPIC_API_KEY and start again.",
  ];
}

function describe({ model, hosting }: AgentDefinition): string {
  const who = model.provider === "rehearsal" ? "rehearsal" : `${model.id} (${model.provider})`;
  return `${who}, ${hosting.pattern} sessions`;
}

function operations(url: string, label: Label): string[] {
  return [
    `  ${label("sessions")}${url}/v1/sessions`,
    `  ${label("capacity")}${url}/capacity`,
    `  ${label("metrics")}${url}/metrics`,
    `  ${label("health")}${url}/livez  ${url}/readyz`,
    `  ${label("openapi")}${url}/openapi.json`,
  ];
}

function loadLine({ gate, memoryLimit }: ListeningServer, label: Label): string[] {
  const { loadLineBytes, parentBytes, turnsThatFit, maxTurns } = gate.snapshot(Date.now());
  const ceiling = maxTurns === null ? "" : `, at most ${maxTurns} by capacity.maxTurns`;
  return [
    `  ${label("memory")}${mebibytes(memoryLimit.bytes)}, ${memoryLimit.source}`,
    `  ${label("load line")}${mebibytes(loadLineBytes)}, of which ${mebibytes(parentBytes)} for the server`,
    `  ${label("turns")}${turnsThatFit} at once${ceiling}; more are refused with when to come back`,
  ];
}

function tryIt(url: string, agent: AgentDefinition, config: Config): string {
  const key = config.auth.keys.length > 0 ? ` -H 'authorization: Bearer YOUR_KEY'` : "";
  return (
    `curl -N ${url}/v1/agents/${agent.name}/turns${key}` +
    ` -H 'accept: text/event-stream' -H 'content-type: application/json'` +
    ` -d '{"input":"Hello, who are you?"}'`
  );
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / 2 ** 20).toLocaleString("en")} MiB`;
}
