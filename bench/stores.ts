/**
 * What a shared store adds to the time to first token, against sessions that are files: in a new
 * session, in the next turn of one, and where the replica has nothing of a long one.
 *
 * @module
 */

import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { lengthenTranscript, transcriptPathOf } from "../src/sizing/measure/long-transcript.ts";
import { boxPlot, summaryTable } from "./page.ts";
import {
  childrenOf,
  EXAMPLE_AGENT,
  scratchDirectory,
  startModel,
  startServer,
  type RunningModel,
  type RunningServer,
} from "./processes.ts";
import { atMost, type Benchmark, type Claim } from "./result.ts";
import { hasStore, startStore, STORE_NAMES, type StoreName } from "./session-stores.ts";
import { median, ratioInterval, summaryOf } from "./statistics.ts";
import { timeTurn } from "./turn-client.ts";

const SCRIPT = {
  defaults: { firstTokenMs: 0, tokensPerSecond: 1_000 },
  rules: [{ reply: [{ text: "Good morning to you, whoever you are." }] }],
};
const INPUT = "Good morning";
const TRANSCRIPT_BYTES = 2 ** 20;
const WARM_UP_ROUNDS = 1;
const ROUNDS = { full: 16, small: 2 } as const;
const WARM_LIMIT_RATIO = 1.1;
const COLD_LIMIT_RATIO = 1.25;
const POLL_MS = 10;

const KINDS = ["first", "next", "cold"] as const;
type Kind = (typeof KINDS)[number];
const KIND_LABELS: Readonly<Record<Kind, string>> = {
  first: "of a new session",
  next: "of the next turn",
  cold: "with a transcript of 1 MiB that the replica has no copy of",
};

type Name = StoreName | "files";
/** Milliseconds to the first token, one for each round. */
type Times = Readonly<Record<Kind, number[]>>;

export const stores: Benchmark = {
  name: "stores",
  summary: "time to first token with each session store, against sessions that are files",
  hasSmall: true,
  async run(report, signal, size) {
    using scratch = scratchDirectory();
    await using model = await startModel(scratch.path, SCRIPT);
    // The full form needs all of them, and says what is missing.
    const names = size === "full" ? STORE_NAMES : STORE_NAMES.filter(hasStore);
    const sides: Side[] = [];
    const times = new Map<Name, Times>();
    try {
      for (const name of ["files", ...names] as const) {
        sides.push(await openSide(name, join(scratch.path, name), model));
        times.set(name, { first: [], next: [], cold: [] });
      }
      for (let round = -WARM_UP_ROUNDS; round < ROUNDS[size]; round += 1) {
        for (const side of rotated(sides, round)) {
          signal.throwIfAborted();
          const seen = await runRound(side, round);
          if (round < 0) continue;
          for (const kind of KINDS) times.get(side.name)?.[kind].push(seen[kind]);
        }
        report(`round ${round + 1} of ${ROUNDS[size]}`);
      }
    } finally {
      for (const side of sides.toReversed()) await side[Symbol.asyncDispose]();
    }
    return outcomeOf(times);
  },
};

interface Side extends AsyncDisposable {
  readonly name: Name;
  readonly server: RunningServer;
  readonly dataDirectory: string;
  /** Of the session with the long transcript. */
  readonly longId: string;
}

const LONG_THREAD = "long";

async function openSide(name: Name, dataDirectory: string, model: RunningModel): Promise<Side> {
  const store = name === "files" ? null : await startStore(name);
  const server = await startServer({
    agentFile: EXAMPLE_AGENT,
    dataDirectory,
    environment: { ...model.environment, ...store?.environment },
  });
  let longId = "";
  const call = { url: server.url, agentName: "hello", input: INPUT, threadId: LONG_THREAD };
  await timeTurn({ ...call, onStart: (_turnId, sessionId) => (longId = sessionId) });
  lengthenTranscript(transcriptPathOf(dataDirectory, longId), TRANSCRIPT_BYTES);
  // With this turn the store gets all of it.
  await timeTurn(call);
  return {
    name,
    server,
    dataDirectory,
    longId,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await store?.[Symbol.asyncDispose]();
    },
  };
}

/** None is always the first. */
function rotated<Item>(items: readonly Item[], by: number): readonly Item[] {
  const at = ((by % items.length) + items.length) % items.length;
  return [...items.slice(at), ...items.slice(0, at)];
}

async function runRound(side: Side, round: number): Promise<Readonly<Record<Kind, number>>> {
  const threadId = `round-${round}`;
  const first = await timeAlone(side, threadId);
  const next = await timeAlone(side, threadId);
  if (side.name !== "files") removeCopy(side);
  const cold = await timeAlone(side, LONG_THREAD);
  return { first, next, cold };
}

async function timeAlone({ server }: Side, threadId: string): Promise<number> {
  const call = { url: server.url, agentName: "hello", input: INPUT, threadId };
  const { firstTextMs, status } = await timeTurn(call);
  if (status !== "completed") throw new Error(`a turn ended otherwise: ${status}`);
  while (childrenOf(server.pid).length > 0) await delay(POLL_MS);
  return firstTextMs;
}

/** As on a replica that never had the session. */
function removeCopy({ dataDirectory, longId }: Side): void {
  let directory = dirname(transcriptPathOf(dataDirectory, longId));
  while (!directory.endsWith(longId)) directory = dirname(directory);
  rmSync(directory, { recursive: true });
}

function outcomeOf(times: ReadonlyMap<Name, Times>) {
  const rows = (kind: Kind) =>
    [...times].map(([name, { [kind]: values }]) => [name, values] as const);
  return {
    claims: claimsOf(times),
    data: Object.fromEntries(times),
    sections: [
      "A server for each kind of store, each alone with its database, all of them up at once and " +
        "asked one after the other in every round, in an order that rotates: a turn of a new " +
        "session, the next turn of it, and one of a session whose transcript has 1 MiB, after " +
        "its copy was removed from the data directory. Sessions that are files have no copy to " +
        "remove; there the last one is a resume from the disk. S3 is our test server. Timed from " +
        "the sending of the request to the first text, from a model that answers at once.",
      ...KINDS.flatMap((kind) => [
        `## Time to first token ${KIND_LABELS[kind]}`,
        summaryTable(
          "ms",
          rows(kind).map(([name, values]) => [name, summaryOf(values)] as const),
        ),
        boxPlot("ms", rows(kind)),
      ]),
    ],
  };
}

function claimsOf(times: ReadonlyMap<Name, Times>): Claim[] {
  const files = times.get("files");
  if (files === undefined) return [];
  return [...times].flatMap(([name, own]) => {
    if (name === "files") return [];
    return KINDS.map((kind) => {
      const limit = kind === "cold" ? COLD_LIMIT_RATIO : WARM_LIMIT_RATIO;
      const of = (values: readonly number[]) => values.map((value) => [value]);
      const { low, high } = ratioInterval(of(own[kind]), of(files[kind]));
      const spread = `95 %: ${low.toFixed(2)} to ${high.toFixed(2)}`;
      return atMost(
        `${name} / files, time to first token ${KIND_LABELS[kind]}, medians`,
        limit,
        median(own[kind]) / median(files[kind]),
        (ratio) => (ratio === limit ? ratio.toFixed(2) : `${ratio.toFixed(3)} (${spread})`),
      );
    });
  });
}
