/**
 * Many turns at once on few cores: when each has its first token, with the lane in which starts
 * wait for a core, and with all starting at the same time.
 *
 * @module
 */

import { availableParallelism } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { boxPlot, summaryTable } from "./page.ts";
import { plotOf } from "./plot.ts";
import {
  childrenOf,
  EXAMPLE_AGENT,
  scratchDirectory,
  startModel,
  startServer,
  type RunningServer,
} from "./processes.ts";
import { settings } from "./replica.ts";
import { atMost, type Benchmark, type Claim, type Size } from "./result.ts";
import { median, ratioInterval, summaryOf } from "./statistics.ts";
import { timeTurn } from "./turn-client.ts";

const SCRIPT = {
  defaults: { firstTokenMs: 200, tokensPerSecond: 25 },
  rules: [{ reply: [{ tokens: 50 }] }],
};
/** Memory is not what holds turns back here. */
const ROOM = { "capacity.admission": "static", "capacity.turnReserve": "128MiB" };
const MEDIAN_LIMIT_RATIO = 0.7;
const MAX_LIMIT_RATIO = 1.1;
const SETTLED_POLL_MS = 20;

const SIDES = {
  lane: settings({ ...ROOM, "capacity.startWait": "2m" }),
  free: settings({ ...ROOM, "capacity.startWait": "2m", "capacity.startsAtOnce": "1000" }),
};
type Side = keyof typeof SIDES;
const LABELS: Readonly<Record<Side, string>> = { lane: "start lane", free: "all at once" };

interface Load {
  readonly turnsAtOnce: number;
  readonly rounds: number;
}

const PLANS: Readonly<Record<Size, readonly Load[]>> = {
  full: [
    { turnsAtOnce: 8, rounds: 12 },
    { turnsAtOnce: 16, rounds: 10 },
  ],
  small: [{ turnsAtOnce: 8, rounds: 2 }],
};

interface Compared extends Load {
  /** Times to the first token in ms, the shortest first; one list for each round. */
  readonly times: Readonly<Record<Side, readonly (readonly number[])[]>>;
}

export const bursts: Benchmark = {
  name: "bursts",
  summary: "time to first token of 8 and 16 turns at once, with and without the start lane",
  hasSmall: true,
  async run(report, signal, size) {
    using scratch = scratchDirectory();
    await using model = await startModel(scratch.path, SCRIPT);
    const start = (side: Side) =>
      startServer({
        agentFile: EXAMPLE_AGENT,
        dataDirectory: join(scratch.path, side),
        environment: model.environment,
        args: SIDES[side],
      });
    await using lane = await start("lane");
    await using free = await start("free");
    const compared: Compared[] = [];
    for (const load of PLANS[size]) {
      report(`${load.turnsAtOnce} at once, ${load.rounds} rounds of both sides`);
      const result = { ...load, times: await compare(load, { lane, free }, signal) };
      compared.push(result);
      const [p50, max] = [medianRatio(result), maxRatio(result)];
      report(`  median ${p50.toFixed(2)}, longest ${max.toFixed(2)} of all at once`);
    }
    const picture = Object.fromEntries(
      compared.map((each) => [pictureName(each), pictureOf(each)]),
    );
    return {
      claims: compared.flatMap(claimsOf),
      data: compared,
      sections: sectionsOf(compared),
      pictures: picture,
    };
  },
};

async function compare(
  { turnsAtOnce, rounds }: Load,
  servers: Readonly<Record<Side, RunningServer>>,
  signal: AbortSignal,
): Promise<Compared["times"]> {
  const times: Record<Side, number[][]> = { lane: [], free: [] };
  for (let round = -1; round < rounds; round += 1) {
    const order = round % 2 === 0 ? (["lane", "free"] as const) : (["free", "lane"] as const);
    for (const side of order) {
      signal.throwIfAborted();
      const burst = await runBurst(servers[side], turnsAtOnce);
      // The first round is for warming up.
      if (round >= 0) times[side].push(burst);
    }
  }
  return times;
}

async function runBurst(server: RunningServer, turnsAtOnce: number): Promise<number[]> {
  const call = { url: server.url, agentName: "hello", input: "Good morning" };
  const turns = await Promise.all(Array.from({ length: turnsAtOnce }, () => timeTurn(call)));
  while (childrenOf(server.pid).length > 0) await delay(SETTLED_POLL_MS);
  return turns.map(({ firstTextMs }) => firstTextMs).sort((a, b) => a - b);
}

function medianRatio({ times }: Compared): number {
  return median(times.lane.flat()) / median(times.free.flat());
}

/** Of the medians over the rounds of the longest time of each. */
function maxRatio({ times }: Compared): number {
  return median(longestOf(times.lane)) / median(longestOf(times.free));
}

function longestOf(rounds: readonly (readonly number[])[]): number[] {
  return rounds.map((round) => Math.max(...round));
}

function claimsOf(compared: Compared): Claim[] {
  const { turnsAtOnce, times } = compared;
  const { low, high } = ratioInterval(times.lane, times.free);
  const spread = ` (95 % interval ${low.toFixed(2)} to ${high.toFixed(2)})`;
  const ratio = (value: number) => value.toFixed(2);
  const p50 = atMost(
    `${turnsAtOnce} at once: time to first token with the lane / without, medians`,
    MEDIAN_LIMIT_RATIO,
    medianRatio(compared),
    ratio,
  );
  return [
    { ...p50, measured: p50.measured + spread },
    atMost(
      `${turnsAtOnce} at once: the longest of a round with the lane / without, medians`,
      MAX_LIMIT_RATIO,
      maxRatio(compared),
      ratio,
    ),
  ];
}

function sectionsOf(compared: readonly Compared[]): string[] {
  const rows = compared.flatMap(({ turnsAtOnce, times }) =>
    (["lane", "free"] as const).map(
      (side) => [`${turnsAtOnce}, ${LABELS[side]}`, times[side].flat()] as const,
    ),
  );
  return [
    `Turns of new sessions are asked for at the same moment, on ${availableParallelism()} cores that ` +
      "the server, its agent processes, the model and the client share. Both servers run the " +
      "example agent and admit all; one starts as many processes at a time as there are CPUs " +
      "(the default), the other as many as come (`capacity.startsAtOnce`). Rounds alternate, and " +
      "which side goes first alternates too. Timed from the sending of the request to the first " +
      "text; the model takes 200 ms of it.",
    "## Time to first token",
    summaryTable(
      "ms",
      rows.map(([label, values]) => [label, summaryOf(values)] as const),
    ),
    boxPlot("ms", rows),
    ...compared.map((each) => `![${each.turnsAtOnce} at once](${pictureName(each)})`),
  ];
}

function pictureName({ turnsAtOnce }: Compared): string {
  return `bursts-${turnsAtOnce}.svg`;
}

function pictureOf({ turnsAtOnce, times }: Compared): string {
  const places = Array.from({ length: turnsAtOnce }, (_, place) => place);
  const line = (side: Side) =>
    places.map((place) => {
      const seconds = median(times[side].map((round) => round[place] ?? Number.NaN)) / 1_000;
      return [place + 1, seconds] as const;
    });
  return plotOf({
    title: `bursts: ${turnsAtOnce} turns asked for at once`,
    xTitle: "turns that have their first token",
    panels: [
      {
        title: "Seconds from the request, medians of the rounds",
        lines: [
          { label: LABELS.lane, colour: "blue", points: line("lane") },
          { label: LABELS.free, colour: "orange", points: line("free") },
        ],
      },
    ],
  });
}
