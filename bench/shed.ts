/**
 * How a full server refuses: how many a second on one core, how fast, and whether the turns that
 * are streaming feel it.
 *
 * @module
 */

import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Order, Tally } from "./load-generator.ts";
import { boxPlot, summaryTable, table } from "./page.ts";
import {
  canPin,
  childrenOf,
  cpuMsOf,
  pin,
  scratchDirectory,
  spawnProgram,
  startModel,
  startServer,
  type RunningModel,
  type RunningServer,
} from "./processes.ts";
import { atLeast, atMost, type Benchmark, type Claim } from "./result.ts";
import { median, summaryOf, type Summary } from "./statistics.ts";
import { timeTurn } from "./turn-client.ts";

const STREAMS = 4;
const TOKENS_PER_SECOND = 50;
const OFFERED_RATE = 3_300;
const CONNECTIONS = 32;
const PHASE_MS = 8_000;
/** After a phase begins and before it ends, what is measured belongs to neither. */
const EDGE_MS = 300;
const SATURATION_MS = 6_000;
/**
 * Until both programs are compiled for what they do; not counted. Measured: for so long after its
 * start V8 compiles at this load. What that costs is claimed for itself. To let its threads go last
 * (nice 19) brought it from 34 to 120 ms to 8, and had the memory guard too late for balloons beside
 * two busy processes: its collections of garbage wait for the same threads.
 */
const WARM_UP_MS = 40_000;
const BARE_WARM_UP_MS = 8_000;
const COLD_SERVERS = 3;
/** As docs/operations.md has it for one CPU: of four threads that compile the loop had a fifth. */
const ONE_CPU = { NODE_OPTIONS: "--v8-pool-size=1" };
/** Of a refusal's body. */
const BODY_BYTES = 520;
const SERVER_CORE = 0;
const CLIENT_CORE = 1;

const RATE_TARGET = 3_000;
const LATENCY_LIMIT_MS = 10;
const GROWTH_LIMIT_RATIO = 0.2;

/** Longer than the benchmark lasts. */
const TURN_SECONDS = 600;
const SCRIPT = {
  defaults: { firstTokenMs: 0, tokensPerSecond: TOKENS_PER_SECOND },
  rules: [{ reply: [{ tokens: TOKENS_PER_SECOND * TURN_SECONDS }] }],
};
const AGENT = `
name: streaming
description: Talks for as long as the benchmark lasts.
model:
  provider: anthropic
  id: claude-sonnet-5
instructions: Talk.
limits:
  turnTime: 30m
`;

interface Placement {
  readonly label: string;
  readonly agentsCore: number;
  readonly rounds: number;
}

const PLACEMENTS: readonly Placement[] = [
  { label: "the server has one core", agentsCore: CLIENT_CORE, rounds: 5 },
  {
    label: "the server and its agent processes share one core",
    agentsCore: SERVER_CORE,
    rounds: 2,
  },
];

interface Phase {
  readonly fromMs: number;
  readonly toMs: number;
  /** CPU time taken, as part of one core. */
  readonly cpu: Readonly<Record<"server" | "agents" | "generator" | "model" | "reader", number>>;
}

interface Shedding extends Phase {
  readonly tally: Tally;
}

