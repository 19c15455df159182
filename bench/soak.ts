/**
 * Thousands of turns in a row, some of them cancelled, killed or out of memory: whether anything
 * grows, stays behind or is not given back.
 *
 * @module
 */

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { table } from "./page.ts";
import { plotOf } from "./plot.ts";
import { childrenOf, memoryOf, scratchDirectory, startModel } from "./processes.ts";
import { makeReplicaImage, type ReplicaImage } from "./replica-image.ts";
import {
  readCapacity,
  withReplica,
  type CapacitySample,
  type Replica,
  type ReplicaRecord,
} from "./replica.ts";
import { atMost, type Benchmark, type BenchmarkOutcome, type Claim, type Size } from "./result.ts";
import { median, randomFrom } from "./statistics.ts";
import { askTurn } from "./turn-client.ts";
import { tally } from "./turn-load.ts";

const MIB = 2 ** 20;
const LIMIT_BYTES = 4_096 * MIB;
const BALLOON_BYTES = 3_500 * MIB;
const SLOPE_LIMIT_MIB = 1;
const COMMITTED_SLACK_BYTES = 16 * MIB;
const SETTLE_LIMIT_MS = 20_000;
const SETTLE_POLL_MS = 500;
const SHED_PAUSE_MS = 250;
const MEMORY_EVERY_TURNS = 20;
const COLLECT_POLL_MS = 50;
const TURN_LIMIT_MS = 60_000;
/** How long a turn streams before it is cancelled or killed, at most. */
const STREAM_MS = 600;

/** What happens to a turn; the rest completes. */
const FATES = { cancelled: 0.1, killed: 0.05, ballooning: 0.02 } as const;
type Fate = keyof typeof FATES | "completed";

interface Plan {
  readonly turns: number;
  /**
   * Turns until everything is loaded, compiled and learned. V8 is at it for long: of 3,600 turns with a
   * stand-in for Claude Code the first 2,000 added 2.7 MiB to the heap, 1.5 of it machine code, and the
   * others nothing (35.13 and 35.16 MiB).
   */
  readonly warmUp: number;
  readonly atOnce: number;
}

const PLANS: Readonly<Record<Size, Plan>> = {
  full: { turns: 4_000, warmUp: 2_000, atOnce: 4 },
  small: { turns: 60, warmUp: 20, atOnce: 3 },
};

const TALKER = "talker";
const BALLOON = "balloon";
const AGENT = `
model: { provider: anthropic }
instructions: Talk.
tools: { builtin: [Bash] }
`;

interface MemoryPoint {
  readonly turns: number;
  readonly liveBytes: number;
  /** The part of it that the server's own objects are. */
  readonly heapBytes: number;
  /** The part of those that is machine code, which V8 makes of what runs often. */
  readonly codeBytes: number;
}

interface Soaked extends ReplicaRecord {
  readonly ends: readonly { readonly fate: Fate; readonly outcome: string }[];
  readonly memory: readonly MemoryPoint[];
  readonly before: CapacitySample;
  readonly after: CapacitySample;
  /** Processes of the group besides the server, when all was over. */
  readonly strays: number;
  readonly elapsedMs: number;
  readonly sheds: Readonly<Record<string, number>>;
}

export const soak: Benchmark = {
  name: "soak",
  summary: "4,000 turns, some cancelled, killed or ballooning: what grows, and what stays behind",
  hasSmall: true,
  async run(report, signal, size) {
    const plan = PLANS[size];
    using scratch = scratchDirectory();
    const image = makeReplicaImage(join(scratch.path, "image"));
    const heapFile = join(scratch.path, "heap");
    const agents = join(scratch.path, "agents");
    mkdirSync(agents);
    // What a balloon teaches of its agent must not make the others wait.
    for (const name of [TALKER, BALLOON]) {
      writeFileSync(join(agents, `${name}.yaml`), `name: ${name}${AGENT}`);
    }
    await using model = await startModel(scratch.path, scriptOf(image));
    const options = {
      limitBytes: LIMIT_BYTES,
      image,
      agentFile: agents,
      dataDirectory: join(scratch.path, "data"),
      environment: {
        ...model.environment,
        NODE_OPTIONS: collectOnSignal(heapFile),
        // What is held on purpose for a while after each turn is no drift, and would look like it.
        PLIMSOLL_JOURNAL_KEEP_TIME: "0s",
      },
      logFile: join(scratch.path, "server.log"),
      warmUp: { agentName: TALKER, input: "talk" },
    };
    const soaked = await withReplica(options, (replica) =>
      soakOne(replica, plan, { heapFile, report, signal }),
    );
    return outcomeOf(soaked, plan);
  },
};

