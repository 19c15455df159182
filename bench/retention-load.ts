/**
 * Turns that run beside a sweep, one of them in a session that would have to go, and the sweep as it is
 * seen from outside of the server.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { sessionIdOf } from "../src/session/session-id.ts";
import type { RunningServer } from "./processes.ts";
import type { SweepLine } from "./retention-limits.ts";
import { deletedSoFar, freeBytesOf, isThere, makeOld } from "./retention-world.ts";
import { askTurn, type TurnAnswer } from "./turn-client.ts";

/** So many turns run all the time. */
const TURNS_AT_ONCE = 2;
const WARM_UP_MS = 10_000;
/** Compared with, as well as what runs before the sweep: what else the machine does comes and goes. */
const AFTERWARDS_MS = 30_000;
/** Before a sweep that is asked for. */
const QUIET_MS = 2_000;
const POLL_MS = 250;
/** What is said in the turn that lasts for as long as the sweep. */
export const BUSY_INPUT = "slowly";
export const KEYS = { load: "load-key-0123456789", owner: "owner-key-012345678" };

export interface LoadOrder {
  readonly server: RunningServer;
  readonly dataDirectory: string;
  /** Of the turn that lasts; null for none. */
  readonly threadId: string | null;
  /** When the server sweeps by itself after its start; null: it is asked to. */
  readonly firstSweepMs: number | null;
}

export interface SweepTimes {
  /** From its begin until the first session goes, and from then to its end. */
  readonly lookMs: number;
  readonly deleteMs: number;
  /** Sessions that turns begin in a second while it goes on. */
  readonly begunPerSecond: number;
  /** From the request of a turn to its end, before and after. */
  readonly quietMs: readonly number[];
  readonly sweptMs: readonly number[];
}

export interface SeenSweep {
  readonly line: SweepLine;
  readonly beganAtMs: number;
  /** When the first session was seen to be gone. */
  readonly deletingAtMs: number;
  readonly endedAtMs: number;
  readonly freeBytesBefore: number;
}

interface EndedTurn {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface Load extends AsyncDisposable {
  readonly startedAtMs: number;
  end(sweep: SeenSweep): Promise<SweepTimes & { readonly isBusyTouched: boolean }>;
}

/** Turns in new sessions, some at once, until they are ended. */
export async function startLoad(order: LoadOrder): Promise<Load> {
  const { url } = order.server;
  const startedAtMs = performance.now();
  const busy = await startBusy(order);
  const over = new AbortController();
  const ended: EndedTurn[] = [];
  const client = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const call = { url, agentName: "hello", input: "Good morning", key: KEYS.load };
      const { outcome, askedAtMs, endedAtMs } = await askTurn(call);
      if (outcome !== "completed") throw new Error(`a turn ended otherwise: ${outcome}`);
      ended.push({ fromMs: askedAtMs, toMs: endedAtMs });
    }
  };
  const clients = Promise.all(Array.from({ length: TURNS_AT_ONCE }, client));
  // Whoever ends them hears of it.
  clients.catch(() => {});
  const stop = async (): Promise<void> => {
    over.abort();
    await clients;
  };
  return {
    startedAtMs,
    async end(sweep) {
      if (order.firstSweepMs !== null) await delay(AFTERWARDS_MS);
      const isBusyTouched = await busy.wasTouched();
      await stop();
      return { ...timesOf(sweep, ended, startedAtMs), isBusyTouched };
    },
    async [Symbol.asyncDispose]() {
      await stop().catch(() => {});
      await busy.wasTouched();
    },
  };
}

/** A turn that streams for as long as it may, in a session that is older than all others. */
async function startBusy({ server: { url }, dataDirectory, threadId }: LoadOrder) {
  if (threadId === null) return { wasTouched: async () => false };
  const leave = new AbortController();
  const sessionId = sessionIdOf({ tenant: "t0", agentName: "hello", threadId });
  const ref = { tenant: "t0", sessionId };
  const call = { url, agentName: "hello", threadId, key: KEYS.owner };
  await askTurn({ ...call, input: "Good morning" });
  const turn = await new Promise<{ readonly ended: Promise<TurnAnswer> }>((resolve) => {
    const onText = () => resolve({ ended });
    const ended = askTurn({ ...call, input: BUSY_INPUT, signal: leave.signal, onText });
    // It may also end before it has said a word.
    void ended.then(onText);
  });
  makeOld(dataDirectory, ref);
  let found: Promise<boolean> | null = null;
  const look = async (): Promise<boolean> => {
    const wasThere = isThere(dataDirectory, ref);
    leave.abort();
    const { outcome } = await turn.ended;
    return !wasThere || !["completed", "left"].includes(outcome);
  };
  return { wasTouched: async () => (found ??= look()) };
}

export interface WatchOrder extends LoadOrder {
  readonly logFile: string;
  readonly load: Pick<Load, "startedAtMs">;
}

/** Waits for the server's first sweep, or asks for it, and to its end. */
export async function watchSweep(order: WatchOrder): Promise<SeenSweep> {
  const { server, dataDirectory, logFile, firstSweepMs, load, threadId } = order;
  const goneBefore = threadId === null ? 0 : deletedSoFar(dataDirectory);
  await delay(
    firstSweepMs === null ? QUIET_MS : load.startedAtMs + firstSweepMs - performance.now(),
  );
  const beganAtMs = performance.now();
  if (firstSweepMs === null) void ask(server.url);
  let deletingAtMs: number | null = null;
  let freeBytesBefore = freeBytesOf(dataDirectory);
  for (;;) {
    // Of copies nobody knows which of them go.
    if (deletingAtMs === null && threadId !== null) {
      if (deletedSoFar(dataDirectory) > goneBefore) deletingAtMs = performance.now();
      else freeBytesBefore = freeBytesOf(dataDirectory);
    }
    const line = sweepIn(logFile);
    if (line !== undefined) {
      const endedAtMs = performance.now();
      return {
        line,
        beganAtMs,
        deletingAtMs: deletingAtMs ?? beganAtMs,
        endedAtMs,
        freeBytesBefore,
      };
    }
    await delay(firstSweepMs === null ? POLL_MS / 25 : POLL_MS);
  }
}

async function ask(url: string): Promise<void> {
  const headers = { authorization: `Bearer ${KEYS.load}` };
  const answer = await fetch(`${url}/v1/sessions/sweep`, { method: "POST", headers });
  await answer.arrayBuffer();
}

function sweepIn(logFile: string): SweepLine | undefined {
  const lines = readFileSync(logFile, "utf8").split("\n");
  const line = lines.find((each) => each.includes('"msg":"Sessions had to go"'));
  return line === undefined ? undefined : (JSON.parse(line) as SweepLine);
}

function timesOf(
  { beganAtMs, deletingAtMs, endedAtMs }: SeenSweep,
  ended: readonly EndedTurn[],
  startedAtMs: number,
): SweepTimes {
  const within = (fromMs: number, toMs: number) =>
    ended.filter((each) => each.fromMs >= fromMs && each.toMs <= toMs);
  const lengths = (some: readonly EndedTurn[]) => some.map(({ fromMs, toMs }) => toMs - fromMs);
  const swept = within(beganAtMs, endedAtMs);
  return {
    lookMs: deletingAtMs - beganAtMs,
    deleteMs: endedAtMs - deletingAtMs,
    begunPerSecond: (1_000 * swept.length) / (endedAtMs - beganAtMs),
    quietMs: [
      ...lengths(within(startedAtMs + WARM_UP_MS, beganAtMs)),
      ...lengths(within(endedAtMs, Infinity)),
    ],
    sweptMs: lengths(swept),
  };
}
