/**
 * The hosting patterns: what a session costs between its turns, how soon its first and its next
 * turn speak, and whether processes that are kept ever stand in a turn's way.
 *
 * @module
 */

import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { writeAgents } from "./agent-files.ts";
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
import {
  added,
  loadFully,
  loadSection,
  NOTHING_YET,
  SIDES,
  type Side,
  type UnderLoad,
} from "./patterns-load.ts";
import { makeReplicaImage } from "./replica-image.ts";
import { atMost, type Benchmark, type Claim, type Size } from "./result.ts";
import { median, summaryOf } from "./statistics.ts";
import { timeTurn, type TurnCall } from "./turn-client.ts";

const SCRIPT = {
  defaults: { firstTokenMs: 1, tokensPerSecond: 100 },
  rules: [{ when: { userText: "evening" }, reply: [{ tokens: 300 }] }, { reply: [{ tokens: 60 }] }],
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
  "single-container": "{ pattern: single-container }",
} as const;
type Pattern = keyof typeof PATTERNS;
const NAMES = Object.keys(PATTERNS) as readonly Pattern[];

interface Plan {
  readonly rounds: number;
  readonly loadRounds: number;
  readonly turnsEach: number;
}

const PLANS: Readonly<Record<Size, Plan>> = {
  full: { rounds: 15, loadRounds: 2, turnsEach: 20 },
  small: { rounds: 2, loadRounds: 1, turnsEach: 4 },
};

/** Of one pattern, one figure for each round. */
interface Figures {
  readonly firstMs: number[];
  readonly nextMs: number[];
  /** Private memory of its process within a turn, and between two. */
  readonly activeBytes: number[];
  readonly betweenBytes: number[];
}

export const patterns: Benchmark = {
  name: "patterns",
  summary: "memory between turns and time to first token of each hosting pattern",
  hasSmall: true,
  async run(report, signal, size) {
    using scratch = scratchDirectory();
    await using model = await startModel(scratch.path, SCRIPT);
    const plan = PLANS[size];
    const figures = await measurePatterns(scratch.path, model, plan.rounds, report, signal);
    const image = makeReplicaImage(join(scratch.path, "image"));
    const load: Record<Side, UnderLoad> = { plain: NOTHING_YET, kept: NOTHING_YET };
    for (let round = 0; round < plan.loadRounds; round += 1) {
      for (const side of SIDES) {
        const directory = join(scratch.path, `load-${side}-${round}`);
        const { turnsEach } = plan;
        const seen = await loadFully(side, { directory, image, model, turnsEach, signal });
        report(`under full load, ${side}: ${JSON.stringify(added(NOTHING_YET, seen))}`);
        load[side] = added(load[side], seen);
      }
    }
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
  const { spare, "single-container": _, ...others } = PATTERNS;
  // Spares of one agent must not be counted, nor be started, between the turns of another.
  await using plain = await start("plain", others);
  await using ahead = await start("ahead", { spare });
  const figures = Object.fromEntries(
    NAMES.map((name) => [name, { firstMs: [], nextMs: [], activeBytes: [], betweenBytes: [] }]),
  ) as unknown as Record<Pattern, Figures>;
  for (let round = -1; round < rounds; round += 1) {
    for (const name of NAMES) {
      signal.throwIfAborted();
      const seen =
        name === "single-container"
          ? await runAlone(directory, model, round)
          : await runPair(name, name === "spare" ? ahead : plain);
      // The first round is for warming up.
      if (round < 0) continue;
      for (const key of Object.keys(seen) as (keyof Figures)[]) figures[name][key].push(seen[key]);
    }
    report(`round ${round + 1} of ${rounds}`);
  }
  return figures;
}

/** A replica of its own, which ends with the session; between the turns all of it is the session's. */
async function runAlone(
  directory: string,
  model: RunningModel,
  round: number,
): Promise<Readonly<Record<keyof Figures, number>>> {
  const name = "single-container";
  const agentFile = writeAgents(join(directory, `alone-${round}-agents`), {
    [name]: PATTERNS[name],
  });
  const dataDirectory = join(directory, `alone-${round}`);
  const { environment } = model;
  await using server = await startServer({ agentFile, dataDirectory, environment });
  // Not before its turns have ended is it stopped.
  return await runPair(name, server);
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
  const alone = name === "single-container" ? [server.pid] : [];
  const betweenBytes = [...alone, ...childrenOf(server.pid)]
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
    atMost(`${next}: single-container`, RESIDENT_LIMIT_RATIO, nextOf("single-container"), ratio),
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
  return [
    "Two turns of a new session of each pattern in turn, on an idle server: `linger` is `hybrid` " +
      "with `linger`, `warmed` is `hybrid` where a client announces the next turn, " +
      `\`spare\` is \`hybrid\` with ${SPARES} spares, whose memory is counted ` +
      "whole; `single-container` has a server of its own, whose memory is counted, too, since it is " +
      "there for this session alone. Timed from the sending of the request to the first text; the model takes 1 ms of it.",
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
    ...loadSection(load),
  ];
}
