/**
 * What 10,000 sessions that nobody talks in cost, wherever they are kept: memory of the server, the
 * time of a list of the newest, and the time to first token of a turn that resumes one of them.
 *
 * @module
 */

import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { RealTranscript } from "../src/sizing/measure/made-sessions.ts";
import { copyToStore, makeSessions, realTranscript } from "./made-sessions.ts";
import { boxPlot, summaryTable, table } from "./page.ts";
import {
  childrenOf,
  EXAMPLE_AGENT,
  memoryOf,
  scratchDirectory,
  startModel,
  startServer,
  type RunningModel,
  type RunningServer,
} from "./processes.ts";
import { atMost, type Benchmark, type Claim } from "./result.ts";
import { startStore, STORE_NAMES, type SessionStore, type StoreName } from "./session-stores.ts";
import { median, ratioInterval, summaryOf } from "./statistics.ts";
import { timeTurn } from "./turn-client.ts";

const FEW = 10;
const MANY = 10_000;
const STARTS = 3;
const LISTS = 20;
/** Turns of each side in each start. */
const TURNS = 8;
const PAGE = 50;
const SETTLE_MS = 2_000;
const POLL_MS = 10;

const MIB = 2 ** 20;
const MEMORY_LIMIT_BYTES = 20 * MIB;
const LIST_LIMIT_MS = 50;
const RESUME_LIMIT_RATIO = 1.1;

const SCRIPT = {
  defaults: { firstTokenMs: 0, tokensPerSecond: 1_000 },
  rules: [{ reply: [{ text: "Good morning to you, whoever you are." }] }],
};

type Kind = StoreName | "files";
const SIDES = ["few", "many"] as const;
type Side = (typeof SIDES)[number];

const MOMENTS = {
  started: "after the start",
  resumed: "after turns",
  listed: "after lists",
} as const;
type Moment = keyof typeof MOMENTS;

/** Of one side, with one start of its server. */
interface Seen {
  /** Private memory after each moment. */
  readonly bytes: Readonly<Record<Moment, number>>;
  readonly firstListMs: number;
  readonly listMs: readonly number[];
  readonly resumeMs: readonly number[];
}

type Starts = Readonly<Record<Side, Seen[]>>;

export const idleSessions: Benchmark = {
  name: "idle-sessions",
  summary: "10,000 idle sessions on files and in each store: memory, lists, and resuming one",
  countFlag: "sessions",
  async run(report, signal, _size, many = MANY) {
    using scratch = scratchDirectory();
    await using model = await startModel(scratch.path, SCRIPT);
    const counts = { few: FEW, many };
    const files = { few: join(scratch.path, "few"), many: join(scratch.path, "many") };
    const first = join(scratch.path, "first");
    const transcript = await realTranscript(await startOn(first, model, null), first);
    for (const side of SIDES) {
      report(`making ${counts[side]} sessions`);
      await makeSessions({ dataDirectory: files[side], count: counts[side], transcript }, signal);
    }
    const found = new Map<Kind, Starts>();
    // The stores first: turns on the files change them.
    for (const kind of [...STORE_NAMES, "files"] as const) {
      found.set(kind, await measure({ kind, files, scratch: scratch.path, model, report, signal }));
    }
    return outcomeOf(found, many, transcript);
  },
};

interface Order {
  readonly kind: Kind;
  /** The data directories with the sessions. */
  readonly files: Readonly<Record<Side, string>>;
  readonly scratch: string;
  readonly model: RunningModel;
  readonly report: (line: string) => void;
  readonly signal: AbortSignal;
}