export const shed: Benchmark = {
  name: "shed",
  summary: "refusals a second while four turns stream, and what the streams feel of it",
  async run(report, signal) {
    using scratch = scratchDirectory();
    const agentFile = join(scratch.path, "agent.yaml");
    writeFileSync(agentFile, AGENT);
    const isPinned = canPin();
    await using model = await startModel(scratch.path, SCRIPT);
    using generator = startGenerator();
    using bare = await startBareServer();
    if (isPinned) {
      pin(bare.pid, SERVER_CORE);
      for (const pid of [process.pid, model.pid, generator.pid]) pin(pid, CLIENT_CORE);
    }
    const start = (name: string) =>
      startServer({
        agentFile,
        dataDirectory: join(scratch.path, name),
        environment: { ...model.environment, ...ONE_CPU },
        args: ["--set", `capacity.maxTurns=${STREAMS}`],
        ...(isPinned && { core: SERVER_CORE }),
      });
    const others = { bare, generator, model };
    // A generator that is itself being compiled is late, and counts that as the server's.
    await runAgainstBare(others, WARM_UP_MS / 2);
    const cold: Shedding[] = [];
    for (let at = 1; at < COLD_SERVERS; at += 1) {
      signal.throwIfAborted();
      await using server = await start(`cold-${at}`);
      using _streams = await openStreams(server, isPinned);
      cold.push(await runCold({ ...others, server }, report));
    }
    await using server = await start("data");
    const parts = { ...others, server };
    using streams = await openStreams(server, isPinned);
    cold.push(await runCold(parts, report));
    await runShedding(parts, { rate: OFFERED_RATE, durationMs: WARM_UP_MS });
    await runAgainstBare(parts, BARE_WARM_UP_MS);

    const runs: Run[] = [];
    for (const placement of isPinned ? PLACEMENTS : PLACEMENTS.slice(0, 1)) {
      if (isPinned) for (const pid of childrenOf(server.pid)) pin(pid, placement.agentsCore);
      report(`${STREAMS} turns stream; ${placement.label}`);
      await delay(STEADY_MS);
      runs.push(await measure(placement, parts, { report, signal }));
    }
    return outcomeOf({ runs, cold, isPinned }, streams.textAtMs);
  },
};

interface Run {
  readonly placement: Placement;
  readonly quiet: readonly Phase[];
  readonly shedding: readonly Shedding[];
  /** The same, refused by a bare server. */
  readonly bare: readonly Shedding[];
  readonly saturated: Shedding;
}

/** Of a server that has refused nothing before. */
async function runCold(parts: Parts, report: (line: string) => void): Promise<Shedding> {
  const shedding = await runShedding(parts, { rate: OFFERED_RATE, durationMs: PHASE_MS });
  report(`just started: ${describe(shedding.tally)}`);
  return shedding;
}

async function measure(
  placement: Placement,
  parts: Parts,
  { report, signal }: { report: (line: string) => void; signal: AbortSignal },
): Promise<Run> {
  const quiet: Phase[] = [];
  const shedding: Shedding[] = [];
  const bare: Shedding[] = [];
  for (let round = 0; round < placement.rounds; round += 1) {
    signal.throwIfAborted();
    quiet.push(await runPhase(parts, () => delay(PHASE_MS)));
    shedding.push(await runShedding(parts, { rate: OFFERED_RATE, durationMs: PHASE_MS }));
    bare.push(await runShedding(parts, { rate: OFFERED_RATE, durationMs: PHASE_MS }, parts.bare));
    report(`  ${describe(shedding.at(-1)?.tally)}; bare: ${describe(bare.at(-1)?.tally)}`);
  }
  const saturated = await runShedding(parts, { rate: null, durationMs: SATURATION_MS });
  report(`  as fast as it goes: ${describe(saturated.tally)}`);
  return { placement, quiet, shedding, bare, saturated };
}

/** A server that refuses. */
interface Refuser {
  readonly pid: number;
  readonly port: number;
}

async function runAgainstBare({ bare, generator }: Others, durationMs: number): Promise<void> {
  await generator.run({ ...orderFor(bare), rate: OFFERED_RATE, durationMs });
}

async function startBareServer(): Promise<Refuser & Disposable> {
  const program = fileURLToPath(new URL("bare-refuser.mjs", import.meta.url));
  const command = [process.execPath, program, String(BODY_BYTES)];
  const child = spawnProgram(command, { stdout: "pipe", environment: {} });
  if (child.stdout === null) throw new Error("the bare server has no output");
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return {
    pid: child.pid ?? 0,
    port: Number(String(line)),
    [Symbol.dispose]: () => void child.kill(),
  };
}

interface Generator extends Disposable {
  readonly pid: number;
  run(order: Order): Promise<Tally>;
}