/**
 * A heap between two collections says little, and after one it keeps free pages or not as it likes.
 * So the server collects when it gets SIGUSR2, and writes down what its memory is.
 */
function collectOnSignal(heapFile: string): string {
  const program = `
import { renameSync, writeFileSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
import { getHeapCodeStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

if (isMainThread) {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc");
  process.on("SIGUSR2", () => {
    collect();
    const codeBytes = getHeapCodeStatistics().code_and_metadata_size;
    const heap = JSON.stringify({ ...process.memoryUsage(), codeBytes });
    writeFileSync(${JSON.stringify(heapFile)} + "~", heap);
    renameSync(${JSON.stringify(heapFile)} + "~", ${JSON.stringify(heapFile)});
  });
}
`;
  const file = `${heapFile}.mjs`;
  writeFileSync(file, program);
  return `--import file://${file}`;
}

function scriptOf({ node }: ReplicaImage) {
  const grow = `const held = []; for (let at = 0; at < ${BALLOON_BYTES / (64 * MIB)}; at += 1) held.push(Buffer.alloc(${64 * MIB}, 1))`;
  const command = `${node} -e '${grow}'`;
  return {
    defaults: { firstTokenMs: 20, tokensPerSecond: 100 },
    rules: [
      { when: { afterTool: true }, reply: [{ tokens: 5 }] },
      {
        when: { userText: "ballooning" },
        reply: [{ tokens: 5 }, { tool: { name: "Bash", input: { command } } }],
      },
      // Long enough that it is not over before it is to be ended.
      { when: { userText: "/cancelled|killed/" }, reply: [{ tokens: 1_000 }] },
      { reply: [{ tokens: 30 }] },
    ],
  };
}

interface Ways {
  /** Where the server says how much of its heap is free. */
  readonly heapFile: string;
  readonly report: (line: string) => void;
  readonly signal: AbortSignal;
}

async function soakOne(replica: Replica, plan: Plan, { heapFile, report, signal }: Ways) {
  const { server, group } = replica;
  const random = randomFrom(20_261_123);
  const fates = Array.from({ length: plan.turns }, () => fateOf(random()));
  const ends: { fate: Fate; outcome: string }[] = [];
  const memory: MemoryPoint[] = [];
  const sheds: string[] = [];
  const client = async (waiting: Fate[]): Promise<void> => {
    for (let fate = waiting.shift(); fate !== undefined; fate = waiting.shift()) {
      signal.throwIfAborted();
      if (server.exit() !== null) return;
      const outcome = await runTurn(replica, fate, { streamMs: random() * STREAM_MS, sheds });
      const turns = ends.push({ fate, outcome });
      if (turns % MEMORY_EVERY_TURNS !== 0 || server.exit() !== null) continue;
      const read = await readMemory(server.pid, heapFile);
      memory.push({ turns, ...read });
      const [live, heap, code] = Object.values(read).map((bytes) => (bytes / MIB).toFixed(1));
      report(`  ${turns} turns, server ${live} MiB, its objects ${heap} MiB, code ${code} MiB`);
    }
  };
  const runAll = async (waiting: Fate[]): Promise<CapacitySample> => {
    await Promise.all(Array.from({ length: plan.atOnce }, () => client(waiting)));
    return settled(replica);
  };
  const beganAtMs = performance.now();
  const before = await runAll(fates.slice(0, plan.warmUp));
  const after = await runAll(fates.slice(plan.warmUp));
  const elapsedMs = performance.now() - beganAtMs;
  const strays = group.pids().filter((pid) => pid !== server.pid).length;
  return { ends, memory, before, after, strays, elapsedMs, sheds: tally(sheds) };
}

