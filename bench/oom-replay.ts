/**
 * Two bursts a minute apart, with the sessions of the first still open, on 2 GiB: what becomes of
 * a replica that caps open sessions, of one that admits by a formula, and of one that measures.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { table } from "./page.ts";
import { plotOf, type Line } from "./plot.ts";
import { metricOf, scratchDirectory, startModel } from "./processes.ts";
import { makeReplicaImage, type ReplicaImage } from "./replica-image.ts";
import { POLICIES, withReplica, type ReplicaOptions, type ReplicaRecord } from "./replica.ts";
import type { Benchmark, BenchmarkOutcome, Claim, Size } from "./result.ts";
import { median } from "./statistics.ts";
import { askTurn, type TurnAnswer } from "./turn-client.ts";
import { inFlightOver, tally } from "./turn-load.ts";

const MIB = 2 ** 20;
const LIMIT_BYTES = 2_048 * MIB;
/** With it the server weighs about 400 MiB, as the one that the formula was made for. */
const BALLAST_BYTES = 275 * MIB;
const WORDS_PER_SECOND = 25;

/**
 * What the command of a turn holds. With it a turn that works weighs about 400 MiB at its peak, as
 * in the post, whose replica ended with 137 at four such turns beside five idle sessions.
 */
const TOOL_BYTES = 280 * MIB;

interface Plan {
  readonly rounds: number;
  /** Turns of the first burst, which talk, and of the second, which work. */
  readonly bursts: readonly [number, number];
  readonly talkWords: number;
  readonly wordsBefore: number;
  readonly wordsAfter: number;
  readonly toolMs: number;
  readonly gapMs: number;
}

const PLANS: Readonly<Record<Size, Plan>> = {
  full: {
    rounds: 3,
    bursts: [5, 8],
    talkWords: 150,
    wordsBefore: 50,
    wordsAfter: 50,
    toolMs: 4_000,
    gapMs: 60_000,
  },
  small: {
    rounds: 1,
    bursts: [5, 8],
    talkWords: 20,
    wordsBefore: 10,
    wordsAfter: 10,
    toolMs: 3_000,
    gapMs: 12_000,
  },
};

/** What a burst may take to end; of a replica that hangs, the rest is lost. */
const BURST_LIMIT_MS = 90_000;
const TALKER = `
name: talker
model:
  provider: anthropic
instructions: Talk.
tools:
  functions:
    - ./ballast.mjs
`;
const WORKER = `
name: worker
model:
  provider: anthropic
instructions: Work.
tools:
  builtin: [Bash]
`;
const TOOL = `
const ballast = Buffer.alloc(${BALLAST_BYTES}, 1);
export const weigh = {
  description: "Tells what the server holds for its tools.",
  input: { type: "object", properties: {} },
  run: () => String(ballast.length),
};
`;

