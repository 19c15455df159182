/**
 * The engine with HTTP in front: from listening until nothing of the server is left.
 *
 * @module
 */

import { lookup } from "node:dns/promises";
import { hostname } from "node:os";
import type { FastifyInstance } from "fastify";
import type { TurnGate } from "../capacity/gate.ts";
import type { MemoryLimit } from "../capacity/memory-limit.ts";
import type { Config } from "../config/config.ts";
import type { Forwarder } from "../http/forwarder.ts";
import { OpenExports } from "../http/open-exports.ts";
import type { ServerParts } from "../http/server-parts.ts";
import { aborted } from "../lib/aborted.ts";
import { errnoOf } from "../lib/errno.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import { AppError } from "../lib/errors.ts";
import { checkReadiness, watchStarts } from "./check-readiness.ts";
import { NOTHING_SWEPT } from "../session/session-sweeper.ts";
import { TranscriptReads } from "../session/transcript-reads.ts";
import type { Logger } from "../telemetry/log.ts";
import { replicaTagOf } from "../turn/turn-id.ts";
import { withEngine, type Engine, type EngineOptions } from "./engine.ts";
import { Feed, type FeedOptions } from "./feed.ts";
import { IdleSessions } from "./idle-sessions.ts";
import { type ConsoleParts, openConsole } from "./open-console.ts";
import { ASKED_LOAD_RATIO, keepSwept } from "./keep-swept.ts";
import { ReadinessState } from "./readiness-state.ts";

export interface ServeOptions extends EngineOptions {
  readonly version: string;
  /** Where the console was built; the place of this package without it. */
  readonly pageDirectory?: URL;
}

export interface ServeSignals {
  /** Drains the server: running turns may end within `drain.grace`. */
  readonly stop: AbortSignal;
  /** Ends the grace early. */
  readonly hurry: AbortSignal;
}

/** A server that listens. It takes turns once `ready` has resolved with null. */
export interface ListeningServer {
  /** Base address, e.g. `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly memoryLimit: MemoryLimit;
  readonly gate: TurnGate;
  /** What keeps one turn from taking the memory of all, in a sentence. */
  readonly containment: string;
  /** Resolves with null when turns are taken, or with what is in the way. */
  readonly ready: Promise<string | null>;
  /** The last resort before the process exits: kills every agent process and does not wait. */
  readonly killNow: () => void;
  readonly log: Logger;
}

/**
 * Serves until `stop` aborts, or the one session it serves is over; then drains. Resolves when nothing of the server is left.
 *
 * @throws {AppError} `cannot_listen`, and what {@link withEngine} throws.
 */
export async function serve(
  options: ServeOptions,
  signals: ServeSignals,
  onListening: (server: ListeningServer) => void,
): Promise<void> {
  const bound = { ...options, mayBind: true };
  await withEngine(bound, (engine) => serveEngine(engine, options, signals, onListening));
}

async function serveEngine(
  engine: Engine,
  { config, version, pageDirectory }: ServeOptions,
  signals: ServeSignals,
  onListening: (server: ListeningServer) => void,
): Promise<void> {
  const { agents, data, processes, single, telemetry } = engine;
  const { gate, footprints } = engine.capacity;
  const memoryLimit = engine.capacity.memoryLimit.current;
  const readiness = new ReadinessState();
  using idle = idleSessions(engine, config);
  const replica = config.console.replicaName ?? hostname();
  using feed = openFeed(engine, { replica, version, readiness, sessions: idle });
  const { log } = telemetry;
  await using front = await openConsole({
    config,
    data,
    log,
    ...(pageDirectory && { pageDirectory }),
  });
  const forwarder = await openForwarder(engine, config);
  const parts = serverParts(engine, { ...front, config, version, readiness, feed, forwarder });
  // Begun before the rest of the program is loaded: the process starts on another core meanwhile.
  const failed = new AbortController();
  const ended = single === null ? signals.stop : AbortSignal.any([signals.stop, single.over]);
  const stop = AbortSignal.any([ended, failed.signal]);
  const onPeak = (bytes: number) => footprints.calibrate(bytes);
  const deps = { config, data, agents, processes, readiness, log, onPeak };
  const ready = checkReadiness(deps, stop);
  watchStarts(engine.starts, deps, stop);
  // A slow start takes nothing from the time that the first turn has to come.
  void ready.then(() => single?.awaitTurn());
  const { buildApp } = await import("../http/app.ts");
  await using app = buildApp(parts);
  const url = await listen(app, config.listen).catch((error: unknown) => {
    failed.abort();
    throw error;
  });
  const { bytes: memoryLimitBytes, source: memoryLimitSource } = memoryLimit;
  const facts = { url, agents: [...agents.keys()], memoryLimitBytes, memoryLimitSource };
  // By which the others name it in their logs.
  log.info({ ...facts, ...(forwarder && { replicaTag: forwarder.tag }) }, "Listening");
  await using _announced = await announce(engine, forwarder, config.sessions.replicaAddress);
  const containment = engine.containment.text;
  const killNow = () => processes.killAllNow();
  await using _swept = single === null ? keepSessionsSwept(engine, config) : null;
  onListening({ url, memoryLimit, gate, containment, ready, killNow, log });

  await aborted(ended);
  const over = single?.over.reason as unknown;
  if (over !== undefined) log.info({ reason: over }, "The session of this replica is over");
  readiness.become("draining", "the server is shutting down");
  const exported = parts.exports.drain(config.drain.graceMs, signals.hurry);
  // Its readers may be all that a turn elsewhere has: it would be cancelled without them.
  const passedOn = forwarder?.drain(config.drain.graceMs, signals.hurry);
  await drain(engine, config.drain.graceMs, signals.hurry);
  await Promise.all([exported, passedOn]);
  // Only now, since whoever watches is to see the last turn end.
  feed[Symbol.dispose]();
  parts.relays[Symbol.dispose]();
  forwarder?.[Symbol.dispose]();
  await ready;
  log.info("Stopped");
}