async function measure(order: Order): Promise<Starts> {
  const { kind, files, scratch, report, signal } = order;
  const starts: Starts = { few: [], many: [] };
  const stores: Partial<Record<Side, SessionStore>> = {};
  try {
    if (kind !== "files") {
      for (const side of SIDES) {
        const store = await startStore(kind);
        stores[side] = store;
        report(`copying the sessions to ${kind}`);
        await copyToStore(files[side], store, signal);
      }
    }
    for (let start = 0; start < STARTS; start += 1) {
      signal.throwIfAborted();
      const directoryOf = (side: Side) =>
        kind === "files" ? files[side] : join(scratch, `${kind}-${side}`);
      await using few = await startOn(directoryOf("few"), order.model, stores.few ?? null);
      await using many = await startOn(directoryOf("many"), order.model, stores.many ?? null);
      const seen = await runStart({ few, many }, start, signal);
      for (const side of SIDES) starts[side].push(seen[side]);
      report(`  ${kind}: ${describe(seen)}`);
    }
  } finally {
    for (const store of Object.values(stores)) await store[Symbol.asyncDispose]();
  }
  return starts;
}

function startOn(
  dataDirectory: string,
  model: RunningModel,
  store: SessionStore | null,
): Promise<RunningServer> {
  return startServer({
    agentFile: EXAMPLE_AGENT,
    dataDirectory,
    environment: { ...model.environment, ...store?.environment },
  });
}

async function runStart(
  servers: Readonly<Record<Side, RunningServer>>,
  start: number,
  signal: AbortSignal,
): Promise<Readonly<Record<Side, Seen>>> {
  const memory = async () => {
    await delay(SETTLE_MS);
    return inBoth((side) => memoryOf(servers[side].pid).privateBytes);
  };
  const started = await memory();
  const resumeMs: Record<Side, number[]> = { few: [], many: [] };
  for (let turn = 0; turn < TURNS; turn += 1) {
    signal.throwIfAborted();
    const order = turn % 2 === 0 ? SIDES : SIDES.toReversed();
    const threadId = `thread-${(start * TURNS + turn) % FEW}`;
    for (const side of order) resumeMs[side].push(await timeResume(servers[side], threadId));
  }
  const resumed = await memory();
  const firstListMs = { few: 0, many: 0 };
  const listMs: Record<Side, number[]> = { few: [], many: [] };
  for (const side of SIDES) firstListMs[side] = await timeList(servers[side]);
  for (let list = 0; list < LISTS; list += 1) {
    for (const side of SIDES) listMs[side].push(await timeList(servers[side]));
  }
  const listed = await memory();
  return inBoth((side) => ({
    bytes: { started: started[side], resumed: resumed[side], listed: listed[side] },
    firstListMs: firstListMs[side],
    listMs: listMs[side],
    resumeMs: resumeMs[side],
  }));
}

function inBoth<Value>(of: (side: Side) => Value): Readonly<Record<Side, Value>> {
  return { few: of("few"), many: of("many") };
}

async function timeList({ url }: RunningServer): Promise<number> {
  const beganAtMs = performance.now();
  const response = await fetch(`${url}/v1/sessions?limit=${PAGE}`);
  const { sessions } = (await response.json()) as { sessions: readonly unknown[] };
  const elapsedMs = performance.now() - beganAtMs;
  if (sessions.length === 0) throw new Error("the list is empty");
  return elapsedMs;
}

async function timeResume(server: RunningServer, threadId: string): Promise<number> {
  const call = { url: server.url, agentName: "hello", input: "Good morning", threadId };
  const { firstTextMs, status } = await timeTurn(call);
  if (status !== "completed") throw new Error(`a turn ended otherwise: ${status}`);
  while (childrenOf(server.pid).length > 0) await delay(POLL_MS);
  return firstTextMs;
}

function describe(seen: Readonly<Record<Side, Seen>>): string {
  return SIDES.map((side) => {
    const { bytes, listMs, resumeMs } = seen[side];
    const [list, resume] = [median(listMs).toFixed(1), median(resumeMs).toFixed(0)];
    return `${side}: ${toMib(bytes.listed)} MiB, list ${list} ms, resume ${resume} ms`;
  }).join("; ");
}

