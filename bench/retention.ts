/**
 * What sweeps do to 10,000 sessions by each limit of `retention`, how long they take, and what the turns
 * feel that run meanwhile.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { copyToStore, realTranscript } from "./made-sessions.ts";
import { startModel, startServer, scratchDirectory, type RunningModel } from "./processes.ts";
import type { Benchmark, Size } from "./result.ts";
import {
  type RoundName,
  limitsOf,
  type Limit,
  LOAD_TENANT,
  type Swept,
} from "./retention-limits.ts";
import { BUSY_INPUT, KEYS, startLoad, type SweepTimes, watchSweep } from "./retention-load.ts";
import { describeRound, outcomeOf } from "./retention-page.ts";
import {
  countOf,
  isThere,
  leavingsIn,
  type MadeSession,
  makeWorld,
  mountDisk,
  putOnHold,
  TENANTS,
  unmountDisk,
} from "./retention-world.ts";
import { hasStore, startStore } from "./session-stores.ts";

export interface Scale {
  /** There in each round before its sweep, at least. */
  readonly sessions: number;
  /** So many go in a round. */
  readonly cohortSize: number;
  readonly onHold: number;
  /** A server sweeps by itself so long after its start; null: it is asked to, at once. */
  readonly firstSweepMs: number | null;
}

const SCALES: Readonly<Record<Size, Scale>> = {
  full: { sessions: 10_000, cohortSize: 1_000, onHold: 20, firstSweepMs: 60_000 },
  small: { sessions: 200, cohortSize: 50, onHold: 5, firstSweepMs: null },
};
const ROUNDS: readonly RoundName[] = ["time", "number", "bytes", "disk"];

const AGENT = `
name: hello
description: Greets, and in one turn for as long as the sweep lasts.
model: { provider: anthropic }
instructions: Talk.
limits: { turnTime: 30m }
`;

const SCRIPT = {
  defaults: { firstTokenMs: 0, tokensPerSecond: 1_000 },
  rules: [
    { when: { userText: BUSY_INPUT }, tokensPerSecond: 10, reply: [{ tokens: 6_000 }] },
    { reply: [{ text: "Good morning to you, whoever you are." }] },
  ],
};

/** Of one limit in one round. */
export interface Judged extends Pick<Limit, "name" | "setting"> {
  readonly isReached: boolean;
  readonly needless: number;
  readonly deleted: number;
}

export interface RoundResult extends SweepTimes {
  readonly name: RoundName | "redis";
  readonly limits: readonly Judged[];
  readonly seen: number;
  readonly deleted: number;
  readonly freedMib: number;
  /** In a turn or on hold, and gone, or kept from its end. */
  readonly touched: number;
}

interface Place {
  readonly scratch: string;
  readonly model: RunningModel;
  readonly scale: Scale;
  readonly report: (line: string) => void;
  readonly signal: AbortSignal;
}

export const retention: Benchmark = {
  name: "retention",
  summary:
    "sweeps of 10,000 sessions by each limit: whether they keep it, how fast, and what turns feel",
  hasSmall: true,
  async run(report, signal, size) {
    using scratch = scratchDirectory();
    await using model = await startModel(scratch.path, SCRIPT);
    writeFileSync(join(scratch.path, "agent.yaml"), AGENT);
    writeFileSync(join(scratch.path, "plimsoll.yaml"), serverFile());
    const scale = SCALES[size];
    const disk = join(scratch.path, "disk");
    const most = scale.sessions + scale.cohortSize * ROUNDS.length;
    const isMounted = mountDisk(join(scratch.path, "disk.img"), disk, most);
    try {
      const place = { scratch: scratch.path, model, scale, report, signal };
      const rounds = isMounted ? ROUNDS : ROUNDS.filter((name) => name !== "disk");
      return outcomeOf(await runRounds(place, join(disk, "d"), rounds), scale, isMounted);
    } finally {
      if (isMounted) unmountDisk(disk);
    }
  },
};

async function runRounds(
  place: Place,
  dataDirectory: string,
  names: readonly RoundName[],
): Promise<RoundResult[]> {
  const { scratch, scale, report, signal } = place;
  const first = join(scratch, "first");
  const transcript = await realTranscript(await start(place, first, [], "first.log", null), first);
  const { sessions: least, cohortSize, onHold } = scale;
  const count = least + cohortSize * (names.length - 1);
  report(`making ${count} sessions`);
  const made = { dataDirectory, count, cohortSize, transcript, leavings: leavingsIn(first) };
  let sessions: MadeSession[] = await makeWorld({ ...made, nowMs: Date.now() }, signal);
  const rounds: RoundResult[] = [];
  for (const name of names) {
    signal.throwIfAborted();
    const held = dueFirst(sessions, name).slice(0, onHold);
    await putOnHold(dataDirectory, held);
    const round = await runRound(place, name, { dataDirectory, sessions, held, cohortSize });
    // Nothing lets those go in the rounds that follow, either.
    rounds.push(round);
    report(`  ${describeRound(round)}`);
    const isHeld = new Set(held);
    sessions = sessions.filter((each) => !isHeld.has(each) && isThere(dataDirectory, each));
  }
  if (!hasStore("redis")) return rounds;
  rounds.push(await runInRedis(place, dataDirectory));
  report(`  ${describeRound(rounds.at(-1))}`);
  return rounds;
}

