/**
 * Lets a server delete by itself the sessions that have to go: a while after its start, then
 * again and again, and as soon as the disk is too full.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { Sweep, SweepOptions } from "../session/session-sweeper.ts";
import type { Telemetry } from "../telemetry/start.ts";
import type { Sweeper } from "./open-sessions.ts";

export interface KeepSweptOptions {
  readonly sweeper: Pick<Sweeper, "sweep" | "makeRoom">;
  readonly intervalMs: number;
  readonly telemetry: Pick<Telemetry, "log">;
  /** That this replica may use, possibly a fraction. */
  readonly cpus: () => number;
  /** Whether sessions are in a store that replicas share. */
  readonly hasStore: boolean;
  /** From the start to the first sweep; {@link FIRST_SWEEP_MS} without it. */
  readonly firstMs?: number;
  /** From one look at the disk to the next; {@link DISK_LOOK_MS} without it. */
  readonly diskLookMs?: number;
}

/** A server that has just started has turns to catch up with. */
const FIRST_SWEEP_MS = 60_000;
/** A disk fills up within minutes, and to look at it costs one call. */
const DISK_LOOK_MS = 60_000;
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
 * Never fails: a sweep that could not look is told in the log, and tried again. Between two sweeps
 * one is made as soon as too little of the disk is free, unless the last one for that found nothing to
 * delete.
 */
export function keepSwept(options: KeepSweptOptions): AsyncDisposable {
  const stop = new AbortController();
  const done = sweepOn(options, stop.signal);
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
    await watchDisk(options, signal);
  }
}

/** Until the next sweep is due. */
async function watchDisk(options: KeepSweptOptions, signal: AbortSignal): Promise<void> {
  const { intervalMs, diskLookMs = DISK_LOOK_MS, sweeper } = options;
  const untilMs = monotonicMs() + intervalMs;
  let isOfUse = true;
  while (!signal.aborted) {
    const leftMs = untilMs - monotonicMs();
    await wait(Math.max(0, Math.min(leftMs, diskLookMs)), signal);
    if (leftMs <= diskLookMs) return;
    if (!isOfUse || signal.aborted) continue;
    const swept = await sweepOnce(options, signal, (nowMs, how) => sweeper.makeRoom(nowMs, how));
    isOfUse = swept === null || swept.swept.length > 0;
  }
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
