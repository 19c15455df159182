/**
 * Whether the simulation tells what happens: an agent is measured, a trace of turns is made, and the
 * same trace is played to three real replicas behind nginx and to three on paper that know nothing of
 * the agent but its profile.
 *
 *     measure ─▶ profile ─┬─▶ simulate ─▶ shed ratio, time to first token
 *     trace ──────────────┴─▶ nginx ▸ three servers, each in groups of its own, memory and CPU
 *
 * @module
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Random } from "../src/sizing/simulate/random.ts";
import { lognormalWith } from "../src/sizing/simulate/laws.ts";
import { Profile } from "../src/sizing/profile.ts";
import { resultOf } from "../src/sizing/simulate/result.ts";
import { ScenarioFile } from "../src/sizing/simulate/scenario-schema.ts";
import { setUp } from "../src/sizing/simulate/scenario.ts";
import { simulate } from "../src/sizing/simulate/simulation.ts";
import type { TraceTurns } from "../src/sizing/trace.ts";
import { type CpuQuota, makeCpuQuota } from "./cpu-quota.ts";
import { makeMemoryGroup, type MemoryGroup } from "./memory-group.ts";
import { type Balancing, startLoadBalancer } from "./nginx.ts";
import { table } from "./page.ts";
import {
  type RunningModel,
  type RunningServer,
  runProgram,
  scratchDirectory,
  startModel,
  startServer,
} from "./processes.ts";
import { makeReplicaImage } from "./replica-image.ts";
import { atMost, type Benchmark, type BenchmarkOutcome, type Claim, type Size } from "./result.ts";
import { median, quantile } from "./statistics.ts";
import { askTurn, type TurnAnswer } from "./turn-client.ts";

const MIB = 2 ** 20;
const REPLICAS = 3;
const LIMIT_BYTES = 1024 * MIB;
/** Of each. A start has one to itself, so that it takes as long as alone. */
const CPUS = 1;
const AGENT = "name: helper\ndescription: Answers at length.\ninstructions: You are a test.\n";

/** Turns are as long as their input says, in steps. */
const STEP_MS = 500;
const TOKENS_PER_SECOND = 4;
const MOST_STEPS = 80;
const SCRIPT = {
  defaults: { firstTokenMs: 100, tokensPerSecond: TOKENS_PER_SECOND },
  rules: [
    ...Array.from({ length: MOST_STEPS }, (_, index) => ({
      when: { userText: `/^Answer for ${index + 1} steps\\./` },
      reply: [{ tokens: Math.round(((index + 1) * STEP_MS * TOKENS_PER_SECOND) / 1000) }],
    })),
    { reply: [{ text: "Good morning" }] },
  ],
};

const MEAN_MS = 11_000;
const DEVIATION_MS = 8_000;
/** Turns in flight on average, if none were shed: three replicas of this size hold 12 or so. */
const OFFERED = 11;
const TRACE_MS: Readonly<Record<Size, number>> = { full: 300_000, small: 30_000 };
/** Of each replica, before, one by one: the benchmark learns how long they take. */
const LONE_TURNS = 10;
const LONE_STEPS = 4;
/** And some at a time: it learns what turns hold, as one that has run for a while. */
const LEARNING_ROUNDS = 20;
const LEARNING_AT_ONCE = 3;
const SIMULATED_SEEDS = 20;
/** What a load balancer is told to do that knows its business, and what nginx does unless it is told. */
const BALANCINGS = ["least-requests", "round-robin"] as const satisfies readonly Balancing[];

/** In percentage points, and as part. */
const SHED_TOLERANCE = 0.02;
const FIRST_TOKEN_TOLERANCE = 0.25;

interface Figures {
  readonly shedRatio: number;
  readonly firstTokenMedianMs: number;
  readonly firstTokenP95Ms: number;
}

interface Round {
  readonly balancing: Balancing;
  readonly turns: number;
  readonly real: Figures;
  readonly simulated: Figures;
  /** Turns that did not end as they should. */
  readonly broken: number;
}

export const fleet: Benchmark = {
  name: "fleet",
  summary: "the same trace to three real replicas behind nginx and to three on paper",
  hasSmall: true,
  async run(report, signal, size) {
    using scratch = scratchDirectory();
    const agentFile = join(scratch.path, "agent.yaml");
    writeFileSync(agentFile, AGENT);
    report("measuring the agent");
    const profile = await measure(scratch.path, agentFile);
    await using model = await startModel(scratch.path, SCRIPT);
    const trace = makeTrace(TRACE_MS[size]);
    const rounds: Round[] = [];
    for (const balancing of BALANCINGS) {
      signal.throwIfAborted();
      const directory = join(scratch.path, balancing);
      const played = await play({ directory, agentFile, model, balancing, trace }, signal);
      const simulated = onPaper(profile, trace, played, balancing);
      rounds.push({ balancing, turns: trace.steps.length, simulated, ...played });
      report(`  ${JSON.stringify(rounds.at(-1))}`);
    }
    return outcomeOf(rounds, profile, size);
  },
};

