/**
 * A fleet in simulated time: turns arrive, are balanced, admitted or shed, start, stream and end.
 * No clock, no input or output: the same terms give the same result.
 *
 * The way of a turn, as in the server:
 *
 *     asks ▸ a replica ▸ gate ─ shed ▸ client: gives up, or asks again
 *                          └ admitted ▸ waits for a start slot ▸ starts ▸ first token ▸ ends
 *
 * @module
 */

import type { Arrivals } from "./arrivals.ts";
import { Balancer } from "./balancer.ts";
import { type Client, Clients } from "./client.ts";
import { EVENT } from "./event-kinds.ts";
import { EventQueue } from "./event-queue.ts";
import { Fleet } from "./fleet.ts";
import { Random } from "./random.ts";
import type { Replica, SimulatedShed } from "./replica.ts";
import { pauseMs } from "./retry-policy.ts";
import { type SimulationTerms, TooMuch } from "./simulation-terms.ts";
import { Tally } from "./tally.ts";
import { TracedSessions } from "./traced-sessions.ts";

export interface Simulated {
  readonly tally: Tally;
  readonly events: number;
  readonly failures: number;
  readonly deployEndedAtMs: number;
  /** When the last turn was over. */
  readonly endedAtMs: number;
}

/** Made up for once more where it is so much: less is not worth an event. */
const LEAST_LOST_MS = 10;

/** Streams of chance. */
const STREAM = { arrivals: 0, turns: 1, balancer: 2, clients: 3, fleet: 4, jitter: 5, sessions: 6 };

export function simulate(terms: SimulationTerms): Simulated {
  return new Simulation(terms).run();
}

class Simulation {
  readonly #terms: SimulationTerms;
  readonly #queue = new EventQueue();
  readonly #clients = new Clients();
  readonly #balancer: Balancer;
  readonly #fleet: Fleet;
  readonly #arrivals: Arrivals;
  readonly #tally: Tally;
  readonly #traced = new TracedSessions();
  readonly #turnChance: Random;
  readonly #sessionChance: Random;
  readonly #clientChance: Random;
  #nowMs = 0;
  #events = 0;
  #hasArrivals = true;

