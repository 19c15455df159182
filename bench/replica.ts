/**
 * One replica under load: the real server in a memory group of its own, whatever policy it admits
 * by, the turns offered to it, and what the kernel and the callers saw.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import {
  makeMemoryGroup,
  type GroupReading,
  type MemoryGroup,
  type OomKill,
} from "./memory-group.ts";
import {
  startServer,
  type ProcessExit,
  type RunningServer,
  type ServerOptions,
} from "./processes.ts";
import type { ReplicaImage } from "./replica-image.ts";
import { timeTurn } from "./turn-client.ts";

/** Settings by which a replica decides what it takes on. */
export const POLICIES = {
  /** The default: by what memory is in use, and what turns were seen to hold. */
  measured: [],
  /** (limit - 400 MiB) / 500 MiB turns. */
  formula: settings({ "capacity.admission": "static" }),
} as const;

/** No gate worth the name, and nothing that ends what balloons: the machine alone decides. */
export function ungated(turns: number): readonly string[] {
  return settings({
    "capacity.admission": "static",
    "capacity.parentReserve": "64MiB",
    "capacity.turnReserve": "32MiB",
    "capacity.guard": "false",
    "capacity.startWait": "2m",
    "capacity.maxTurns": String(turns),
  });
}

export function settings(values: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(values).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
}

/** What `/capacity` said, as far as it is told here. */
export interface CapacitySample {
  readonly atMs: number;
  readonly committedBytes: number;
  readonly loadLineBytes: number;
  readonly inflight: number;
  readonly lastDecision: { readonly text: string } | null;
}

export interface Replica {
  readonly server: RunningServer;
  readonly group: MemoryGroup;
  readonly capacity: readonly CapacitySample[];
}

/** What is left to read when a replica is gone. */
export interface ReplicaRecord {
  readonly readings: readonly GroupReading[];
  readonly oomKills: readonly OomKill[];
  readonly capacity: readonly CapacitySample[];
  /** How the server ended before it was told to; null if it did not. */
  readonly exit: ProcessExit | null;
}

export interface ReplicaOptions extends Omit<ServerOptions, "within"> {
  readonly limitBytes: number;
  readonly image: ReplicaImage;
  /** Runs a turn first, so that the programs are read from the disk before anything is timed. */
  readonly warmUp?: { readonly agentName: string; readonly input: string };
}

/** Of a server that was killed, the connections break before its end is told. */
const EXIT_SEEN_MS = 250;
const CAPACITY_EVERY_MS = 500;
const CAPACITY_LIMIT_MS = 2_000;

/** Starts a replica on cold pages, lets `use` work with it, and takes it and its group away. */
export async function withReplica<Result>(
  options: ReplicaOptions,
  use: (replica: Replica) => Promise<Result>,
): Promise<Result & ReplicaRecord> {
  const { limitBytes, image, warmUp, ...serverOptions } = options;
  image.forget();
  await using group = makeMemoryGroup(limitBytes);
  await using server = await startServer({ ...serverOptions, within: { group, image } });
  if (warmUp !== undefined) await timeTurn({ url: server.url, ...warmUp });
  const over = new AbortController();
  const capacity: CapacitySample[] = [];
  const watching = watchCapacity(server.url, capacity, over.signal);
  try {
    const result = await use({ server, group, capacity });
    await delay(EXIT_SEEN_MS);
    const { readings, oomKills } = group;
    return { ...result, readings, oomKills, capacity, exit: server.exit() };
  } finally {
    over.abort();
    await watching;
  }
}

async function watchCapacity(
  url: string,
  samples: CapacitySample[],
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const sample = await readCapacity(url);
    if (sample !== null) samples.push(sample);
    await delay(CAPACITY_EVERY_MS, undefined, { signal }).catch(() => {});
  }
}

/** Null when it is not answered in time. */
export async function readCapacity(url: string): Promise<CapacitySample | null> {
  try {
    const limit = AbortSignal.timeout(CAPACITY_LIMIT_MS);
    const response = await fetch(`${url}/capacity`, { signal: limit });
    const view = (await response.json()) as Omit<CapacitySample, "atMs">;
    const { committedBytes, loadLineBytes, inflight, lastDecision } = view;
    return { atMs: performance.now(), committedBytes, loadLineBytes, inflight, lastDecision };
  } catch {
    return null;
  }
}