/** By the command, as a user does it. */
async function measure(directory: string, agentFile: string): Promise<Profile> {
  const output = join(directory, "profile.json");
  const memory = `${LIMIT_BYTES / MIB}MiB`;
  const flags = ["--quick", "--no-prior", "--memory", memory, "--output", output];
  await runProgram(["measure", agentFile, ...flags], directory);
  return Profile.parse(JSON.parse(readFileSync(output, "utf8")));
}

interface Trace {
  readonly atMs: readonly number[];
  readonly steps: readonly number[];
}

/** Turns that come independently of each other; most are short, a few are long. */
function makeTrace(lastMs: number): Trace {
  const random = new Random(7, 0);
  const draw = lognormalWith(MEAN_MS, DEVIATION_MS);
  const atMs: number[] = [];
  const steps: number[] = [];
  for (let at = 0; at < lastMs; at += random.exponential(MEAN_MS / OFFERED)) {
    atMs.push(at);
    steps.push(Math.min(MOST_STEPS, Math.max(1, Math.round(draw(random) / STEP_MS))));
  }
  return { atMs, steps };
}

function inputOf(steps: number): string {
  return `Answer for ${steps} steps.`;
}

interface Order {
  readonly directory: string;
  readonly agentFile: string;
  readonly model: RunningModel;
  readonly balancing: Balancing;
  readonly trace: Trace;
}

interface Played {
  readonly real: Figures;
  readonly broken: number;
  /** Alone on its replica: until the first token, and beside what it streams. */
  readonly aloneFirstTokenMs: number;
  readonly besideMs: number;
}

async function play(order: Order, signal: AbortSignal): Promise<Played> {
  const open: AsyncDisposable[] = [];
  try {
    const servers: RunningServer[] = [];
    for (let index = 0; index < REPLICAS; index += 1) {
      const places = { group: makeMemoryGroup(LIMIT_BYTES), quota: makeCpuQuota(CPUS) };
      open.push(places.quota, places.group);
      const server = await startReplica(order, index, places);
      open.push(server);
      servers.push(server);
    }
    const alone = [];
    for (const { url } of servers) alone.push(await warmUp(url));
    const ports = servers.map(({ port }) => port);
    const balancer = await startLoadBalancer(order.directory, ports, order.balancing);
    open.push(balancer);
    const answers = await playTrace(balancer.url, order.trace, signal);
    const admitted = answers.filter(({ shed }) => shed === null);
    return {
      real: {
        shedRatio: 1 - admitted.length / answers.length,
        ...firstTokensOf(admitted.flatMap(firstTokenOf)),
      },
      broken: admitted.filter(({ outcome }) => outcome !== "completed").length,
      aloneFirstTokenMs: median(alone.flatMap(({ firstTokenMs }) => firstTokenMs)),
      besideMs: median(alone.flatMap(({ besideMs }) => besideMs)),
    };
  } finally {
    for (const each of open.toReversed()) await each[Symbol.asyncDispose]();
  }
}

/** With copies of all programs: pages belong to the group that reads them first. */
async function startReplica(
  { directory, agentFile, model: { environment } }: Order,
  index: number,
  { group, quota }: { readonly group: MemoryGroup; readonly quota: CpuQuota },
): Promise<RunningServer> {
  const image = makeReplicaImage(join(directory, `image-${index}`));
  const dataDirectory = join(directory, `data-${index}`);
  return startServer({ agentFile, dataDirectory, environment, quota, within: { group, image } });
}

async function warmUp(url: string) {
  const firstTokenMs: number[] = [];
  const besideMs: number[] = [];
  const ask = (steps: number) => askTurn({ url, agentName: "helper", input: inputOf(steps) });
  for (let turn = 0; turn < LONE_TURNS; turn += 1) {
    const answer = await ask(LONE_STEPS);
    firstTokenMs.push(...firstTokenOf(answer));
    besideMs.push(answer.endedAtMs - answer.askedAtMs - LONE_STEPS * STEP_MS);
  }
  for (let round = 0; round < LEARNING_ROUNDS; round += 1) {
    await Promise.all(Array.from({ length: LEARNING_AT_ONCE }, () => ask(1)));
  }
  return { firstTokenMs, besideMs };
}

async function playTrace(
  url: string,
  { atMs, steps }: Trace,
  signal: AbortSignal,
): Promise<readonly TurnAnswer[]> {
  const beganAtMs = performance.now();
  const asked: Promise<TurnAnswer>[] = [];
  for (const [index, dueMs] of atMs.entries()) {
    await delay(Math.max(0, beganAtMs + dueMs - performance.now()), undefined, { signal });
    asked.push(askTurn({ url, agentName: "helper", input: inputOf(steps[index] ?? 1) }));
  }
  return Promise.all(asked);
}

