/**
 * What a server costs that has nothing to do: how soon it is ready, the memory of its process, and
 * what 10,000 sessions add that nobody talks in.
 *
 * @module
 */

import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { makeSessions, realTranscript } from "./made-sessions.ts";
import { boxPlot, summaryTable } from "./page.ts";
import {
  EXAMPLE_AGENT,
  memoryOf,
  scratchDirectory,
  startModel,
  startServer,
  type ProcessMemory,
  type RunningServer,
} from "./processes.ts";
import { atMost, type Benchmark, type Claim } from "./result.ts";
import { median, summaryOf } from "./statistics.ts";
import { timeTurn } from "./turn-client.ts";

const SESSIONS = 10_000;
const ROUNDS = 5;
const PAGES = 5;
const SESSIONS_READ = 200;
const SETTLE_MS = 2_000;

const MIB = 2 ** 20;
const IDLE_LIMIT_BYTES = 150 * MIB;
const SESSIONS_LIMIT_BYTES = 20 * MIB;
const READY_LIMIT_MS = 1_500;

const SCRIPT = {
  defaults: { firstTokenMs: 0, tokensPerSecond: 1_000 },
  rules: [{ reply: [{ text: "Good morning to you, whoever you are." }] }],
};

/** When the memory is read; the server has been left alone for a while each time. */
const MOMENTS = ["started", "asked", "used"] as const;
type Moment = (typeof MOMENTS)[number];
const MOMENT_LABELS: Readonly<Record<Moment, string>> = {
  started: "after the start",
  asked: "after reading",
  used: "after a turn",
};

interface Round {
  readonly aliveMs: number;
  readonly readyMs: number;
  readonly memory: Readonly<Record<Moment, ProcessMemory>>;
}

type Store = "few" | "many";
type Rounds = Readonly<Record<Store, readonly Round[]>>;

export const idle: Benchmark = {
  name: "idle",
  summary: "time until ready, memory of an idle server, and what 10,000 sessions add",
  async run(report, signal) {
    using scratch = scratchDirectory();
    await using model = await startModel(scratch.path, SCRIPT);
    const directories = { few: join(scratch.path, "few"), many: join(scratch.path, "many") };
    const startOn = (store: Store) =>
      startServer({
        agentFile: EXAMPLE_AGENT,
        dataDirectory: directories[store],
        environment: model.environment,
      });

    // The first start also warms the disk.
    const transcript = await realTranscript(await startOn("few"), directories.few);
    report(`making ${SESSIONS} sessions with a transcript of ${transcript.text.length} bytes`);
    await makeSessions({ dataDirectory: directories.many, count: SESSIONS, transcript }, signal);

    const rounds: Record<Store, Round[]> = { few: [], many: [] };
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const store of ["few", "many"] as const) {
        signal.throwIfAborted();
        rounds[store].push(await runRound(await startOn(store)));
      }
      const [few, many] = [rounds.few.at(-1), rounds.many.at(-1)];
      const shown = [few, many].map((each) => each && toMib(each.memory.started.residentBytes));
      report(`  ready in ${few?.readyMs.toFixed(0)} ms; resident ${shown.join(" and ")} MiB`);
    }
    return outcomeOf(rounds, transcript.text.length);
  },
};

async function runRound(started: RunningServer): Promise<Round> {
  await using server = started;
  await delay(SETTLE_MS);
  const atStart = memoryOf(server.pid);

  await readSessions(server);
  await delay(SETTLE_MS);
  const asked = memoryOf(server.pid);

  await timeTurn({ url: server.url, agentName: "hello", input: "Good morning" });
  await delay(SETTLE_MS);
  const used = memoryOf(server.pid);
  const { aliveMs, readyMs } = server;
  return { aliveMs, readyMs, memory: { started: atStart, asked, used } };
}

interface Page {
  readonly sessions: readonly { readonly sessionId: string }[];
  readonly nextCursor: string | null;
}