const TOOLS_ENDED = /^plimsoll_guard_actions_total\{.*plimsoll_guard_target="tool"/u;

interface Policy {
  readonly label: string;
  readonly args: readonly string[];
  readonly isSessionCap?: true;
  /** Goes on with what the measured replica has learned in the rounds before. */
  readonly hasLearned?: true;
}

const CAP: Policy = { label: "cap of 500 open sessions", args: [], isSessionCap: true };
const FORMULA: Policy = { label: "static formula", args: POLICIES.formula };
const MEASURED: Policy = { label: "measured, nothing learned", args: POLICIES.measured };
const LEARNED: Policy = { label: "measured, learned", args: POLICIES.measured, hasLearned: true };
const ALL: readonly Policy[] = [CAP, FORMULA, MEASURED, LEARNED];

interface Replay extends ReplicaRecord {
  readonly beganAtMs: number;
  readonly bursts: readonly (readonly TurnAnswer[])[];
  /** Tools that the guard has ended, whose turns went on; null of a program without one. */
  readonly toolsEnded: number | null;
}

interface Outcome {
  readonly policy: Policy;
  readonly replays: readonly Replay[];
}

export const oomReplay: Benchmark = {
  name: "oom-replay",
  summary: "two bursts on 2 GiB: a cap on open sessions, a formula, and measuring",
  hasSmall: true,
  async run(report, signal, size) {
    const plan = PLANS[size];
    using scratch = scratchDirectory();
    const agents = join(scratch.path, "agents");
    mkdirSync(agents);
    writeFileSync(join(agents, "talker.yaml"), TALKER);
    writeFileSync(join(agents, "worker.yaml"), WORKER);
    writeFileSync(join(agents, "ballast.mjs"), TOOL);
    const image = makeReplicaImage(join(scratch.path, "image"));
    const sessionCap = addSessionCapServer(image);
    await using model = await startModel(scratch.path, scriptOf(plan));
    const replays = new Map(ALL.map((policy) => [policy, [] as Replay[]]));
    for (let round = 0; round < plan.rounds; round += 1) {
      for (const policy of ALL) {
        signal.throwIfAborted();
        const data = policy.args === POLICIES.measured ? `measured-${round}` : randomUUID();
        const options: ReplicaOptions = {
          limitBytes: LIMIT_BYTES,
          image,
          agentFile: agents,
          dataDirectory: join(scratch.path, data),
          environment: { ...model.environment, BENCH_BALLAST_BYTES: String(BALLAST_BYTES) },
          args: policy.args,
          logFile: join(scratch.path, `${data}.log`),
          ...(policy.isSessionCap === true && { program: sessionCap }),
        };
        const replay = await replayBursts(options, plan, signal);
        replays.get(policy)?.push(replay);
        report(`${policy.label}: ${describe(replay)}`);
      }
    }
    const outcomes = ALL.map((policy) => ({ policy, replays: replays.get(policy) ?? [] }));
    return outcomeOf(outcomes, plan);
  },
};

function scriptOf({ talkWords, wordsBefore, wordsAfter, toolMs }: Plan) {
  // Without a line's end tail has to keep all of it, and it needs next to nothing to run.
  const command = `(head -c ${TOOL_BYTES} /dev/zero; sleep ${toolMs / 1_000}) | tail > /dev/null`;
  return {
    defaults: { firstTokenMs: 200, tokensPerSecond: WORDS_PER_SECOND },
    rules: [
      { when: { afterTool: true }, reply: [{ tokens: wordsAfter }] },
      {
        when: { userText: "Work" },
        reply: [{ tokens: wordsBefore }, { tool: { name: "Bash", input: { command } } }],
      },
      { reply: [{ tokens: talkWords }] },
    ],
  };
}

function addSessionCapServer(image: ReplicaImage): string {
  const program = join(image.directory, "session-cap-server.mjs");
  cpSync(fileURLToPath(new URL("session-cap-server.mjs", import.meta.url)), program);
  return program;
}

async function replayBursts(
  options: ReplicaOptions,
  plan: Plan,
  signal: AbortSignal,
): Promise<Replay> {
  return withReplica(options, async ({ server }) => {
    const beganAtMs = performance.now();
    const burst = (turns: number, agentName: string, input: string) => {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(BURST_LIMIT_MS)]);
      setMaxListeners(0, limit);
      const call = { url: server.url, agentName, input, signal: limit };
      return Promise.all(Array.from({ length: turns }, () => askTurn(call)));
    };
    const first = burst(plan.bursts[0], "talker", "Talk");
    await delay(plan.gapMs, undefined, { signal });
    const second = await burst(plan.bursts[1], "worker", "Work");
    const toolsEnded =
      options.program === undefined ? await metricOf(server.url, TOOLS_ENDED) : null;
    return { beganAtMs, bursts: [await first, second], toolsEnded };
  });
}

function lostIn({ bursts }: Replay): number {
  const admitted = bursts.flat().filter(({ shed, outcome }) => shed === null && outcome !== "shed");
  return admitted.filter(({ outcome }) => outcome !== "completed").length;
}

function countIn({ bursts }: Replay, wanted: (answer: TurnAnswer) => boolean): number {
  return bursts.flat().filter(wanted).length;
}

