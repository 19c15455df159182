/**
 * Conversations that wander between three replicas behind a load balancer, on each store there is,
 * while replicas are killed and drained, the store is killed and clients lose their streams: whether
 * every turn that a client knows to be done is kept, once and in its place, and the model is told all
 * of it.
 *
 * @module
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { loadRehearsalScript } from "../src/rehearsal/load-script.ts";
import { startRehearsal } from "../src/rehearsal/server.ts";
import {
  ANSWER_END,
  converse,
  type ConversationLog,
  readSession,
  sessionUrlOf,
} from "./conversation.ts";
import {
  type Ask,
  type Exchange,
  faultsOf,
  modelFaultsOf,
  type ModelRequest,
  modelRequestOf,
} from "./conversation-check.ts";
import { MODEL_KEY, scratchDirectory } from "./processes.ts";
import { settings } from "./replica.ts";
import { startReplicaSet, type ReplicaSet } from "./replica-set.ts";
import { outcomeOf, type StoreRun, summaryOfRun } from "./replicas-page.ts";
import type { Benchmark, Size } from "./result.ts";
import { hasStore, startStore, STORE_NAMES, type StoreName } from "./session-stores.ts";
import { randomFrom } from "./statistics.ts";
import { tally } from "./turn-load.ts";

const REPLICAS = 3;
const AT_ONCE = 6;
const DROP_RATIO = 0.1;
/** A client loses its stream after so long at most: about as long as a turn takes. */
const DROP_WITHIN_MS = 2_000;
const LEASE_TIME = "5s";
const STORE_AWAY_MS = 3_000;
const TURNS_FOR_A_KILL = 30;
const FAULT_POLL_MS = 50;
const SETTLE_LIMIT_MS = 60_000;
const AGENT_NAME = "talker";
const AGENT = `
name: ${AGENT_NAME}
model: { provider: anthropic }
instructions: Talk.
`;

const SCRIPT = {
  defaults: { firstTokenMs: 5, tokensPerSecond: 40 },
  rules: [{ reply: [{ text: `Turn {{turnCount}}. You said: {{userText}} ${ANSWER_END}` }] }],
};

const SETTINGS = {
  "capacity.memoryLimit": "4GiB",
  "sessions.leaseTime": LEASE_TIME,
  "sessions.storeTime": "2s",
};

export interface Plan {
  readonly conversations: number;
  readonly turns: number;
  readonly stores: readonly StoreName[];
}

const PLANS: Readonly<Record<Size, Omit<Plan, "stores">>> = {
  full: { conversations: 500, turns: 6 },
  small: { conversations: 12, turns: 3 },
};

export const replicas: Benchmark = {
  name: "replicas",
  summary: "conversations between three replicas that are killed, on each store: what is lost",
  hasSmall: true,
  countFlag: "conversations",
  async run(report, signal, size, count) {
    const { turns, conversations } = PLANS[size];
    const small: StoreName = hasStore("redis") ? "redis" : "s3";
    const stores = size === "small" ? [small] : STORE_NAMES;
    const plan = { turns, conversations: count ?? conversations, stores };
    const runs: StoreRun[] = [];
    for (const name of plan.stores) {
      report(`${name}: ${plan.conversations} conversations of ${turns} turns`);
      const run = await runOn(name, plan, report, signal);
      report(summaryOfRun(run));
      runs.push(run);
    }
    return outcomeOf(runs, { ...plan, promised: PLANS[size].conversations, leaseTime: LEASE_TIME });
  },
};

