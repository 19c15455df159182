/**
 * The death in which nobody dies: memory runs so short that the kernel drops the program text that
 * all agent processes share and reads it again for ever. How long nobody hears a word, without gate
 * and guard, with a guard that only refaults can tell of it, and as the server ships.
 *
 * @module
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { table } from "./page.ts";
import { plotOf } from "./plot.ts";
import { scratchDirectory, startModel, type RunningModel } from "./processes.ts";
import { makeReplicaImage, type ReplicaImage } from "./replica-image.ts";
import { settings, ungated, withReplica, type ReplicaRecord } from "./replica.ts";
import { atLeast, atMost, type Benchmark, type Claim, type Size } from "./result.ts";
import { offerTurns, tally, type Offered } from "./turn-load.ts";

const MIB = 2 ** 20;
const LIMIT_BYTES = 1_024 * MIB;
/** More than fit by a little: their memory does, the text beside it does not. */
const TURNS = 9;
/** Long enough that all of them overlap. */
const WORDS = 400;
const WORDS_PER_SECOND = 25;
const OFFERED_PER_SECOND = 2;
const OFFER_MS = 60_000;
/** A run is broken off after so long a silence: it would last for minutes. */
const GIVE_UP_MS = 25_000;
const SILENT_LEAST_MS = 15_000;
const SILENT_MOST_MS = 10_000;
/** Most of it is the start of the first process. */
const SHIPPED_MOST_MS = 5_000;

/** The brake is set so low that no reading of bytes warns of what comes. */
const BLIND = { "capacity.guard": "true", "capacity.safetyReserve": "8MiB" };
const PINNED = { NODE_OPTIONS: "--use-largepages=silent" };