function outcomeOf(found: ReadonlyMap<Kind, Starts>, many: number, { text }: RealTranscript) {
  const rows = (of: (seen: Seen) => readonly number[]) =>
    [...found].flatMap(([kind, starts]) =>
      SIDES.map((side) => {
        const label = `${kind}, ${(side === "few" ? FEW : many).toLocaleString("en")}`;
        return [label, starts[side].flatMap(of)] as const;
      }),
    );
  const summaries = (of: (seen: Seen) => readonly number[]) =>
    rows(of).map(([label, values]) => [label, summaryOf(values)] as const);
  const resumes = rows(({ resumeMs }) => resumeMs);
  return {
    claims: [...found].flatMap(([kind, starts]) => claimsOf(kind, starts, many)),
    data: { few: FEW, many, transcriptBytes: text.length, found: Object.fromEntries(found) },
    sections: [
      `Two servers for each place that sessions can be kept in, one with ${FEW} and one with ` +
        `${many.toLocaleString("en")}, each session with the transcript (${text.length} bytes) of a ` +
        `real turn, asked in turns; started ${STARTS} times. S3 is our test server, in memory. ` +
        "Memory is the private memory of the server's process, left " +
        `alone for ${SETTLE_MS / 1_000} s: after the start, then after ${TURNS} turns, then after ` +
        `${LISTS + 1} lists; a list of ${PAGE} reads ${PAGE} sessions at once, one of ${FEW} fewer.`,
      `## A list of the newest ${PAGE}`,
      summaryTable(
        "ms",
        summaries(({ listMs }) => listMs),
      ),
      "The first after each start:",
      table(
        ["", "ms"],
        rows(({ firstListMs }) => [firstListMs]).map(([label, values]) => [
          label,
          values.map((value) => value.toFixed(1)).join(", "),
        ]),
      ),
      "## Time to first token of a turn that resumes one",
      summaryTable(
        "ms",
        summaries(({ resumeMs }) => resumeMs),
      ),
      boxPlot("ms", resumes),
      "## Private memory of the server's process",
      ...Object.entries(MOMENTS).flatMap(([moment, label]) => [
        `${label}:`,
        summaryTable(
          "MiB",
          summaries(({ bytes }) => [bytes[moment as Moment] / MIB]),
        ),
      ]),
    ],
  };
}

function claimsOf(kind: Kind, starts: Starts, many: number): Claim[] {
  const mib = (bytes: number) => `${toMib(bytes)} MiB`;
  const sessions = many.toLocaleString("en");
  const bytesOf = (side: Side, moment: Moment) =>
    median(starts[side].map(({ bytes }) => bytes[moment]));
  const resume = (side: Side) => starts[side].map(({ resumeMs }) => resumeMs);
  const { low, high } = ratioInterval(resume("many"), resume("few"));
  const ratio = median(resume("many").flat()) / median(resume("few").flat());
  const what = `${kind}: what ${sessions} idle sessions add to the server's private memory`;
  return [
    ...(Object.keys(MOMENTS) as Moment[]).map((moment) => {
      const added = bytesOf("many", moment) - bytesOf("few", moment);
      return atMost(`${what}, ${MOMENTS[moment]}, medians`, MEMORY_LIMIT_BYTES, added, mib);
    }),
    atMost(
      `${kind}: a list of the newest ${PAGE} of ${sessions}, median`,
      LIST_LIMIT_MS,
      median(starts.many.flatMap(({ listMs }) => listMs)),
      (value) => `${value.toFixed(1)} ms`,
    ),
    atMost(
      `${kind}: time to first token of a resume, with ${sessions} sessions / with ${FEW}, medians`,
      RESUME_LIMIT_RATIO,
      ratio,
      (value) =>
        value === ratio
          ? `${value.toFixed(3)} (95 %: ${low.toFixed(2)} to ${high.toFixed(2)})`
          : value.toFixed(2),
    ),
  ];
}

function toMib(bytes: number): string {
  return (bytes / MIB).toFixed(1);
}