interface World {
  readonly dataDirectory: string;
  /** Those that were made, and may go. */
  readonly sessions: readonly MadeSession[];
  /** Of them, those that are on hold. */
  readonly held: readonly MadeSession[];
  readonly cohortSize: number;
}

async function runRound(place: Place, name: RoundName, world: World): Promise<RoundResult> {
  const { firstSweepMs } = place.scale;
  const { dataDirectory, held } = world;
  const limits = limitsOf(name, world);
  const settings = limits.map(({ name: each, setting }) => `retention.${each}=${setting}`);
  const logFile = join(place.scratch, `${name}.log`);
  await using server = await start(place, dataDirectory, settings, `${name}.log`, null);
  const order = { server, dataDirectory, threadId: `busy-${name}`, firstSweepMs };
  await using load = await startLoad(order);
  const sweep = await watchSweep({ ...order, logFile, load });
  const { isBusyTouched, ...times } = await load.end(sweep);
  const isHeld = new Set(held);
  const free = world.sessions.filter((each) => !isHeld.has(each));
  const gone = free.filter((each) => !isThere(dataDirectory, each));
  const { line, freeBytesBefore } = sweep;
  const swept: Swept = { ...world, line, free, gone, freeBytesBefore };
  return {
    name,
    limits: limits.map((limit) => judged(limit, swept)),
    seen: line.seen,
    deleted: line.deleted,
    freedMib: line.bytes / 2 ** 20,
    touched: held.filter((each) => !isThere(dataDirectory, each)).length + Number(isBusyTouched),
    ...times,
  };
}

/** Those that have to go, if they were not on hold. */
function dueFirst(sessions: readonly MadeSession[], name: RoundName): readonly MadeSession[] {
  const cohort = ROUNDS.indexOf(name);
  return sessions.filter((each) => each.cohort === cohort);
}

function judged(limit: Limit, swept: Swept): Judged {
  const { name, setting, reason } = limit;
  return { name, setting, deleted: swept.line.reasons[reason] ?? 0, ...limit.judge(swept) };
}

/** What is left after the other rounds, in a store: by number once more. */
async function runInRedis(place: Place, from: string): Promise<RoundResult> {
  const { scale, scratch, report, signal } = place;
  const { firstSweepMs, cohortSize } = scale;
  await using store = await startStore("redis");
  report("copying the sessions to Redis");
  await copyToStore(from, store, signal);
  const dataDirectory = join(scratch, "copies");
  const least = Math.min(...TENANTS.map((tenant) => countOf(from, tenant)));
  const most = Math.max(1, least - cohortSize / TENANTS.length);
  const settings = [`retention.sessionsPerTenant=${most}`];
  await using server = await start(place, dataDirectory, settings, "redis.log", store.environment);
  const order = { server, dataDirectory, threadId: null, firstSweepMs };
  await using load = await startLoad(order);
  const sweep = await watchSweep({ ...order, logFile: join(scratch, "redis.log"), load });
  const { isBusyTouched, ...times } = await load.end(sweep);
  const { line } = sweep;
  return {
    name: "redis",
    limits: [],
    seen: line.seen,
    deleted: line.deleted,
    freedMib: line.bytes / 2 ** 20,
    touched: Number(isBusyTouched),
    ...times,
  };
}

function start(
  { scratch, model }: Place,
  dataDirectory: string,
  settings: readonly string[],
  log: string,
  environment: Readonly<Record<string, string>> | null,
) {
  const config = log === "first.log" ? [] : ["--config", join(scratch, "plimsoll.yaml")];
  return startServer({
    agentFile: join(scratch, "agent.yaml"),
    dataDirectory,
    environment: { ...model.environment, ...environment },
    args: [...config, ...settings.flatMap((setting) => ["--set", setting])],
    logFile: join(scratch, log),
  });
}

function serverFile(): string {
  const key = (id: string, tenant: string, text: string, more = "") => {
    const sha256 = createHash("sha256").update(text).digest("hex");
    return `    - { id: ${id}, tenant: ${tenant}, sha256: "${sha256}"${more} }\n`;
  };
  const keys = key("l", LOAD_TENANT, KEYS.load, ", role: operator") + key("o", "t0", KEYS.owner);
  return `auth:\n  keys:\n${keys}`;
}