/** What the server holds beside files, less what is free in its heap after a collection. */
async function readMemory(pid: number, heapFile: string): Promise<Omit<MemoryPoint, "turns">> {
  rmSync(heapFile, { force: true });
  process.kill(pid, "SIGUSR2");
  while (!existsSync(heapFile)) await delay(COLLECT_POLL_MS);
  await delay(COLLECT_POLL_MS);
  const text = readFileSync(heapFile, "utf8");
  const { heapTotal, heapUsed, codeBytes } = JSON.parse(text) as HeapReading;
  const liveBytes = memoryOf(pid).anonymousBytes - (heapTotal - heapUsed);
  return { liveBytes, heapBytes: heapUsed, codeBytes };
}

type HeapReading = NodeJS.MemoryUsage & Pick<MemoryPoint, "codeBytes">;

function fateOf(draw: number): Fate {
  let upTo = 0;
  for (const [fate, ratio] of Object.entries(FATES)) {
    upTo += ratio;
    if (draw < upTo) return fate as Fate;
  }
  return "completed";
}

interface Lot {
  /** How long it streams before it is cancelled or killed. */
  readonly streamMs: number;
  /** Gets the reason of each refusal, after which the turn comes back. */
  readonly sheds: string[];
}

async function runTurn({ server }: Replica, fate: Fate, { streamMs, sheds }: Lot): Promise<string> {
  const agentName = fate === "ballooning" ? BALLOON : TALKER;
  for (;;) {
    const ids = { turn: "", session: "" };
    let hasText = false;
    const onText = () => {
      if (hasText) return;
      hasText = true;
      if (fate === "cancelled") void delay(streamMs).then(() => cancel(server.url, ids.turn));
      if (fate === "killed") void delay(streamMs).then(() => killAgent(server.pid, ids.session));
    };
    const onStart = (turn: string, session: string) => Object.assign(ids, { turn, session });
    const signal = AbortSignal.timeout(TURN_LIMIT_MS);
    const call = { url: server.url, agentName, input: fate, signal, onText, onStart };
    const answer = await askTurn(call);
    if (answer.shed === null) return answer.outcome;
    sheds.push(answer.shed);
    await delay(SHED_PAUSE_MS);
  }
}

async function cancel(url: string, turnId: string): Promise<void> {
  await fetch(`${url}/v1/turns/${turnId}/cancel`, { method: "POST" }).catch(() => {});
}

/** As anyone may who is allowed to: SIGKILL, without a word to the server. */
function killAgent(serverPid: number, sessionId: string): void {
  for (const pid of childrenOf(serverPid)) {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, "utf8");
      if (environment.includes(sessionId)) process.kill(pid, "SIGKILL");
    } catch {
      // It was gone already.
    }
  }
}

/** What `/capacity` says when nothing is in flight, and committed has come to rest. */
async function settled({ server }: Replica): Promise<CapacitySample> {
  const endAtMs = performance.now() + SETTLE_LIMIT_MS;
  let last: CapacitySample | null = null;
  for (;;) {
    await delay(SETTLE_POLL_MS);
    const sample = await readCapacity(server.url);
    const isOver = performance.now() > endAtMs;
    if (sample !== null && (isOver || (sample.inflight === 0 && isSame(sample, last)))) {
      return sample;
    }
    if (isOver) throw new Error("the server does not say what it holds");
    last = sample;
  }
}

function isSame({ committedBytes }: CapacitySample, last: CapacitySample | null): boolean {
  return last !== null && Math.abs(committedBytes - last.committedBytes) < MIB;
}

/** Whether a turn ended as its fate was. */
function asExpected({ fate, outcome }: Soaked["ends"][number]): boolean {
  if (fate === "killed") return outcome.startsWith("failed: ");
  if (fate === "ballooning") return outcome === "completed" || outcome.startsWith("failed: ");
  return outcome === fate;
}

/** MiB in 1,000 turns: the median of the slopes between any two readings after the warm-up. */
function slopeOf(
  memory: readonly MemoryPoint[],
  { warmUp }: Plan,
  part: Exclude<keyof MemoryPoint, "turns"> = "liveBytes",
): number {
  const settledPoints = memory.filter(({ turns }) => turns >= warmUp);
  const slopes = settledPoints.flatMap((a, at) =>
    settledPoints.slice(at + 1).map((b) => (b[part] - a[part]) / MIB / (b.turns - a.turns)),
  );
  return median(slopes) * 1_000;
}