interface Side {
  readonly label: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

const NOTHING: Side = { label: "neither gate nor guard", args: ungated(TURNS), environment: {} };
const BLIND_ARGS = [...ungated(TURNS), ...settings(BLIND)];
const DROPPED: Side = {
  label: "guard by refaults, its text dropped",
  args: BLIND_ARGS,
  environment: {},
};
const KEPT: Side = {
  label: "guard by refaults, its text kept",
  args: BLIND_ARGS,
  environment: PINNED,
};
const SHIPPED: Side = { label: "as it ships", args: [], environment: {} };

interface Plan {
  readonly sides: readonly Side[];
  readonly rounds: number;
}

const PLANS: Readonly<Record<Size, Plan>> = {
  full: { sides: [NOTHING, DROPPED, KEPT, SHIPPED], rounds: 2 },
  small: { sides: [KEPT], rounds: 1 },
};

interface Run extends Offered, ReplicaRecord {
  readonly side: Side;
  /** In which no turn in flight heard a word. */
  readonly silentMs: number;
}

interface Place {
  readonly directory: string;
  readonly agentFile: string;
  readonly image: ReplicaImage;
  readonly model: RunningModel;
  readonly signal: AbortSignal;
}

export const livelock: Benchmark = {
  name: "livelock",
  summary: "memory so short that only text is read again: how long nobody hears a word",
  hasSmall: true,
  async run(report, signal, size) {
    const { sides, rounds } = PLANS[size];
    using scratch = scratchDirectory();
    const agentFile = join(scratch.path, "agent.yaml");
    writeFileSync(agentFile, AGENT);
    const image = makeReplicaImage(join(scratch.path, "image"));
    await using model = await startModel(scratch.path, SCRIPT);
    const place = { directory: scratch.path, agentFile, image, model, signal };
    const runs: Run[] = [];
    for (let round = 0; round < rounds; round += 1) {
      for (const side of sides) {
        const run = await runSide(side, join(scratch.path, `data-${runs.length}`), place);
        runs.push(run);
        report(`${side.label}: ${describe(run)}`);
      }
    }
    return {
      claims: sides.flatMap((side) => claimsOf(side, runs)),
      data: runs.map(({ side, silentMs, answers, oomKills, exit }) => {
        const endings = tally(answers.map(({ outcome }) => outcome));
        return { side: side.label, silentMs, endings, kills: oomKills.length, exit };
      }),
      sections: sectionsOf(runs, rounds),
      pictures: { "livelock.svg": pictureOf(runs.slice(0, sides.length)) },
    };
  },
};

const AGENT = "name: talker\nmodel: { provider: anthropic }\ninstructions: Talk.\n";
const SCRIPT = {
  defaults: { firstTokenMs: 200, tokensPerSecond: WORDS_PER_SECOND },
  rules: [{ reply: [{ tokens: WORDS }] }],
};

async function runSide(side: Side, dataDirectory: string, place: Place): Promise<Run> {
  const { agentFile, image, model, signal } = place;
  const options = {
    limitBytes: LIMIT_BYTES,
    image,
    agentFile,
    dataDirectory,
    environment: { ...model.environment, ...side.environment },
    args: side.args,
    logFile: `${dataDirectory}.log`,
  };
  let silentMs = 0;
  const record = await withReplica(options, ({ server, group }) =>
    offerTurns(
      {
        url: server.url,
        agentName: "talker",
        ratePerSecond: OFFERED_PER_SECOND,
        durationMs: OFFER_MS,
        input: () => "Talk",
        isOver: ({ inFlight, lastTextAtMs }) => {
          const isSilent = inFlight > 0 && lastTextAtMs !== null;
          if (isSilent) silentMs = Math.max(silentMs, performance.now() - lastTextAtMs);
          return silentMs > GIVE_UP_MS || server.exit() !== null || group.oomKills.length > 0;
        },
      },
      signal,
    ),
  );
  return { ...record, side, silentMs };
}

function endingsOf({ answers }: Run): Readonly<Record<string, number>> {
  return tally(answers.filter(({ shed }) => shed === null).map(({ outcome }) => outcome));
}

function describe(run: Run): string {
  const endings = Object.entries(endingsOf(run)).map(([end, turns]) => `${turns} ${end}`);
  return `${seconds(run.silentMs)} of silence; ${endings.join(", ") || "no turn ended"}`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

function claimsOf(side: Side, all: readonly Run[]): Claim[] {
  const runs = all.filter((run) => run.side === side);
  const longest = Math.max(...runs.map(({ silentMs }) => silentMs));
  if (side === NOTHING) {
    const shortest = Math.min(...runs.map(({ silentMs }) => silentMs));
    const claim = "Neither gate nor guard: longest silence, the shortest of the rounds";
    return [atLeast(claim, SILENT_LEAST_MS, shortest, seconds)];
  }
  // What becomes of it is told, and nothing is promised.
  if (side === DROPPED) return [];
  const mostMs = side === SHIPPED ? SHIPPED_MOST_MS : SILENT_MOST_MS;
  const orderly = side === SHIPPED ? ["completed"] : ["completed", "failed: turn_out_of_memory"];
  const lost = runs.flatMap((run) =>
    Object.entries(endingsOf(run)).flatMap(([end, turns]) => (orderly.includes(end) ? [] : turns)),
  );
  const deaths = runs.filter(({ exit, oomKills }) => exit !== null || oomKills.length > 0).length;
  const name = side.label[0]?.toUpperCase() + side.label.slice(1);
  const words = side === SHIPPED ? "not completed" : "neither completed nor ended by the guard";
  return [
    atMost(`${name}: longest silence`, mostMs, longest, seconds),
    atMost(
      `${name}: turns ${words}`,
      0,
      lost.reduce((sum, turns) => sum + turns, 0),
      String,
    ),
    atMost(`${name}: rounds with a process killed by the kernel`, 0, deaths, String),
  ];
}

function sectionsOf(runs: readonly Run[], rounds: number): string[] {
  return [
    `Turns of ${WORDS / WORDS_PER_SECOND} s are offered to a replica of ${LIMIT_BYTES / MIB} MiB, ` +
      `${OFFERED_PER_SECOND} a second for ${OFFER_MS / 1_000} s, ${rounds} rounds. All but the ` +
      `last side admit ${TURNS} at once, which is a little more than fits. For the sides in the ` +
      "middle `capacity.safetyReserve` is 8 MiB, so that the guard's reading of bytes never warns; " +
      "they differ in `NODE_OPTIONS=--use-largepages=silent`, by which Node copies its program " +
      "text where the kernel cannot drop it. A run is broken off after " +
      `${GIVE_UP_MS / 1_000} s in which nobody hears a word. The pages of the programs are charged ` +
      "to the group, as in a container.",
    "## How the rounds ended",
    table(
      ["", "longest silence", "turns ended", "killed by the kernel"],
      runs.map((run) => [
        run.side.label,
        seconds(run.silentMs),
        Object.entries(endingsOf(run))
          .map(([end, turns]) => `${turns} ${end}`)
          .join(", "),
        String(run.oomKills.length),
      ]),
    ),
    "![Text that is mapped, and text read again](livelock.svg)",
  ];
}

const COLOURS = ["orange", "violet", "teal", "blue"] as const;

function pictureOf(runs: readonly Run[]): string {
  const linesOf = (value: (run: Run, at: number) => number) =>
    runs.map((run, index) => ({
      label: run.side.label,
      colour: COLOURS[index % COLOURS.length] as (typeof COLOURS)[number],
      points: run.readings.map(({ atMs }, at) => {
        const second = (atMs - (run.readings[0]?.atMs ?? 0)) / 1_000;
        return [second, value(run, at)] as const;
      }),
    }));
  return plotOf({
    title: "livelock: the text of the programs",
    xTitle: "seconds",
    panels: [
      {
        title: "File pages that are mapped, MiB",
        lines: linesOf(({ readings }, at) => (readings[at]?.mappedFileBytes ?? 0) / MIB),
      },
      {
        title: "Pages read again so far, millions",
        lines: linesOf(({ readings }, at) => (readings[at]?.refaults ?? 0) / 1e6),
      },
    ],
  });
}