const wasAdmitted = ({ startedAtMs }: TurnAnswer) => startedAtMs !== null;
const wasShed = ({ shed }: TurnAnswer) => shed !== null;

/** As a shell has it: 128 and the number of the signal. */
function exitOf({ exit }: Replay): string {
  if (exit === null) return "none";
  return exit.signal === "SIGKILL" ? "137" : String(exit.code ?? exit.signal);
}

function peakMib({ readings }: Replay): number {
  return Math.max(...readings.map(({ heldBytes }) => heldBytes)) / MIB;
}

function describe(replay: Replay): string {
  const programs = tally(replay.oomKills.map(({ program }) => program));
  return (
    `admitted ${countIn(replay, wasAdmitted)}, shed ${countIn(replay, wasShed)}, ` +
    `lost ${lostIn(replay)}, tools ended ${replay.toolsEnded ?? "-"}, killed ${JSON.stringify(programs)}, exit ${exitOf(replay)}, ` +
    `peak ${Math.round(peakMib(replay))} MiB`
  );
}

function outcomeOf(outcomes: readonly Outcome[], plan: Plan): BenchmarkOutcome {
  const { bursts, talkWords, wordsBefore, wordsAfter, toolMs, gapMs } = plan;
  return {
    claims: claimsOf(outcomes),
    data: {
      limitBytes: LIMIT_BYTES,
      ballastBytes: BALLAST_BYTES,
      ...plan,
      policies: outcomes.map(({ policy, replays }) => ({
        ...policy,
        replays: replays.map(dataOf),
      })),
    },
    sections: [
      `A memory control group of ${LIMIT_BYTES / MIB} MiB, its programs read from the disk by the ` +
        `replica itself. ${bursts[0]} turns are asked for at once, each in a session of its own, ` +
        `which stream for ${talkWords / WORDS_PER_SECOND} s; ${gapMs / 1_000} s later ` +
        `${bursts[1]} more in new sessions, which stream for ${wordsBefore / WORDS_PER_SECOND} s, ` +
        `run a command that holds ${TOOL_BYTES / MIB} MiB for ${toolMs / 1_000} s, and stream for ` +
        `${wordsAfter / WORDS_PER_SECOND} s more. So the weights are those of the post: the ` +
        `server about 400 MiB, of which ${BALLAST_BYTES / MIB} MiB are what its tools hold; an ` +
        "agent process about 120 MiB, in a turn or idle; a turn of the second burst about 400 MiB " +
        "at its peak. The cap on open sessions is that of a small server on the SDK's " +
        "`query()` (bench/session-cap-server.mjs), which keeps the agent process of each open " +
        "session for its next turn, as servers did for which this cap was thought enough. Exit " +
        "code 137 is the kernel's SIGKILL. Killed are processes that the kernel ended for memory; " +
        "lost are turns that were admitted and did not complete. Tools ended are commands that the " +
        "guard ended, whose turns went on. Where nothing is learned, a turn of the second burst is " +
        "taken for 500 MiB, as its agent runs commands; learned is what the few turns of the replay " +
        "before have taught, whose largest is predicted, with a margin and a pool for what they may " +
        "differ.",
      "## Side by side",
      `Medians of ${plan.rounds} rounds, both bursts together; the worst round in brackets where ` +
        "it differs.",
      comparison(outcomes),
      ...outcomes.map(({ policy }, at) => `![${policy.label}](${pictureName(at)})`),
    ],
    pictures: Object.fromEntries(
      outcomes.map((outcome, at) => [pictureName(at), pictureOf(outcome)]),
    ),
  };
}

function pictureName(at: number): string {
  return `oom-replay-${at + 1}.svg`;
}

function dataOf(replay: Replay) {
  return {
    admitted: countIn(replay, wasAdmitted),
    shed: countIn(replay, wasShed),
    lost: lostIn(replay),
    toolsEnded: replay.toolsEnded,
    oomKills: replay.oomKills,
    exit: replay.exit,
    peakMib: peakMib(replay),
    heldMib: replay.readings
      .filter((_, at) => at % 10 === 0)
      .map(({ heldBytes }) => Math.round(heldBytes / MIB)),
  };
}

