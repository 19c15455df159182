/**
 * What Plimsoll adds to the time to first token, against the SDK's own `query()` with the same
 * options. The scripted model answers at once, so nothing of a model's time dilutes the ratio.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { query } from "@anthropic-ai/claude-agent-sdk";
import { AGENT_PROCESS_SETTINGS, sdkOptionsOf } from "../src/agent/sdk-options.ts";
import type { AgentDefinition } from "../src/agent/definition.ts";
import { loadAgents } from "../src/agent/load.ts";
import { providerEnvironment } from "../src/config/environment.ts";
import { openInput } from "../src/turn/open-input.ts";
import { loadFunctionTools, type LoadedFunctionTools } from "../src/tools/function-tools.ts";
import { boxPlot, summaryTable } from "./page.ts";
import {
  childrenOf,
  EXAMPLE_AGENT,
  scratchDirectory,
  startModel,
  startServer,
} from "./processes.ts";
import { atMost, type Benchmark, type Claim } from "./result.ts";
import { median, ratioInterval, summaryOf, type Interval } from "./statistics.ts";
import { timeTurn } from "./turn-client.ts";

const SCRIPT = {
  defaults: { firstTokenMs: 0, tokensPerSecond: 1_000 },
  rules: [{ reply: [{ text: "Good morning to you, whoever you are." }] }],
};
const INPUT = "Good morning";
const WARM_UP_ROUNDS = 3;
const CHECK_MS = 10;
const NEVER = new AbortController().signal;

interface Load {
  readonly turnsAtOnce: number;
  readonly rounds: number;
  readonly ratioLimit: number;
}

const LOADS: readonly Load[] = [
  { turnsAtOnce: 1, rounds: 40, ratioLimit: 1.05 },
  { turnsAtOnce: 4, rounds: 14, ratioLimit: 1.1 },
];

interface Compared extends Load {
  /** Time to first token in ms; one list for each round. */
  readonly plimsoll: readonly (readonly number[])[];
  readonly bare: readonly (readonly number[])[];
  readonly ratio: number;
  readonly interval: Interval;
}

export const overhead: Benchmark = {
  name: "overhead",
  summary: "time to first token through Plimsoll against the SDK's own query()",
  async run(report, signal) {
    using scratch = scratchDirectory();
    await using model = await startModel(scratch.path, SCRIPT);
    await using server = await startServer({
      agentFile: EXAMPLE_AGENT,
      dataDirectory: join(scratch.path, "data"),
      environment: model.environment,
    });
    const bare = await prepareBare(join(scratch.path, "bare"), model.environment);
    const sides = {
      plimsoll: () =>
        timeTurn({ url: server.url, agentName: "hello", input: INPUT }).then(
          ({ firstTextMs }) => firstTextMs,
        ),
      bare: () => timeBareTurn(bare),
      settled: () => agentProcessesGone([server.pid, model.pid]),
    };

    const compared: Compared[] = [];
    for (const load of LOADS) {
      report(`${load.turnsAtOnce} at once, ${load.rounds} rounds of both sides`);
      compared.push(await compare(load, sides, signal));
      const { ratio, interval } = compared.at(-1) as Compared;
      report(
        `  ratio ${ratio.toFixed(3)} (${interval.low.toFixed(3)} to ${interval.high.toFixed(3)})`,
      );
    }
    return { claims: compared.map(claimOf), data: compared, sections: sectionsOf(compared) };
  },
};

interface Sides {
  readonly plimsoll: () => Promise<number>;
  readonly bare: () => Promise<number>;
  readonly settled: () => Promise<void>;
}

async function compare(load: Load, sides: Sides, signal: AbortSignal): Promise<Compared> {
  const plimsoll: number[][] = [];
  const bare: number[][] = [];
  for (let round = -WARM_UP_ROUNDS; round < load.rounds; round += 1) {
    signal.throwIfAborted();
    const order =
      round % 2 === 0 ? (["plimsoll", "bare"] as const) : (["bare", "plimsoll"] as const);
    for (const side of order) {
      const times = await Promise.all(Array.from({ length: load.turnsAtOnce }, sides[side]));
      await sides.settled();
      if (round >= 0) (side === "plimsoll" ? plimsoll : bare).push(times);
    }
  }
  const ratio = median(plimsoll.flat()) / median(bare.flat());
  return { ...load, plimsoll, bare, ratio, interval: ratioInterval(plimsoll, bare) };
}