function outcomeOf(soaked: Soaked, plan: Plan): BenchmarkOutcome {
  const { ends, memory, before, after, strays, elapsedMs, sheds, exit, oomKills } = soaked;
  const slope = slopeOf(memory, plan);
  const refusals = Object.entries(sheds).map(([reason, times]) => `${times} times for ${reason}`);
  const fates = [...new Set(ends.map(({ fate }) => fate))];
  return {
    // A short run is all warm-up.
    claims: claimsOf(soaked, slope, plan).slice(plan === PLANS.small ? 1 : 0),
    data: {
      ...plan,
      ends: tally(ends.map(({ fate, outcome }) => `${fate} > ${outcome}`)),
      memory,
      before,
      after,
      strays,
      elapsedMs,
      sheds,
      exit,
      slope,
      kills: oomKills.length,
    },
    sections: [
      `${plan.turns} turns, ${plan.atOnce} at once, each in a session of its own, in a memory ` +
        `control group of ${LIMIT_BYTES / MIB} MiB. Which turn is cancelled by request, whose ` +
        `agent process is killed by SIGKILL, and whose command takes ${BALLOON_BYTES / MIB} MiB is ` +
        `drawn by lot. They took ${Math.round(elapsedMs / 1_000)} s; turns that were shed ` +
        `came back (${refusals.join(", ") || "none was"}). Memory is what the server's process has ` +
        `in no file, read every ${MEMORY_EVERY_TURNS} turns after a collection of its garbage, less ` +
        "what its heap then has free; " +
        "the drift is the median of the slopes between any two readings after the first " +
        `${plan.warmUp} turns. The events of ended turns are not kept here (\`journal.keepTime\`).`,
      "## How the turns ended",
      table(
        ["", "turns", "ended"],
        fates.map((fate) => {
          const outcomes = ends.filter((end) => end.fate === fate).map(({ outcome }) => outcome);
          const counts = Object.entries(tally(outcomes)).map(([word, n]) => `${n} ${word}`);
          return [fate, String(outcomes.length), counts.join(", ")];
        }),
      ),
      "## Memory of the server's process",
      "Drift in 1,000 turns, MiB:",
      table(
        ["from", "all", "its objects", "of those machine code"],
        [0, plan.warmUp / 2, plan.warmUp].map((from) => [
          `${from} turns`,
          ...(["liveBytes", "heapBytes", "codeBytes"] as const).map((part) =>
            slopeOf(memory, { ...plan, warmUp: from }, part).toFixed(2),
          ),
        ]),
      ),
      "![Memory against turns](soak-memory.svg)",
    ],
    pictures: { "soak-memory.svg": pictureOf(memory) },
  };
}

function claimsOf(soaked: Soaked, slope: number, { turns, warmUp }: Plan): Claim[] {
  const { ends, before, after, strays, exit } = soaked;
  const count = (value: number) => String(value);
  const wrong = ends.filter((end) => !asExpected(end)).length;
  const committed = Math.abs(after.committedBytes - before.committedBytes);
  return [
    atMost(
      `Drift of the server's memory in 1,000 turns, after the first ${warmUp}`,
      SLOPE_LIMIT_MIB,
      slope,
      (value) => `${value.toFixed(2)} MiB`,
    ),
    atMost("Processes left behind", 0, strays, count),
    atMost(
      "Committed when idle, at the end against after the warm-up",
      COMMITTED_SLACK_BYTES,
      committed,
      (value) => `${(value / MIB).toFixed(1)} MiB`,
    ),
    atMost(`Of ${ends.length} turns, ended otherwise than they had to`, 0, wrong, count),
    {
      claim: "The replica lives",
      target: `${turns} turns, no exit`,
      measured: `${ends.length} turns, ${exit === null ? "no exit" : "exit"}`,
      holds: exit === null && ends.length === turns,
    },
  ];
}

function pictureOf(memory: readonly MemoryPoint[]): string {
  const points = memory.map(({ turns, liveBytes }) => [turns, liveBytes / MIB] as const);
  const objects = memory.map(({ turns, heapBytes }) => [turns, heapBytes / MIB] as const);
  return plotOf({
    title: "soak: memory of the server's process",
    xTitle: "turns",
    panels: [
      {
        title: "Memory in use, MiB",
        lines: [
          { label: "the server", colour: "teal", points, style: "area" },
          { label: "its objects", colour: "blue", points: objects },
        ],
      },
    ],
  });
}
