/**
 * Who asks for turns: one session, with at most one turn at a time. Objects of this class are used
 * again and again, since a fleet has millions of turns.
 *
 * @module
 */

import type { Random } from "./random.ts";
import type { Replica } from "./replica.ts";
import type { TurnTerms } from "./simulation-terms.ts";

export class Client {
  readonly number: number;
  /** The ticket of the event it waits for; any other event that names it is of the past. */
  ticket = -1;
  /** The session of a trace that names it; -1 without. */
  session = -1;
  /** Turns that a trace has of it while one is not over. */
  readonly later: { readonly durationMs: number; readonly transcriptBytes: number }[] = [];
  /** Turns of its session that are still to come, this one included. */
  turnsLeft = 1;
  /** Bytes of its transcript. */
  carriedBytes = 0;
  /** Where its last turn ran. */
  home: Replica | null = null;

  /** When its turn was first asked for. */
  askedAtMs = 0;
  /** Attempts of its turn; 0 before it was asked for. */
  attempts = 0;

  /** How long a trace says that the turn takes; NaN where none does. */
  tracedMs = Number.NaN;
  /** What the turn would take with a machine to itself, its start included. */
  turnMs = 0;
  firstTokenMs = 0;
  /** The most that it holds. */
  peakBytes = 0;

  /** Where it is in flight. */
  replica: Replica | null = null;
  /** Its place among the turns of that replica. */
  place = -1;
  admittedAtMs = 0;
  startedAtMs = 0;
  firstTokenAtMs = 0;
  /** How much of {@link CpuShare.lostMs} it has made up for. */
  lostMs = 0;
  predictedBytes = 0;
  /** What its processes hold now. */
  heldBytes = 0;

  /** Held by the process that is kept for its next turn; 0 if there is none. */
  residentBytes = 0;
  /** The ticket of the event that ends what is kept of it. */
  residentTicket = -1;
  /** The clients kept just before and after it, on the same replica. */
  before: Client | null = null;
  after: Client | null = null;

  constructor(number: number) {
    this.number = number;
  }

  /** What its next turn will be like is known before it is asked for. */
  drawTurn(turn: TurnTerms, chance: Random): void {
    // Drawn even where a trace has it, so that the other draws stay the same.
    const drawnMs = turn.durationMs(chance);
    this.turnMs = Number.isNaN(this.tracedMs) ? drawnMs : this.tracedMs;
    this.tracedMs = Number.NaN;
    this.firstTokenMs = Math.min(this.turnMs, turn.firstTokenMs(chance));
    this.peakBytes = Math.round(
      turn.peakBytes(chance) + turn.bytesPerCarriedByte * this.carriedBytes,
    );
  }
}

/** All clients, those that are gone for reuse. */
export class Clients {
  readonly #all: Client[] = [];
  readonly #free: Client[] = [];

  get active(): number {
    return this.#all.length - this.#free.length;
  }

  byNumber(number: number): Client {
    return this.#all[number]!;
  }

  take(): Client {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    const client = new Client(this.#all.length);
    this.#all.push(client);
    return client;
  }

  giveBack(client: Client): void {
    client.ticket = -1;
    client.home = null;
    client.session = -1;
    this.#free.push(client);
  }
}