function startGenerator(): Generator {
  const child: ChildProcess = fork(fileURLToPath(new URL("load-generator.ts", import.meta.url)), {
    execArgv: ["--import", "jiti/register"],
  });
  return {
    pid: child.pid ?? 0,
    async run(order) {
      child.send(order);
      const [tally] = (await once(child, "message")) as [Tally];
      return tally;
    },
    [Symbol.dispose]: () => void child.kill(),
  };
}

interface Streams extends Disposable {
  /** For each stream, when its pieces of text came. */
  readonly textAtMs: readonly (readonly number[])[];
}

const STEADY_MS = 3_000;

/** Resolves when all turns stream steadily. */
async function openStreams({ url, pid }: RunningServer, isPinned: boolean): Promise<Streams> {
  const textAtMs: number[][] = Array.from({ length: STREAMS }, () => []);
  const turnIds: string[] = [];
  const ended = textAtMs.map((times) =>
    timeTurn({
      url,
      agentName: "streaming",
      input: "Talk",
      onStart: (turnId) => turnIds.push(turnId),
      onText: (atMs) => times.push(atMs),
    }),
  );
  const broken = Promise.race(ended).then(({ status }) => {
    throw new Error(`a stream ended too early: ${status}`);
  });
  const steady = async () => {
    while (textAtMs.some(({ length }) => length < TOKENS_PER_SECOND)) await delay(50);
  };
  await Promise.race([steady(), broken]);
  if (isPinned) for (const child of childrenOf(pid)) pin(child, CLIENT_CORE);
  await delay(STEADY_MS);
  broken.catch(() => {});
  return {
    textAtMs,
    [Symbol.dispose]: () => {
      for (const id of turnIds) void fetch(`${url}/v1/turns/${id}/cancel`, { method: "POST" });
    },
  };
}

interface Others {
  readonly bare: Refuser;
  readonly generator: Generator;
  readonly model: RunningModel;
}

interface Parts extends Others {
  readonly server: RunningServer;
}

type Pace = Pick<Order, "rate" | "durationMs">;

async function runShedding(
  parts: Parts,
  pace: Pace,
  refuser: Refuser = parts.server,
): Promise<Shedding> {
  let tally: Tally | undefined;
  const phase = await runPhase({ ...parts, refuser }, async () => {
    tally = await parts.generator.run({ ...orderFor(refuser), ...pace });
  });
  if (tally === undefined) throw new Error("the load generator did not answer");
  const others = Object.keys(tally.statuses).filter((status) => status !== "429");
  if (others.length > 0) throw new Error(`not only refusals were answered: ${others.join(", ")}`);
  return { ...phase, tally };
}

function orderFor({ port }: Refuser): Omit<Order, keyof Pace> {
  return {
    port,
    path: "/v1/agents/streaming/turns",
    body: JSON.stringify({ threadId: "another", input: "May I?" }),
    connections: CONNECTIONS,
  };
}

async function runPhase(
  { server, generator, model, refuser = server }: Parts & { readonly refuser?: Refuser },
  work: () => Promise<void>,
): Promise<Phase> {
  const pids = {
    server: refuser.pid,
    agentsOf: server.pid,
    generator: generator.pid,
    model: model.pid,
  };
  const fromMs = performance.now();
  const before = cpuNow(pids);
  await work();
  const toMs = performance.now();
  const after = cpuNow(pids);
  const share = (of: keyof Phase["cpu"]) => (after[of] - before[of]) / (toMs - fromMs);
  const cpu = {
    server: share("server"),
    agents: share("agents"),
    generator: share("generator"),
    model: share("model"),
    reader: share("reader"),
  };
  return { fromMs, toMs, cpu };
}

type Pids = Readonly<Record<"server" | "agentsOf" | "generator" | "model", number>>;

/** CPU time so far, in ms. */
function cpuNow({ server, agentsOf, generator, model }: Pids): Phase["cpu"] {
  return {
    server: cpuMsOf(server),
    agents: childrenOf(agentsOf).reduce((sum, pid) => sum + cpuMsOf(pid), 0),
    generator: cpuMsOf(generator),
    model: cpuMsOf(model),
    reader: cpuMsOf(process.pid),
  };
}