async function runOn(
  name: StoreName,
  plan: Plan,
  report: (line: string) => void,
  signal: AbortSignal,
): Promise<StoreRun> {
  using scratch = scratchDirectory();
  await using store = await startStore(name);
  const requests: ModelRequest[] = [];
  const others: number[] = [];
  await using model = await startRecordingModel(scratch.path, requests, others);
  const agentFile = join(scratch.path, "agent.yaml");
  writeFileSync(agentFile, AGENT);
  const directory = join(scratch.path, "replicas");
  mkdirSync(directory);
  await using set = await startReplicaSet({
    directory,
    count: REPLICAS,
    agentFile,
    environment: { ...store.environment, ANTHROPIC_BASE_URL: model.url, ...MODEL_KEY },
    args: settings(SETTINGS),
  });
  const logs = Array.from({ length: plan.conversations }, newLog);
  const over = new AbortController();
  const failed = new AbortController();
  const until = AbortSignal.any([over.signal, signal]);
  const beganAtMs = performance.now();
  const faults = doFaults({ set, store, plan, report, logs }, until);
  // Nobody waits for it yet; a run without faults would say nothing.
  faults.catch((error: unknown) => failed.abort(error));
  try {
    await converseAll(set, plan, logs, AbortSignal.any([failed.signal, signal]));
  } finally {
    over.abort();
  }
  const done = await faults;
  const wallMs = performance.now() - beganAtMs;
  await settled(set);
  const asks = logs.flatMap((log) => log.asks);
  const finals = await readAll(set, plan);
  return {
    store: name,
    wallMs,
    ...done,
    ...countsOf(logs),
    ...transcriptFaults(logs, finals),
    ...modelFaultsOf(asks, requests),
    requests: requests.length,
    otherRequests: others.length,
    messages: set.count(MESSAGES),
  };
}

/** What replicas say in their logs, by a short name. */
const MESSAGES = {
  kept: "A turn has ended that the session store has not heard of: it is kept here",
  delivered: "The session store has heard of a turn that was kept here",
  superseded: "A turn is not in its session: another replica went on without it. It is set aside",
  unavailable: "A turn cannot be brought to the session store now: it goes on",
  repaired: "Repaired a transcript that was cut off",
} as const;

async function startRecordingModel(directory: string, requests: ModelRequest[], others: number[]) {
  const file = join(directory, "rehearsal.yaml");
  writeFileSync(file, JSON.stringify(SCRIPT));
  return startRehearsal({
    script: await loadRehearsalScript(file, {}),
    onRequest: ({ messages }) => {
      const request = modelRequestOf(messages);
      if (request === null) others.push(messages.length);
      else requests.push(request);
    },
  });
}

function newLog(): ConversationLog {
  return { asks: [], ends: [], dropped: 0, takeovers: 0, moves: 0, trouble: null };
}

async function converseAll(
  set: ReplicaSet,
  { conversations, turns }: Plan,
  logs: readonly ConversationLog[],
  signal: AbortSignal,
): Promise<void> {
  const random = randomFrom(7);
  let asked = 0;
  let begun = 0;
  const world = {
    url: set.url,
    agentName: AGENT_NAME,
    signal,
    nextNumber: () => (asked += 1),
    dropAfterMs: () => (random() < DROP_RATIO ? Math.ceil(random() * DROP_WITHIN_MS) : null),
    indexOf: (address: string) => set.indexOf(address),
  };
  const client = async (): Promise<void> => {
    while (begun < conversations) {
      const conversation = begun;
      begun += 1;
      const log = logs[conversation];
      if (log !== undefined) await converse(world, conversation, turns, log);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, client));
}

interface FaultWorld {
  readonly set: ReplicaSet;
  readonly store: Awaited<ReturnType<typeof startStore>>;
  readonly plan: Plan;
  readonly report: (line: string) => void;
  readonly logs: readonly ConversationLog[];
}

type Fault = "kills" | "drains" | "restarts the store";

/**
 * Kills or drains one replica after the other, in turns, as turns get done; and in the middle of it
 * all the store.
 */
