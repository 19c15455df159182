/**
 * The hosting patterns: what a session costs between its turns, how soon its first and its next
 * turn speak, and whether processes that are kept ever stand in a turn's way.
 *
 * @module
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { boxPlot, summaryTable } from "./page.ts";
import {
  childrenOf,
  memoryOf,
  metricOf,
  scratchDirectory,
  startModel,
  startServer,
  type RunningModel,
  type RunningServer,
} from "./processes.ts";
import { settings } from "./replica.ts";
import { atMost, type Benchmark, type Claim, type Size } from "./result.ts";
import { median, summaryOf } from "./statistics.ts";
import { askTurn, timeTurn, type TurnCall } from "./turn-client.ts";

const SCRIPT = {
  defaults: { firstTokenMs: 1, tokensPerSecond: 100 },
  rules: [{ reply: [{ tokens: 60 }] }],
};
const MEBIBYTE = 1024 * 1024;
const RESIDENT_LIMIT_RATIO = 0.35;
const SPARE_LIMIT_RATIO = 0.5;
const WARMED_LIMIT_RATIO = 0.5;
const WARM_LIMIT_MS = 5_000;
const POLL_MS = 20;
/** After a turn, a process gives some of its memory back. */
const SETTLE_MS = 1_500;
const SPARES = 2;

const PATTERNS = {
  ephemeral: "{ pattern: ephemeral }",
  hybrid: "{ pattern: hybrid }",
  linger: "{ pattern: hybrid, linger: 10m }",
  warmed: "{ pattern: hybrid }",
  "long-running": "{ pattern: long-running }",
  spare: `{ pattern: hybrid, spares: ${SPARES} }`,
} as const;
type Pattern = keyof typeof PATTERNS;
const NAMES = Object.keys(PATTERNS) as readonly Pattern[];

/** Two turns at once fit, by the two reserves. */
const TIGHT = settings({ "capacity.admission": "static", "capacity.memoryLimit": "1500MiB" });
const CALLERS = 2;
const BOTH = { plain: "{ pattern: hybrid }", kept: `{ linger: 10m, spares: ${SPARES} }` } as const;
type Side = keyof typeof BOTH;

const PLANS: Readonly<Record<Size, { readonly rounds: number; readonly turnsEach: number }>> = {
  full: { rounds: 15, turnsEach: 30 },
  small: { rounds: 2, turnsEach: 4 },
};

/** Of one pattern, one figure for each round. */
interface Figures {
  readonly firstMs: number[];
  readonly nextMs: number[];
  /** Private memory of its process within a turn, and between two. */
  readonly activeBytes: number[];
  readonly betweenBytes: number[];
}

interface UnderLoad {
  readonly admitted: number;
  readonly shed: number;
  readonly failed: number;
  readonly evicted: number;
}

export const patterns: Benchmark = {
  name: "patterns",
  summary: "memory between turns and time to first token of each hosting pattern",
  hasSmall: true,
  async run(report, signal, size) {
    using scratch = scratchDirectory();
    await using model = await startModel(scratch.path, SCRIPT);
    const figures = await measurePatterns(scratch.path, model, PLANS[size].rounds, report, signal);
    const load: Record<Side, UnderLoad> = {
      plain: await loadFully("plain", scratch.path, model, PLANS[size].turnsEach, signal),
      kept: await loadFully("kept", scratch.path, model, PLANS[size].turnsEach, signal),
    };
    report(`under full load: ${JSON.stringify(load)}`);
    return {
      claims: claimsOf(figures, load),
      data: { figures, load },
      sections: sectionsOf(figures, load),
    };
  },
};