/** Times between two pieces of text of one stream, within phases of a kind. */
function gapsIn(phases: readonly Phase[], textAtMs: Streams["textAtMs"]): number[] {
  return phases.flatMap(({ fromMs, toMs }) =>
    textAtMs.flatMap((times) => {
      const within = times.filter((at) => at >= fromMs + EDGE_MS && at <= toMs - EDGE_MS);
      return within.slice(1).map((at, index) => at - (within[index] ?? at));
    }),
  );
}

interface All {
  readonly runs: readonly Run[];
  /** What each server did before it was compiled for it. */
  readonly cold: readonly Shedding[];
  readonly isPinned: boolean;
}

function outcomeOf({ runs, cold, isPinned }: All, textAtMs: Streams["textAtMs"]) {
  const measured = runs.map((run) => ({
    ...run,
    gaps: {
      quiet: gapsIn(run.quiet, textAtMs),
      shedding: gapsIn(run.shedding, textAtMs),
      saturated: gapsIn([run.saturated], textAtMs),
    },
  }));
  const [first] = measured;
  if (first === undefined) throw new Error("nothing was measured");
  return {
    claims: claimsOf({
      shedding: first.shedding,
      cold,
      quiet: summaryOf(first.gaps.quiet),
      during: summaryOf(first.gaps.shedding),
    }),
    data: {
      isPinned,
      offeredRate: OFFERED_RATE,
      streams: STREAMS,
      tokensPerSecond: TOKENS_PER_SECOND,
      connections: CONNECTIONS,
      cold,
      runs: measured.map((run) => ({
        ...run,
        gaps: {
          quiet: summaryOf(run.gaps.quiet),
          shedding: summaryOf(run.gaps.shedding),
          saturated: summaryOf(run.gaps.saturated),
        },
      })),
    },
    sections: [
      methodOf(isPinned),
      COLD_TEXT,
      tallyTable(cold.map((each, at) => [`server ${at + 1}`, each] as const)),
      ...measured.flatMap(sectionsOf),
    ],
  };
}

interface Measured extends Run {
  readonly gaps: Readonly<Record<"quiet" | "shedding" | "saturated", readonly number[]>>;
}

function sectionsOf({ placement, quiet, shedding, bare, saturated, gaps }: Measured): string[] {
  const gapRows = [
    ["quiet", gaps.quiet],
    [`${OFFERED_RATE} refusals/s`, gaps.shedding],
    ["as fast as it goes", gaps.saturated],
  ] as const;
  return [
    `## When ${placement.label}`,
    "Refusals:",
    tallyTable([
      ...shedding.map((each, at) => [`round ${at + 1}`, each] as const),
      ["as fast as it goes", saturated],
      ...bare.map((each, at) => [`bare, round ${at + 1}`, each] as const),
    ]),
    "CPU time, as part of one core:",
    cpuTable([
      ["quiet", quiet],
      [`${OFFERED_RATE} refusals/s`, shedding],
      ["the same, by a bare server", bare],
      ["as fast as it goes", [saturated]],
    ]),
    "Times between the pieces of text that the four streams receive:",
    summaryTable(
      "ms",
      gapRows.map(([label, values]) => [label, summaryOf(values)] as const),
    ),
    boxPlot("ms", gapRows),
  ];
}

interface Claimed {
  readonly shedding: readonly Shedding[];
  readonly cold: readonly Shedding[];
  /** Token gaps. */
  readonly quiet: Summary;
  readonly during: Summary;
}