/** The same number of requests however many sessions there are. */
async function readSessions({ url }: RunningServer): Promise<void> {
  const known: string[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < PAGES; page += 1) {
    const query: string = cursor === null ? "" : `&cursor=${cursor}`;
    const answer = (await getJson(`${url}/v1/sessions?limit=50${query}`)) as Page;
    known.push(...answer.sessions.map(({ sessionId }) => sessionId));
    cursor = answer.nextCursor;
  }
  for (let at = 0; at < SESSIONS_READ; at += 1) {
    await getJson(`${url}/v1/sessions/${known[at % known.length]}`);
  }
}

async function getJson(url: string): Promise<unknown> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} was answered with ${response.status}`);
  return response.json();
}

function outcomeOf(rounds: Rounds, transcriptBytes: number) {
  const ready = [...rounds.few, ...rounds.many].map(({ readyMs }) => readyMs);
  const alive = [...rounds.few, ...rounds.many].map(({ aliveMs }) => aliveMs);
  const times = [
    ["first answer", alive],
    ["ready", ready],
  ] as const;
  const memoryRows = MOMENTS.flatMap((moment) =>
    (["few", "many"] as const).map((store) => {
      const label = `${store === "few" ? "few sessions" : "10,000"}, ${MOMENT_LABELS[moment]}`;
      return [label, residentMib(rounds, store, moment)] as const;
    }),
  );
  const privateRows = MOMENTS.map((moment) => {
    const values = rounds.few.map(({ memory }) => memory[moment].privateBytes / MIB);
    return [`private, ${MOMENT_LABELS[moment]}`, values] as const;
  });
  return {
    claims: claimsOf(rounds, ready),
    data: { sessions: SESSIONS, transcriptBytes, rounds },
    sections: [
      `${ROUNDS} rounds, each of two servers one after the other: one whose data directory holds ` +
        `a few sessions and one whose holds ${SESSIONS.toLocaleString("en")}, each with the ` +
        `transcript (${transcriptBytes} bytes) that Claude Code wrote in a real turn. Time counts ` +
        "from the spawn of `plimsoll serve` on the example agent to the first 200 of `/readyz`, " +
        "which includes the start of an agent process to see that one can be started; the disk " +
        "is warm. Memory is that of the server's process, read when it was left alone for " +
        `${SETTLE_MS / 1_000} s: after the start, after reading ${PAGES} pages of sessions and ` +
        `${SESSIONS_READ} sessions with their messages, and after a turn.`,
      "## Time from the spawn",
      summaryTable(
        "ms",
        times.map(([label, values]) => [label, summaryOf(values)] as const),
      ),
      "## Memory of the server's process",
      "Resident, shared pages included:",
      summaryTable(
        "MiB",
        [...memoryRows, ...privateRows].map(
          ([label, values]) => [label, summaryOf(values)] as const,
        ),
      ),
      boxPlot("MiB", memoryRows),
    ],
  };
}

function claimsOf(rounds: Rounds, ready: readonly number[]): Claim[] {
  const mib = (bytes: number) => `${toMib(bytes)} MiB`;
  const ms = (value: number) => `${Math.round(value)} ms`;
  const idleAt = (moment: Moment) =>
    atMost(
      `Resident memory of an idle server, ${MOMENT_LABELS[moment]}, the worst of ${ROUNDS}`,
      IDLE_LIMIT_BYTES,
      Math.max(...residentMib(rounds, "few", moment)) * MIB,
      mib,
    );
  const addedAt = (moment: Moment) => {
    const of = (store: Store) => median(residentMib(rounds, store, moment));
    const claim = `What 10,000 idle sessions add, ${MOMENT_LABELS[moment]}, medians`;
    return atMost(claim, SESSIONS_LIMIT_BYTES, (of("many") - of("few")) * MIB, mib);
  };
  return [
    ...MOMENTS.map(idleAt),
    ...MOMENTS.map(addedAt),
    atMost("Ready after the start, median", READY_LIMIT_MS, median(ready), ms),
    atMost(
      `Ready after the start, the worst of ${ready.length}`,
      READY_LIMIT_MS,
      Math.max(...ready),
      ms,
    ),
  ];
}

function residentMib(rounds: Rounds, store: Store, moment: Moment): number[] {
  return rounds[store].map(({ memory }) => memory[moment].residentBytes / MIB);
}

function toMib(bytes: number): string {
  return (bytes / MIB).toFixed(1);
}