async function measurePatterns(
  directory: string,
  model: RunningModel,
  rounds: number,
  report: (line: string) => void,
  signal: AbortSignal,
): Promise<Readonly<Record<Pattern, Figures>>> {
  const start = (name: string, agents: Readonly<Record<string, string>>) =>
    startServer({
      agentFile: writeAgents(join(directory, `${name}-agents`), agents),
      dataDirectory: join(directory, name),
      environment: model.environment,
    });
  const { spare, ...others } = PATTERNS;
  // Spares of one agent must not be counted, nor be started, between the turns of another.
  await using plain = await start("plain", others);
  await using ahead = await start("ahead", { spare });
  const figures = Object.fromEntries(
    NAMES.map((name) => [name, { firstMs: [], nextMs: [], activeBytes: [], betweenBytes: [] }]),
  ) as unknown as Record<Pattern, Figures>;
  for (let round = -1; round < rounds; round += 1) {
    for (const name of NAMES) {
      signal.throwIfAborted();
      const seen = await runPair(name, name === "spare" ? ahead : plain);
      // The first round is for warming up.
      if (round < 0) continue;
      for (const key of Object.keys(seen) as (keyof Figures)[]) figures[name][key].push(seen[key]);
    }
    report(`round ${round + 1} of ${rounds}`);
  }
  return figures;
}

/** Two turns of one session, which is then deleted. */
async function runPair(
  name: Pattern,
  server: RunningServer,
): Promise<Readonly<Record<keyof Figures, number>>> {
  const kept = name === "spare" ? SPARES : 0;
  if (kept > 0) await sparesWait(server, kept);
  let activeBytes = 0;
  let sessionId = "";
  const call: TurnCall = {
    url: server.url,
    agentName: name,
    input: "Good morning",
    threadId: `thread-${Math.random()}`,
    onStart: (_turnId, session) => (sessionId = session),
    onText: () => {
      if (activeBytes === 0 || Math.random() < 0.1) {
        activeBytes = Math.max(activeBytes, ...childrenOf(server.pid).map(privateBytes));
      }
    },
  };
  const first = await timeTurn(call);
  if (name === "warmed") await warm(server, sessionId);
  await delay(SETTLE_MS);
  const betweenBytes = childrenOf(server.pid)
    .map(privateBytes)
    .reduce((a, b) => a + b, 0);
  const next = await timeTurn(call);
  if (name !== "ephemeral") {
    await fetch(`${server.url}/v1/sessions/${sessionId}`, { method: "DELETE" });
  }
  if (kept === 0) while (childrenOf(server.pid).length > 0) await delay(POLL_MS);
  return { firstMs: first.firstTextMs, nextMs: next.firstTextMs, activeBytes, betweenBytes };
}

/** As a client does when a user opens the conversation; resolves when the process is there. */
async function warm({ url }: RunningServer, sessionId: string): Promise<void> {
  const hint = async () => {
    const response = await fetch(`${url}/v1/sessions/${sessionId}/warm`, { method: "POST" });
    return (await response.json()) as { warm: boolean; reason: string };
  };
  const endAtMs = performance.now() + WARM_LIMIT_MS;
  // The last turn's process may be on its way out, or another one be starting.
  for (let answer = await hint(); !answer.warm; answer = await hint()) {
    if (performance.now() > endAtMs) throw new Error(`nothing was started ahead: ${answer.reason}`);
    await delay(POLL_MS);
  }
  const starting = async () => {
    const capacity = await (await fetch(`${url}/capacity`)).json();
    return (capacity as { cpu: { starting: number } }).cpu.starting;
  };
  while ((await starting()) > 0) await delay(POLL_MS);
}

function privateBytes(pid: number): number {
  try {
    return memoryOf(pid).privateBytes || 0;
  } catch {
    return 0; // It ended meanwhile.
  }
}

async function sparesWait({ url }: RunningServer, count: number): Promise<void> {
  while ((await metricOf(url, /^plimsoll_agent_process_spares /u)) < count) await delay(POLL_MS);
  await delay(SETTLE_MS);
}

/** As many callers as turns fit, each with the next turn as soon as one has ended. */
async function loadFully(
  side: Side,
  directory: string,
  model: RunningModel,
  turnsEach: number,
  signal: AbortSignal,
): Promise<UnderLoad> {
  const name = `load-${side}`;
  await using server = await startServer({
    agentFile: writeAgents(join(directory, `${name}-agents`), { [side]: BOTH[side] }),
    dataDirectory: join(directory, name),
    environment: model.environment,
    args: TIGHT,
  });
  if (side === "kept") await sparesWait(server, 1);
  const outcomes: string[] = [];
  const caller = async (of: number): Promise<void> => {
    for (let turn = 0; turn < turnsEach; turn += 1) {
      signal.throwIfAborted();
      // Two turns to a session: half of them begin one, the others go on with it.
      const threadId = `caller-${of}-${Math.floor(turn / 2)}`;
      const call = { url: server.url, agentName: side, input: "Good morning", threadId };
      outcomes.push((await askTurn(call)).outcome);
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, (_, of) => caller(of)));
  const count = (outcome: string) => outcomes.filter((each) => each === outcome).length;
  const [admitted, shed] = [count("completed"), count("shed")];
  const evicted = await metricOf(server.url, /^plimsoll_agent_process_kept_ended.*"evicted"/u);
  return { admitted, shed, failed: outcomes.length - admitted - shed, evicted };
}