async function doFaults({ set, store, plan, report, logs }: FaultWorld, signal: AbortSignal) {
  const turns = plan.conversations * plan.turns;
  const rounds = Math.max(1, Math.round(turns / (TURNS_FOR_A_KILL * REPLICAS)));
  const faults = Array.from({ length: rounds * REPLICAS }, (_, at): [Fault, number] => [
    at % 2 === 0 ? "kills" : "drains",
    at % REPLICAS,
  ]);
  faults.splice(Math.floor(faults.length / 2), 0, ["restarts the store", 0]);
  const done: Record<Fault, number> = { kills: 0, drains: 0, "restarts the store": 0 };
  for (const [at, [fault, index]] of faults.entries()) {
    const dueAtTurns = ((at + 1) / (faults.length + 1)) * turns;
    while (doneIn(logs) < dueAtTurns && !signal.aborted) await delay(FAULT_POLL_MS);
    if (signal.aborted) break;
    const what = fault === "restarts the store" ? fault : `${fault} replica ${index}`;
    report(`  ${doneIn(logs)} turns; ${what}`);
    if (fault === "kills") await set.kill(index);
    else if (fault === "drains") await set.drain(index);
    else await store.restart(STORE_AWAY_MS);
    done[fault] += 1;
  }
  return { kills: done.kills, drains: done.drains, storeRestarts: done["restarts the store"] };
}

function doneIn(logs: readonly ConversationLog[]): number {
  const isDone = ({ fate }: Ask) => fate !== "unknown";
  return logs.reduce((sum, { asks }) => sum + asks.filter(isDone).length, 0);
}

/** The store has heard of all turns. */
async function settled(set: ReplicaSet): Promise<void> {
  const endAtMs = performance.now() + SETTLE_LIMIT_MS;
  while (set.waiting() > 0 && performance.now() < endAtMs) await delay(FAULT_POLL_MS);
}

type Final = { readonly isWhole: boolean; readonly exchanges: readonly Exchange[] } | null;

/** Null for a session that is gone, or that nobody lets go. */
async function readAll(set: ReplicaSet, { conversations }: Plan): Promise<Final[]> {
  const finals: Final[] = [];
  const endAtMs = performance.now() + SETTLE_LIMIT_MS;
  for (let conversation = 0; conversation < conversations; conversation += 1) {
    const url = sessionUrlOf(set.url, AGENT_NAME, conversation);
    let seen = await readSession(url);
    const isPassing = () => seen === "unavailable" || (seen !== "none" && seen.isBusy);
    while (isPassing() && performance.now() < endAtMs) {
      await delay(FAULT_POLL_MS);
      seen = await readSession(url);
    }
    finals.push(typeof seen === "string" ? null : seen);
  }
  return finals;
}

function countsOf(logs: readonly ConversationLog[]) {
  const asks = logs.flatMap((log) => log.asks);
  const sum = (of: (log: ConversationLog) => number) =>
    logs.reduce((total, log) => total + of(log), 0);
  return {
    asked: asks.length,
    acknowledged: asks.filter(({ fate }) => fate === "acknowledged").length,
    found: asks.filter(({ fate }) => fate === "found").length,
    dropped: sum((log) => log.dropped),
    takeovers: sum((log) => log.takeovers),
    moves: sum((log) => log.moves),
    ends: tally(logs.flatMap((log) => log.ends)),
    stuck: tally(logs.flatMap(({ trouble }) => (trouble === null ? [] : [trouble]))),
  };
}

function transcriptFaults(logs: readonly ConversationLog[], finals: readonly Final[]) {
  const faults = logs.map(({ asks }, conversation) => {
    const final = finals[conversation] ?? null;
    return { final, asks, ...faultsOf(asks, final?.exchanges ?? []) };
  });
  return {
    // What their clients saw, to look into it.
    faulty: faults
      .filter(({ final, lost, doubled }) => final?.isWhole !== true || lost.length + doubled.length)
      .map(({ asks, final }) => ({ asks, final })),
    sessionsLost: faults.filter(({ final }) => final === null).length,
    sessionsTorn: faults.filter(({ final }) => final?.isWhole === false).length,
    lost: faults.flatMap(({ lost }) => lost),
    doubled: faults.flatMap(({ doubled }) => doubled),
    outOfOrder: faults.flatMap(({ outOfOrder }) => outOfOrder),
    altered: faults.flatMap(({ altered }) => altered),
    foreign: faults.flatMap(({ foreign }) => foreign),
  };
}