function keepSessionsSwept(
  { sweeper, telemetry, capacity }: Engine,
  { retention, sessions }: Config,
): AsyncDisposable {
  return keepSwept({
    sweeper,
    intervalMs: retention.sweepIntervalMs,
    telemetry,
    cpus: () => capacity.cpu.limit.cpus,
    hasStore: sessions.store !== null,
  });
}

/** Null where the other replicas do not know of this one, nor it of them. */
async function openForwarder(
  { data, others, telemetry }: Engine,
  config: Config,
): Promise<Forwarder | null> {
  if (others === null || config.sessions.replicaAddress === null) return null;
  const { Forwarder } = await import("../http/forwarder.ts");
  return new Forwarder({
    ...others,
    tag: replicaTagOf(data.serverId),
    hasKeys: config.auth.keys.length > 0,
    heartbeatMs: config.http.heartbeatMs,
    telemetry,
  });
}

/** Until the last turn has ended: others may ask for it while this replica drains. */
async function announce(
  { others }: Engine,
  forwarder: Forwarder | null,
  address: string | null,
): Promise<AsyncDisposable | null> {
  if (others === null || forwarder === null || address === null) return null;
  return others.addresses.announce(forwarder.tag, address);
}

function idleSessions(
  { kept, locks, sessions, telemetry: { log } }: Engine,
  config: Config,
): IdleSessions {
  const isShared = config.sessions.store !== null;
  const inUse = () => locks.size + kept.residents.all.length;
  return new IdleSessions({ sessions, isShared, inUse, log });
}

function openFeed(
  { book, capacity: { gate }, report }: Engine,
  given: Pick<FeedOptions, "replica" | "version" | "readiness" | "sessions">,
): Feed {
  return new Feed({
    ...given,
    book,
    snapshot: () => gate.snapshot(monotonicMs()),
    capacity: () => report.view(),
  });
}

/** What the HTTP side works with. */
function serverParts(
  engine: Engine,
  given: Pick<
    ServerParts,
    "config" | "version" | "readiness" | "feed" | "forwarder" | keyof ConsoleParts
  >,
): ServerParts {
  const { agents, capacity, locks, report, sessions, single, sweeper, telemetry, turns, warm } =
    engine;
  return {
    ...given,
    agents,
    turns,
    gate: capacity.gate,
    sessions,
    locks,
    reads: new TranscriptReads(given.config.sessions),
    exports: new OpenExports(),
    warm,
    telemetry,
    capacity: () => report.view(),
    isBound: () => single?.isTaken === true,
    async sweep(isDryRun) {
      // Of a replica with one session the dispatcher decides what stays.
      if (single !== null) return NOTHING_SWEPT;
      return sweeper.sweep(Date.now(), { isDryRun, loadRatio: ASKED_LOAD_RATIO });
    },
  };
}

/** Takes no more turns, and lets those that run end within the grace. */
async function drain(engine: Engine, graceMs: number, hurry: AbortSignal): Promise<void> {
  const { capacity, kept, sweeper, telemetry, turns } = engine;
  capacity.gate.drain();
  const sweepEnded = sweeper[Symbol.asyncDispose]();
  telemetry.log.info({ turns: turns.size }, "Draining");
  const keptEnded = kept.close();
  await turns.drain(graceMs, hurry);
  await keptEnded;
  await sweepEnded;
}

async function listen(app: FastifyInstance, { host, port }: Config["listen"]): Promise<string> {
  try {
    // Given the name `localhost`, Fastify opens a server more for each of its other addresses, with
    // none of our limits and handlers.
    const { address } = await lookup(host);
    return await app.listen({ host: address, port });
  } catch (cause) {
    const reason = errnoOf(cause) ?? "unknown";
    throw new AppError("cannot_listen", `Cannot listen on ${host}:${port}: ${reason}`, { cause });
  }
}