interface BareSide {
  readonly directory: string;
  readonly agent: AgentDefinition;
  readonly functionTools: LoadedFunctionTools;
  readonly environment: Readonly<Record<string, string>>;
}

async function prepareBare(
  directory: string,
  ofModel: Readonly<Record<string, string>>,
): Promise<BareSide> {
  const all = { ...process.env, ...ofModel };
  const [agent] = await loadAgents(EXAMPLE_AGENT, all);
  if (agent === undefined) throw new Error("the example has no agent");
  return {
    directory,
    agent,
    functionTools: await loadFunctionTools(agent.tools.functions),
    environment: {
      ...providerEnvironment(agent.model.provider, all),
      ...AGENT_PROCESS_SETTINGS,
    },
  };
}

/** A turn of a new session without Plimsoll: time from the call of `query()` to the first text. */
async function timeBareTurn({ directory, agent, functionTools, environment }: BareSide) {
  const sessionId = randomUUID();
  const own = (name: string) => join(directory, sessionId, name);
  for (const name of ["work", "home", "config", "tmp"]) mkdirSync(own(name), { recursive: true });
  const context = {
    agentName: agent.name,
    tenant: "default",
    sessionId,
    turnId: sessionId,
    signal: NEVER,
  };
  const place = { sessionId, isNew: true, workDirectory: own("work"), costSoFarUsd: 0 };
  const options = sdkOptionsOf(
    agent,
    place,
    functionTools.serverFor(
      () => context,
      () => {},
    ),
  );
  const env = {
    ...environment,
    HOME: own("home"),
    CLAUDE_CONFIG_DIR: own("config"),
    TMPDIR: own("tmp"),
  };
  const input = openInput();
  input.say([{ type: "text", text: INPUT }]);
  let firstTextMs: number | null = null;
  const calledAtMs = performance.now();
  for await (const message of query({ prompt: input.messages, options: { ...options, env } })) {
    if (message.type === "result") input.close();
    if (message.type !== "stream_event" || firstTextMs !== null) continue;
    const { event } = message;
    if (event.type === "content_block_delta" && event.delta.type === "text_delta") {
      firstTextMs = performance.now() - calledAtMs;
    }
  }
  if (firstTextMs === null) throw new Error("a bare turn gave no text");
  return firstTextMs;
}

/**
 * The SDK's messages end before its process does, and one that is still ending would slow down
 * whoever comes next. Plimsoll's stream ends when the process is gone.
 */
async function agentProcessesGone(servers: readonly number[]): Promise<void> {
  while (childrenOf(process.pid).some((pid) => !servers.includes(pid))) await delay(CHECK_MS);
}

function claimOf({ turnsAtOnce, ratio, ratioLimit, interval }: Compared): Claim {
  const turns = turnsAtOnce === 1 ? "one turn" : `${turnsAtOnce} turns at once`;
  const claim = `Time to first token through Plimsoll / bare query(), ${turns}, medians`;
  const { measured, ...rest } = atMost(claim, ratioLimit, ratio, (value) => value.toFixed(3));
  const spread = `95 % interval ${interval.low.toFixed(3)} to ${interval.high.toFixed(3)}`;
  return { ...rest, measured: `${measured} (${spread})` };
}

function sectionsOf(compared: readonly Compared[]): string[] {
  const rows = compared.flatMap(({ turnsAtOnce, plimsoll, bare }) => [
    [`Plimsoll, ${turnsAtOnce} at once`, plimsoll.flat()] as const,
    [`bare query(), ${turnsAtOnce} at once`, bare.flat()] as const,
  ]);
  return [
    "Both sides run the example agent in a new session each time, with the options of " +
      "`sdkOptionsOf`, the same environment and function tools, against the same scripted model in " +
      "a process of its own, which answers at once: a real model's time would only make the ratio " +
      "smaller. Rounds alternate, and which side goes first alternates too. Plimsoll is timed by " +
      "an HTTP client from the sending of the request, bare `query()` from its call, both to the " +
      "first text. What Plimsoll writes durably for a new session is in its time.",
    "## Time to first token",
    summaryTable(
      "ms",
      rows.map(([label, values]) => [label, summaryOf(values)] as const),
    ),
    boxPlot("ms", rows),
  ];
}
