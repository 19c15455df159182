/**
 * Lets a server delete by itself the sessions that have to go: a while after its start, then
 * again and again, and as soon as the disk is too full. The disk is watched beside the sweeps: one of a
 * store may take hours, of which this disk has nothing.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import type { Sweep, SweepOptions } from "../session/session-sweeper.ts";
import type { Telemetry } from "../telemetry/start.ts";
import type { Sweeper } from "./open-sessions.ts";

export interface KeepSweptOptions {
  readonly sweeper: Pick<Sweeper, "sweep" | "makeRoom">;
  readonly intervalMs: number;
  readonly telemetry: Pick<Telemetry, "log">;
  /** CPUs that this replica may use, possibly a fraction. */
  readonly cpus: () => number;
  /** Whether sessions are in a store that replicas share. */
  readonly hasStore: boolean;
  /** From the start to the first sweep; {@link FIRST_SWEEP_MS} without it. */
  readonly firstMs?: number;
  /** From one look at the disk to the next; {@link DISK_LOOK_MS} without it. */
  readonly diskLookMs?: number;
  /** The longest that this becomes where nothing can go; {@link LONGEST_DISK_LOOK_MS} without it. */
  readonly longestDiskLookMs?: number;
}

/** A server that has just started has turns to catch up with. */
const FIRST_SWEEP_MS = 60_000;
/** A disk fills up within minutes, and to look at it costs one call. */
const DISK_LOOK_MS = 60_000;
/** Where nothing could go for it, each try looks at all sessions in vain; but turns end, and holds. */
const LONGEST_DISK_LOOK_MS = 900_000;
/** Nobody waits for it, and turns are not to feel it: of all CPU that there is. */
const UNASKED_CPU_RATIO = 0.03;
/** What a sweep takes of the CPU where a store takes some, too, which may be on the same cores. */
const UNASKED_STORE_CPU_RATIO = 0.02;
/** However many cores there are, all of them hear of their work from one. */
const MOST_UNASKED_LOAD_RATIO = 0.2;
/**
 * What a sweep takes of one core that was asked for. Somebody waits, and was told that turns feel it.
 */
export const ASKED_LOAD_RATIO = 0.5;

/** What a sweep takes of one core that nobody has asked for. */
export function unaskedLoadRatio(cpus: number, hasStore: boolean): number {
  const ratio = hasStore ? UNASKED_STORE_CPU_RATIO : UNASKED_CPU_RATIO;
  return Math.min(cpus * ratio, MOST_UNASKED_LOAD_RATIO);
}

/**
 * Sweeps until it is disposed, which waits for no more than the sessions that are just being deleted.
 * Never fails: a sweep that could not look is told in the log, and tried again. Beside these sweeps
 * one is made as soon as too little of the disk is free; the less often, the longer there is nothing
 * to delete for that.
 */
export function keepSwept(options: KeepSweptOptions): AsyncDisposable {
  const stop = new AbortController();
  const done = Promise.all([sweepOn(options, stop.signal), watchDisk(options, stop.signal)]);
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await done;
    },
  };
}

async function sweepOn(options: KeepSweptOptions, signal: AbortSignal): Promise<void> {
  const { intervalMs, firstMs = FIRST_SWEEP_MS, sweeper } = options;
  await wait(Math.min(firstMs, intervalMs), signal);
  while (!signal.aborted) {
    await sweepOnce(options, signal, (nowMs, how) => sweeper.sweep(nowMs, how));
    await wait(intervalMs, signal);
  }
}

async function watchDisk(options: KeepSweptOptions, signal: AbortSignal): Promise<void> {
  const { diskLookMs = DISK_LOOK_MS, longestDiskLookMs = LONGEST_DISK_LOOK_MS, sweeper } = options;
  let pauseMs = diskLookMs;
  for (;;) {
    await wait(pauseMs, signal);
    if (signal.aborted) return;
    const swept = await sweepOnce(options, signal, (nowMs, how) => sweeper.makeRoom(nowMs, how));
    pauseMs = isOfUse(swept) ? diskLookMs : Math.min(2 * pauseMs, longestDiskLookMs);
  }
}

/** Whether another one soon can make more room, or finds that there is enough. */
function isOfUse(swept: Sweep | null): boolean {
  // What was used meanwhile may go the next time.
  return swept === null || swept.swept.length > 0 || swept.skipped > 0;
}

/** @returns What it did; null where it did nothing. */
async function sweepOnce(
  { telemetry: { log }, cpus, hasStore }: KeepSweptOptions,
  signal: AbortSignal,
  sweep: (nowMs: number, how: SweepOptions) => Promise<Sweep | null>,
): Promise<Sweep | null> {
  try {
    return await sweep(Date.now(), { loadRatio: unaskedLoadRatio(cpus(), hasStore), signal });
  } catch (err) {
    log.error({ err }, "Cannot look for sessions that have to go");
    return null;
  }
}

async function wait(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal, ref: false }).catch(() => undefined);
}
