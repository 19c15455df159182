/**
 * The first screen of a server: what runs, where, how much it can carry, and how to try it. Pure.
 *
 * @module
 */

import type { AgentDefinition } from "../agent/definition.ts";
import type { Config } from "../config/config.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { ListeningServer } from "../server/serve.ts";
import { countOf, mebibytes } from "../lib/figures.ts";
import { wrapWords } from "../lib/wrap-words.ts";
import { painter, type Paint } from "./paint.ts";

export interface BannerFacts {
  readonly server: Omit<ListeningServer, "log">;
  readonly config: Config;
  readonly agents: readonly AgentDefinition[];
  readonly version: string;
  /** The agents do not ask for the rehearsal themselves. */
  readonly isRehearsalByFlag: boolean;
}

/** More agents than these share one line for each of their endpoints. */
const MAX_SHOWN_AGENTS = 3;

export function serverBanner(facts: BannerFacts, color: boolean): string {
  const paint = painter(color);
  const sections = [
    [`  ${paint("bold", "plimsoll")} ${paint("dim", facts.version)}`],
    rehearsalNotice(facts, paint),
    consoleRow(facts, paint),
    ...agentSections(facts, paint),
    operations(facts, paint),
    loadLine(facts, paint),
    [`  ${paint("dim", "Try it:")}`],
    [tryIt(facts)],
  ];
  const shown = sections.filter((lines) => lines.length > 0);
  return `\n${shown.map((lines) => `${lines.join("\n")}\n`).join("\n")}\n`;
}

/** One line: a label, perhaps a method, and what it is about. */
function row(paint: Paint, label: string, value: string, method = ""): string {
  const how = method === "" ? "" : `${paint("dim", method.padEnd(6))} `;
  return `  ${paint("dim", label.padEnd(11))} ${how}${value}`;
}

function rehearsalNotice({ agents, isRehearsalByFlag }: BannerFacts, paint: Paint): string[] {
  if (!agents.some(({ model }) => model.provider === "rehearsal")) return [];
  const then = isRehearsalByFlag ? "start again" : "write `provider: anthropic`";
  return [
    `  ${paint(["bold", "black", "bgYellow"], " REHEARSAL ")}  This is not Claude. A script answers: no key, no network,`,
    "               no cost. The SDK, the claude process and its memory are real.",
    `               To talk to Claude, set ANTHROPIC_API_KEY and ${then}.`,
  ];
}

function agentSections({ agents, server: { url } }: BannerFacts, paint: Paint): string[][] {
  const endpoints = (name: string) => [
    row(paint, "turn", `${url}/v1/agents/${name}/turns`, "POST"),
    row(paint, "AG-UI", `${url}/v1/agents/${name}/agui`, "POST"),
    row(paint, "connect", `${url}/v1/agents/${name}/agui/connect`, "POST"),
  ];
  const head = (agent: AgentDefinition) =>
    row(paint, "agent", `${paint("bold", agent.name)}  ${paint("dim", describe(agent))}`);
  if (agents.length <= MAX_SHOWN_AGENTS) {
    // Clients of AG-UI that know one address only find the only agent there.
    const paths = agents.length === 1 ? ["/agui", "/agui/connect"] : [];
    const short = paths.map((path) => row(paint, "", url + path, "POST"));
    return agents.map((agent) => [head(agent), ...endpoints(agent.name), ...short]);
  }
  return [[...agents.map(head), ...endpoints("{agent}")]];
}

function describe({ model, hosting }: AgentDefinition): string {
  const who = model.provider === "rehearsal" ? "rehearsal" : `${model.id}, ${model.provider}`;
  return `${who}, ${hosting.pattern} sessions`;
}

/** First of all addresses: the one to open. */
function consoleRow({ config, server: { url } }: BannerFacts, paint: Paint): string[] {
  if (!config.console.isEnabled) return [];
  return [row(paint, "console", `${paint("bold", `${url}/`)}  in a browser`)];
}

function operations({ config, server: { url } }: BannerFacts, paint: Paint): string[] {
  const { isEnabled, replicas } = config.console;
  const get = (label: string, path: string) => row(paint, label, `${url}${path}`, "GET");
  return [
    get("agents", "/v1/agents"),
    get("sessions", "/v1/sessions"),
    get("export", "/v1/sessions/{sessionId}/export"),
    row(paint, "warm", `${url}/v1/sessions/{sessionId}/warm`, "POST"),
    row(paint, "hold", `${url}/v1/sessions/{sessionId}/hold`, "POST"),
    row(paint, "sweep", `${url}/v1/sessions/sweep`, "POST"),
    get("turns", "/v1/turns"),
    get("events", "/v1/turns/{turnId}/events"),
    row(paint, "cancel", `${url}/v1/turns/{turnId}/cancel`, "POST"),
    get("capacity", "/capacity"),
    get("feed", "/v1/feed"),
    ...(isEnabled && replicas.length > 0 ? [get("replicas", "/v1/replicas")] : []),
    get("metrics", "/metrics"),
    get("alive", "/livez"),
    get("ready", "/readyz"),
    get("OpenAPI", "/openapi.json"),
  ];
}

function loadLine({ server, config }: BannerFacts, paint: Paint): string[] {
  const { gate, memoryLimit, containment } = server;
  const { shedStatus } = config.capacity;
  const { admission, loadLineBytes, usedBytes, nextTurnBytes, turnsThatFit, maxTurns } =
    gate.snapshot(monotonicMs());
  const ceiling = maxTurns === null ? "" : ` (capacity.maxTurns)`;
  const shares =
    admission === "static"
      ? `${mebibytes(usedBytes)} for the server, ${mebibytes(nextTurnBytes)} a turn`
      : `${mebibytes(usedBytes)} in use, ${mebibytes(nextTurnBytes)} predicted for a turn`;
  return [
    row(paint, "memory", `${mebibytes(memoryLimit.bytes)}, ${memoryLimit.source}`),
    row(paint, "load line", `${mebibytes(loadLineBytes)}: ${shares}`),
    row(
      paint,
      "carries",
      `${paint("bold", `${countOf(turnsThatFit, "turn")} at once`)}${ceiling}; more get ${shedStatus} and Retry-After`,
    ),
    ...wrapWords(containment, WRAPPED_COLUMNS).map((line, at) =>
      row(paint, at === 0 ? "contained" : "", line),
    ),
  ];
}

/** Beside the labels. */
const WRAPPED_COLUMNS = 66;

/** One line, to be pasted whole. */
function tryIt({ server: { url }, agents, config }: BannerFacts): string {
  const key = config.auth.keys.length > 0 ? ` -H 'authorization: Bearer YOUR_KEY'` : "";
  return (
    `curl -N ${url}/v1/agents/${agents[0]?.name ?? "{agent}"}/turns${key}` +
    ` -H 'accept: text/event-stream' -H 'content-type: application/json'` +
    ` -d '{"input":"Hello, who are you?"}'`
  );
}