function firstTokenOf({ textAtMs: [atMs], askedAtMs }: TurnAnswer): number[] {
  return atMs === undefined ? [] : [atMs - askedAtMs];
}

function firstTokensOf(firstMs: readonly number[]) {
  const sorted = firstMs.toSorted((a, b) => a - b);
  return { firstTokenMedianMs: quantile(sorted, 0.5), firstTokenP95Ms: quantile(sorted, 0.95) };
}

/** Knows of the agent its profile, and how long a turn alone takes with this model. */
function onPaper(
  profile: Profile,
  { atMs, steps }: Trace,
  { aloneFirstTokenMs, besideMs }: Played,
  balancing: Balancing,
): Figures {
  const trace: TraceTurns = {
    atMs: Float64Array.from(atMs),
    durationMs: Float64Array.from(steps, (count) => besideMs + count * STEP_MS),
    transcriptBytes: new Float64Array(atMs.length),
    session: null,
  };
  const runs = Array.from({ length: SIMULATED_SEEDS }, (_, seed) => {
    const scenario = ScenarioFile.parse({
      seed,
      warmUp: "0s",
      arrivals: { process: "trace", trace: "made here" },
      turns: { firstToken: `${Math.round(aloneFirstTokenMs)}ms` },
      replicas: { count: REPLICAS, memory: `${LIMIT_BYTES / MIB}MiB`, cpus: CPUS },
      balancer: { policy: balancing },
      clients: { policy: "give-up" },
    });
    const made = setUp(scenario, profile, trace);
    if (!made.ok) throw new Error(made.problems.map(({ message }) => message).join("; "));
    return resultOf(made.setup, simulate(made.setup.terms), []);
  });
  const of = (figure: (run: (typeof runs)[number]) => number | null) =>
    median(runs.map((run) => figure(run) ?? Number.NaN));
  return {
    shedRatio: of((run) => run.shedRatio.value),
    firstTokenMedianMs: of((run) => run.firstTokenMs.p50),
    firstTokenP95Ms: of((run) => run.firstTokenMs.p95),
  };
}

function outcomeOf(rounds: readonly Round[], profile: Profile, size: Size): BenchmarkOutcome {
  return {
    claims: rounds.flatMap((round) => claimsOf(round, size)),
    data: { rounds, profile },
    sections: [textOf(rounds)],
  };
}

function claimsOf({ balancing, real, simulated, broken }: Round, size: Size): Claim[] {
  const points = (ratio: number) => `${(100 * ratio).toFixed(1)} points`;
  const percent = (ratio: number) => `${(100 * ratio).toFixed(0)} %`;
  const apart = Math.abs(simulated.firstTokenP95Ms / real.firstTokenP95Ms - 1);
  const whole = atMost(`${balancing}: admitted turns that did not complete`, 0, broken, String);
  // Of a few turns each is several points.
  if (size === "small") return [whole];
  return [
    atMost(
      `${balancing}: shed ratio, simulated against real`,
      SHED_TOLERANCE,
      Math.abs(simulated.shedRatio - real.shedRatio),
      points,
    ),
    atMost(
      `${balancing}: p95 of the time to first token, apart`,
      FIRST_TOKEN_TOLERANCE,
      apart,
      percent,
    ),
    whole,
  ];
}

function textOf(rounds: readonly Round[]): string {
  const percent = (ratio: number) => `${(100 * ratio).toFixed(1)} %`;
  const ms = (value: number) => value.toFixed(0);
  const rows = rounds.flatMap(({ balancing, turns, real, simulated }) =>
    (
      [
        ["real", real],
        ["simulated", simulated],
      ] as const
    ).map(([side, figures]) => [
      `${balancing}, ${side}`,
      String(turns),
      percent(figures.shedRatio),
      ms(figures.firstTokenMedianMs),
      ms(figures.firstTokenP95Ms),
    ]),
  );
  const head = ["", "turns", "shed", "first token, median ms", "p95 ms"];
  return `${table(head, rows)}
The trace is made: turns come independently of each other, ${OFFERED} in flight on average if none were shed,
most of them short and a few long. It is played to three servers behind nginx, each in a memory group of
${LIMIT_BYTES / MIB} MiB and with ${CPUS} core, and each with a copy of all programs; who is refused gives up.
On paper the median of ${SIMULATED_SEEDS} runs. The simulation knows the profile that \`plimsoll measure --quick\`
has made of the agent in such a group, and from turns that were alone on a replica how long a turn with
this model takes until its first token and beside what it streams.
`;
}