function claimsOf(outcomes: readonly Outcome[]): Claim[] {
  return outcomes.flatMap(({ policy, replays }) => {
    const exits = replays.map(exitOf).join(", ");
    const kills = replays.reduce((sum, { oomKills }) => sum + oomKills.length, 0);
    const lost = replays.reduce((sum, replay) => sum + lostIn(replay), 0);
    if (policy.isSessionCap === true) {
      return [
        {
          claim: `With a ${policy.label} the kernel kills the replica`,
          target: "exit code 137 in every round",
          measured: exits,
          holds: replays.every((replay) => exitOf(replay) === "137"),
        },
      ];
    }
    if (policy === FORMULA) return [];
    return [
      {
        claim: `${policy.label}: the replica lives, no process is killed, no turn is lost`,
        target: "exit none, 0 killed, 0 lost",
        measured: `exit ${exits}, ${kills} killed, ${lost} lost`,
        holds: replays.every(({ exit }) => exit === null) && kills === 0 && lost === 0,
      },
    ];
  });
}

function comparison(outcomes: readonly Outcome[]): string {
  const columns: readonly (readonly [string, (replay: Replay) => number])[] = [
    ["admitted", (replay) => countIn(replay, wasAdmitted)],
    ["shed", (replay) => countIn(replay, wasShed)],
    ["completed", (replay) => countIn(replay, ({ outcome }) => outcome === "completed")],
    ["lost", lostIn],
    ["tools ended", ({ toolsEnded }) => toolsEnded ?? 0],
    ["killed", ({ oomKills }) => oomKills.length],
    ["peak, MiB", (replay) => Math.round(peakMib(replay))],
  ];
  return table(
    ["", ...columns.map(([head]) => head), "exit code"],
    outcomes.map(({ policy, replays }) => [
      policy.label,
      ...columns.map(([, of]) => {
        const values = replays.map(of);
        const [middle, worst] = [median(values), Math.max(...values)];
        return middle === worst ? String(middle) : `${middle} (${worst})`;
      }),
      [...new Set(replays.map(exitOf))].join(", "),
    ]),
  );
}

function pictureOf({ policy, replays }: Outcome): string {
  const [replay] = replays;
  if (replay === undefined) throw new Error("nothing was replayed");
  const { beganAtMs, readings, bursts, oomKills, exit } = replay;
  const seconds = (atMs: number) => (atMs - beganAtMs) / 1_000;
  const untilMs = Math.max(...bursts.flat().map(({ endedAtMs }) => endedAtMs));
  const during = readings.filter(({ atMs }) => atMs >= beganAtMs && atMs <= untilMs);
  const end = seconds(during.at(-1)?.atMs ?? beganAtMs);
  const steps = inFlightOver(bursts.flat());
  const turns = steps.flatMap(({ atMs, value }, at): (readonly [number, number])[] => [
    [seconds(atMs), steps[at - 1]?.value ?? 0],
    [seconds(atMs), value],
  ]);
  const line = (points: Line["points"], rest: Omit<Line, "points">): Line => ({ ...rest, points });
  return plotOf({
    title: `oom-replay: ${policy.label}`,
    xTitle: "seconds",
    panels: [
      {
        title: "Memory, MiB",
        lines: [
          line(
            during.map(({ atMs, heldBytes }) => [seconds(atMs), heldBytes / MIB]),
            { label: "cannot be reclaimed", colour: "teal", style: "area" },
          ),
          line(
            [
              [0, LIMIT_BYTES / MIB],
              [end, LIMIT_BYTES / MIB],
            ],
            { label: "limit", colour: "red", style: "dashed" },
          ),
        ],
        marks: oomKills.slice(0, 1).map(({ atMs }) => ({
          x: seconds(atMs),
          label: exit === null ? "killed by the kernel" : `exit ${exitOf(replay)}`,
        })),
      },
      {
        title: "Turns in flight",
        lines: [line([[0, 0], ...turns], { label: "turns", colour: "blue", style: "area" })],
      },
    ],
  });
}