function claimsOf({ shedding, cold, quiet, during }: Claimed): Claim[] {
  const rates = shedding.map(({ tally }) => (tally.answered / tally.elapsedMs) * 1_000);
  const p99s = shedding.map(({ tally }) => tally.latencyMs.p99);
  const percent = (ratio: number) => `${(ratio * 100).toFixed(1)} %`;
  const perSecond = (rate: number) => `${Math.round(rate).toLocaleString("en")}/s`;
  const ms = (value: number) => `${value.toFixed(1)} ms`;
  const growth = (["median", "p95", "p99"] as const).map((at) =>
    atMost(
      `Growth of the streams' token gaps while shedding, ${at}`,
      GROWTH_LIMIT_RATIO,
      during[at] / quiet[at] - 1,
      percent,
    ),
  );
  return [
    atLeast(
      "Refusals a second on one core while four turns stream, the worst round",
      RATE_TARGET,
      Math.min(...rates),
      perSecond,
    ),
    atMost("99 % of the refusals within, the worst round", LATENCY_LIMIT_MS, Math.max(...p99s), ms),
    atMost(
      `The same in the first ${PHASE_MS / 1_000} s of a server that has refused nothing before, the worst of ${cold.length}`,
      LATENCY_LIMIT_MS,
      Math.max(...cold.map(({ tally }) => tally.latencyMs.p99)),
      ms,
    ),
    ...growth,
  ];
}

function methodOf(isPinned: boolean): string {
  const cores = isPinned
    ? `The server runs on core ${SERVER_CORE}; the model, the load generator and the reader of the ` +
      `streams on core ${CLIENT_CORE}; the agent processes first there too, which is what the ` +
      "claims are about, and then on the server's core. Where it may, the generator goes first on " +
      "its core (nice -10), because its own waiting is no delay of the server's. "
    : "Processes could not be tied to cores here. ";
  return (
    `${STREAMS} turns stream ${TOKENS_PER_SECOND} tokens a second each, and the server takes no ` +
    `more. ${cores}In each round there are ${PHASE_MS / 1_000} s of quiet and then ` +
    `${PHASE_MS / 1_000} s in which ${OFFERED_RATE} turns a second are asked for on ` +
    `${CONNECTIONS} kept connections. They are for another session than those that stream, and the ` +
    "server reads as many of their bodies as it ever does to know that. Each request falls due by " +
    "the clock and is timed from then, whether or not earlier answers have come, and the " +
    "generator's clock adds up to 1 ms. At the " +
    "end each connection asks again as soon as it is answered. Every answer was a 429. After each " +
    "round the same is asked of a bare `node:http` server on the server's core, which has one fixed " +
    "answer of the same length and headers: what it takes is the machine's and Node's."
  );
}

const COLD_TEXT =
  `The rounds are of a server that has refused at this rate for ${WARM_UP_MS / 1_000} s. These are ` +
  `the first ${PHASE_MS / 1_000} s of ${COLD_SERVERS} servers; V8 compiles then, in one thread ` +
  "(`--v8-pool-size=1`), on the one core that the server has. The generator is compiled: it has asked the bare server before.";

function tallyTable(phases: readonly (readonly [string, Shedding])[]): string {
  const rows = phases.map(([label, { tally }]) => {
    const { answered, elapsedMs, latencyMs, unsent } = tally;
    const { p50, p90, p99, p999, max } = latencyMs;
    return [
      label,
      String(Math.round((answered / elapsedMs) * 1_000)),
      ...[p50, p90, p99, p999, max].map((value) => value.toFixed(2)),
      String(unsent),
    ];
  });
  const head = ["", "refused/s", "50 % ms", "90 %", "99 %", "99.9 %", "max", "unsent"];
  return table(head, rows);
}

function cpuTable(rows: readonly (readonly [string, readonly Phase[]])[]): string {
  const parts = ["server", "agents", "generator", "model", "reader"] as const;
  return table(
    ["", "server", "four agents", "load generator", "model", "reader"],
    rows.map(([label, phases]) => [
      label,
      ...parts.map((part) => `${Math.round(median(phases.map(({ cpu }) => cpu[part])) * 100)} %`),
    ]),
  );
}

function describe(tally: Tally | undefined): string {
  if (tally === undefined) return "";
  const { answered, elapsedMs, latencyMs } = tally;
  const rate = Math.round((answered / elapsedMs) * 1_000);
  const { p50, p99 } = latencyMs;
  return `${rate} refusals/s, p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`;
}