/** A directory with an agent file for each name. */
function writeAgents(directory: string, hostings: Readonly<Record<string, string>>): string {
  mkdirSync(directory, { recursive: true });
  for (const [name, hosting] of Object.entries(hostings)) {
    const text = `name: ${name}\ninstructions: Be brief.\nhosting: ${hosting}\n`;
    writeFileSync(join(directory, `${name}.yaml`), text);
  }
  return directory;
}

function claimsOf(
  figures: Readonly<Record<Pattern, Figures>>,
  load: Readonly<Record<Side, UnderLoad>>,
): Claim[] {
  const ratio = (value: number) => value.toFixed(2);
  const cold = figures.hybrid;
  const nextOf = (name: Pattern) => median(figures[name].nextMs) / median(cold.nextMs);
  const next = "Time to first token of the next turn / of a cold resume, medians";
  const first = "Time to first token of the first turn on a spare / of a cold start, medians";
  const spare = median(figures.spare.firstMs) / median(cold.firstMs);
  return [
    atMost(`${next}: a process that lingers`, RESIDENT_LIMIT_RATIO, nextOf("linger"), ratio),
    atMost(`${next}: long-running`, RESIDENT_LIMIT_RATIO, nextOf("long-running"), ratio),
    atMost(`${next}: a warmed session`, WARMED_LIMIT_RATIO, nextOf("warmed"), ratio),
    atMost(first, SPARE_LIMIT_RATIO, spare, ratio),
    atMost(
      "Turns shed under full load with residents and spares, beyond those without",
      0,
      load.kept.shed + load.kept.failed - load.plain.shed - load.plain.failed,
      String,
    ),
  ];
}

function sectionsOf(
  figures: Readonly<Record<Pattern, Figures>>,
  load: Readonly<Record<Side, UnderLoad>>,
): string[] {
  const rows = (key: keyof Figures, scale: number) =>
    NAMES.map((name) => [name, figures[name][key].map((value) => value / scale)] as const);
  const table = (unit: string, of: ReturnType<typeof rows>) =>
    summaryTable(
      unit,
      of.map(([name, values]) => [name, summaryOf(values)] as const),
    );
  const loadRow = (name: string, { admitted, shed, failed, evicted }: UnderLoad) =>
    `| ${name} | ${admitted} | ${shed} | ${failed} | ${evicted} |`;
  return [
    "Two turns of a new session of each pattern in turn, on an idle server: `linger` is `hybrid` " +
      "with `linger`, `warmed` is `hybrid` where a client announces the next turn, " +
      `\`spare\` is \`hybrid\` with ${SPARES} spares, whose memory is counted ` +
      "whole. Timed from the sending of the request to the first text; the model takes 1 ms of it.",
    "## Time to first token of the first turn",
    table("ms", rows("firstMs", 1)),
    boxPlot("ms", rows("firstMs", 1)),
    "## Time to first token of the next turn",
    table("ms", rows("nextMs", 1)),
    boxPlot("ms", rows("nextMs", 1)),
    "## Private memory between two turns of one session",
    table("MiB", rows("betweenBytes", MEBIBYTE)),
    "## Private memory of the process in a turn",
    table("MiB", rows("activeBytes", MEBIBYTE)),
    "## Under full load",
    `${CALLERS} callers where ${CALLERS} turns fit, each asking as soon as its last turn has ended; ` +
      "half of the turns begin a session. What is kept fills the memory that is left, and goes " +
      "when a turn needs it.",
    [
      "| | completed | shed | failed | evicted |",
      "|---|---|---|---|---|",
      loadRow("hybrid", load.plain),
      loadRow("with `linger` and spares", load.kept),
    ].join("\n"),
  ];
}