  constructor(terms: SimulationTerms) {
    this.#terms = terms;
    const chance = (stream: number) => new Random(terms.seed, stream);
    this.#turnChance = chance(STREAM.turns);
    this.#sessionChance = chance(STREAM.sessions);
    this.#clientChance = chance(STREAM.clients);
    this.#arrivals = terms.arrivals(chance(STREAM.arrivals));
    this.#balancer = new Balancer(terms.balancer.policy, chance(STREAM.balancer));
    this.#tally = new Tally(terms.warmUpMs, terms.durationMs);
    const jitter = chance(STREAM.jitter);
    this.#fleet = new Fleet(terms.fleet, {
      queue: this.#queue,
      balancer: this.#balancer,
      random: chance(STREAM.fleet),
      replicaTerms: terms.replica,
      jitter: () => jitter.next(),
      lose: (client) => this.#lose(client),
    });
  }

  run(): Simulated {
    const { durationMs, limits, points } = this.#terms;
    this.#fleet.begin();
    this.#scheduleArrival();
    this.#queue.schedule(durationMs / points, EVENT.sample, 1);
    while (this.#goesOn) {
      this.#queue.take();
      this.#nowMs = this.#queue.atMs;
      this.#events += 1;
      if (this.#events > limits.events) throw new TooMuch("events", limits.events, this.#nowMs);
      this.#happen();
    }
    const { failures, deployEndedAtMs } = this.#fleet;
    const [tally, events] = [this.#tally, this.#events];
    return { tally, events, failures, deployEndedAtMs, endedAtMs: this.#nowMs };
  }

  /** Autoscaler and failures would go on for ever. */
  get #goesOn(): boolean {
    if (this.#queue.size === 0) return false;
    const isOver = !this.#hasArrivals && this.#clients.active === 0;
    return !isOver || this.#queue.nextAtMs <= this.#terms.durationMs;
  }

  #happen(): void {
    const { kind, subject, ticket } = this.#queue;
    switch (kind) {
      case EVENT.arrival:
        return this.#arrive();
      case EVENT.ask:
      case EVENT.started:
      case EVENT.turnEnded:
      case EVENT.keptLongEnough:
        return this.#happenTo(this.#clients.byNumber(subject), kind, ticket);
      case EVENT.replicaUp:
        return this.#fleet.replicaUp(this.#fleet.byNumber(subject), ticket, this.#nowMs);
      case EVENT.replicaFails:
        return this.#fleet.replicaFails(this.#fleet.byNumber(subject), ticket, this.#nowMs);
      case EVENT.drainEnds:
        return this.#fleet.drainEnds(this.#fleet.byNumber(subject), ticket, this.#nowMs);
      case EVENT.scale:
        return this.#fleet.scale(this.#nowMs);
      case EVENT.deploy:
        return this.#fleet.deploy(subject, this.#nowMs);
      default:
        return this.#sample(subject);
    }
  }

  #happenTo(client: Client, kind: number, ticket: number): void {
    if (kind === EVENT.keptLongEnough) return this.#endKept(client, ticket);
    if (client.ticket !== ticket) return;
    if (kind === EVENT.ask) this.#ask(client);
    else if (kind === EVENT.started) this.#started(client);
    else this.#ended(client);
  }

  #scheduleArrival(): void {
    const atMs = this.#arrivals.next();
    this.#hasArrivals = atMs !== Infinity;
    if (this.#hasArrivals) this.#queue.schedule(atMs, EVENT.arrival, 0);
  }

  #arrive(): void {
    const [arrivals, traced] = [this.#arrivals, this.#traced];
    const client = traced.clientOf(arrivals) ?? this.#beginSession(arrivals);
    const isNow = traced.offer(client, arrivals);
    this.#scheduleArrival();
    if (isNow) this.#ask(client);
  }

  #beginSession(arrivals: Arrivals): Client {
    const { session, turn } = this.#terms;
    const client = this.#clients.take();
    client.turnsLeft = this.#sessionChance.geometric(session.turns);
    client.carriedBytes = turn.transcriptBytes;
    this.#traced.begin(client, arrivals);
    return client;
  }

  /** A turn of a session: what it will be like is known before it is asked for. */
  #begin(client: Client): void {
    const { turn, limits } = this.#terms;
    client.askedAtMs = this.#nowMs;
    client.drawTurn(turn, this.#turnChance);
    this.#tally.turn(this.#nowMs);
    const { turns } = this.#tally.all;
    if (turns > limits.turns) throw new TooMuch("turns", limits.turns, this.#nowMs);
  }

  #ask(client: Client): void {
    if (client.attempts === 0) this.#begin(client);
    client.attempts += 1;
    const { clients, balancer } = this.#terms;
    const listens = clients.policy === "retry-after";
    let toldSeconds: number | null = null;
    let reason: SimulatedShed = "unreachable";
    let replica = this.#balancer.choose(client);
    const tries = Math.min(balancer.tries, this.#balancer.up.length);
    for (let left = tries; left > 0 && replica !== null; left -= 1) {
      const refusal = replica.tryAdmit(client, this.#nowMs);
      if (refusal === null) {
        this.#tally.attempt(this.#nowMs, null);
        return this.#admitted(client, replica);
      }
      reason = refusal;
      // Each replica reckons with whom it told a time, also with those who will not come. Where
      // nobody listens it makes no difference, and takes time.
      if (listens) toldSeconds = replica.retryAfterSeconds(this.#nowMs);
      replica = left > 1 ? this.#balancer.nextAfter(replica) : null;
    }
    this.#tally.attempt(this.#nowMs, reason);
    const refused = {
      attempts: client.attempts,
      sinceFirstMs: this.#nowMs - client.askedAtMs,
      toldSeconds,
    };
    const waitMs = pauseMs(clients, refused, this.#clientChance);
    if (waitMs !== null) {
      client.ticket = this.#queue.schedule(this.#nowMs + waitMs, EVENT.ask, client.number);
      return;
    }
    this.#tally.givenUp(client.askedAtMs);
    this.#goOn(client);
  }

  #admitted(client: Client, replica: Replica): void {
    this.#tally.countInflight(1, this.#nowMs);
    this.#balancer.changed(replica, replica.inflight - 1);
    this.#tally.committed(replica);
    if (client.heldBytes > 0 || this.#terms.turn.startCpuMs === 0) {
      client.startedAtMs = this.#nowMs;
      return this.#stream(client, replica, client.heldBytes > 0);
    }
    if (replica.starts.enter(client)) this.#start(client, replica);
  }

  /** A start has a core to itself, unless there are fewer than want one. */
  #start(client: Client, replica: Replica): void {
    const { turn } = this.#terms;
    const { cpus } = replica.terms;
    const { starting, waiting } = replica.starts;
    const streaming = replica.inflight - starting - waiting;
    const wantedCores = starting + Math.max(0, streaming) * turn.streamCores;
    const startMs = turn.startCpuMs * Math.max(1, wantedCores / cpus);
    client.startedAtMs = this.#nowMs;
    this.#hold(client, replica, Math.min(turn.startPeakBytes, client.peakBytes));
    client.ticket = this.#queue.schedule(this.#nowMs + startMs, EVENT.started, client.number);
  }

  /** Turns that start have a claim to as much as those that answer. */
  #shareCpu(replica: Replica): void {
    replica.cpu.share(replica.inflight, this.#terms.turn.streamCores, this.#nowMs);
  }

  #started(client: Client): void {
    const { replica } = client;
    if (replica === null) return;
    const next = replica.starts.leave(this.#nowMs - client.startedAtMs);
    this.#stream(client, replica, false);
    if (next !== null) this.#start(next, replica);
  }

  #stream(client: Client, replica: Replica, isKept: boolean): void {
    const { turn } = this.#terms;
    const peakBytes = isKept
      ? Math.max(client.peakBytes, client.heldBytes - replica.terms.inflightTurnBytes)
      : client.peakBytes;
    this.#hold(client, replica, peakBytes);
    const sinceStartMs = (ms: number) => this.#nowMs + Math.max(0, ms - turn.startCpuMs);
    this.#shareCpu(replica);
    client.lostMs = replica.cpu.lostMs(this.#nowMs);
    client.firstTokenAtMs = sinceStartMs(client.firstTokenMs);
    const endsAtMs = sinceStartMs(client.turnMs);
    client.ticket = this.#queue.schedule(endsAtMs, EVENT.turnEnded, client.number);
  }

  #hold(client: Client, replica: Replica, bytes: number): void {
    const beforeBytes = replica.usedBytes;
    replica.hold(client, bytes + replica.terms.inflightTurnBytes);
    this.#tally.used(beforeBytes, replica);
  }

  #ended(client: Client): void {
    const { replica } = client;
    if (replica === null) return;
    const lostMs = replica.cpu.lostMs(this.#nowMs) - client.lostMs;
    if (lostMs >= LEAST_LOST_MS) {
      client.lostMs += lostMs;
      const endsAtMs = this.#nowMs + lostMs;
      client.ticket = this.#queue.schedule(endsAtMs, EVENT.turnEnded, client.number);
      return;
    }
    const { lingerMs, transcriptBytesPerTurn } = this.#terms.turn;
    this.#tally.served(client);
    this.#tally.countInflight(-1, this.#nowMs);
    replica.end(client, this.#nowMs, lingerMs > 0);
    this.#shareCpu(replica);
    if (replica.state === "up") this.#balancer.changed(replica, replica.inflight + 1);
    client.carriedBytes += transcriptBytesPerTurn;
    if (client.residentBytes > 0) {
      const endsAtMs = this.#nowMs + lingerMs;
      client.residentTicket = this.#queue.schedule(endsAtMs, EVENT.keptLongEnough, client.number);
    }
    this.#goOn(client);
    this.#fleet.turnEnded(replica, this.#nowMs);
  }

  #lose(client: Client): void {
    this.#tally.countInflight(-1, this.#nowMs);
    this.#tally.lost(client.admittedAtMs);
    this.#goOn(client);
  }

  /** The turn is over, however it ended: the session has another one, or ends. */
  #goOn(client: Client): void {
    client.turnsLeft -= 1;
    client.attempts = 0;
    const traced = this.#traced.turnEnded(client);
    if (traced === "waits") return;
    if (traced === "next") {
      client.ticket = this.#queue.schedule(this.#nowMs, EVENT.ask, client.number);
      return;
    }
    const { durationMs, session } = this.#terms;
    if (client.turnsLeft > 0) {
      const atMs = this.#nowMs + this.#sessionChance.exponential(session.pauseMs);
      if (atMs < durationMs) {
        client.ticket = this.#queue.schedule(atMs, EVENT.ask, client.number);
        return;
      }
    }
    // Nobody tells the replica: a process that is kept for it stays for its time.
    if (client.residentBytes === 0) this.#clients.giveBack(client);
    else client.ticket = client.residentTicket;
  }

  #endKept(client: Client, ticket: number): void {
    if (client.residentTicket === ticket) client.home?.release(client);
    if (client.ticket === ticket) this.#clients.giveBack(client);
  }

  /** @param index From 1. */
  #sample(index: number): void {
    const { durationMs, points, warmUpMs } = this.#terms;
    const tally = this.#tally;
    const { up } = this.#balancer;
    const isMeasured = this.#nowMs > warmUpMs;
    let [sum, most] = [0, 0];
    for (const replica of up) {
      const ratio = replica.usedBytes / replica.loadLineBytes;
      sum += ratio;
      if (ratio > most) most = ratio;
      if (isMeasured) tally.usedRatios.add(ratio);
    }
    const paidMs = this.#fleet.takePaidMs(this.#nowMs);
    if (isMeasured) tally.replicaMs += paidMs;
    tally.point({
      atMs: this.#nowMs,
      replicasUp: up.length,
      replicas: this.#fleet.live,
      inflight: tally.inflight,
      usedRatio: up.length === 0 ? 0 : sum / up.length,
      mostUsedRatio: most,
    });
    if (index === points) return tally.countInflight(0, this.#nowMs);
    const nextAtMs = (durationMs * (index + 1)) / points;
    this.#queue.schedule(nextAtMs, EVENT.sample, index + 1);
  }
}
