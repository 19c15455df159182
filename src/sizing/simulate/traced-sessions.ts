/**
 * Sessions that a trace names: who asks for their turns, and which turns wait for those before them.
 *
 * @module
 */

import type { Arrivals } from "./arrivals.ts";
import type { Client } from "./client.ts";

/** Holds: a session has one client from its first turn in the trace to the end of its last. */
export class TracedSessions {
  readonly #clients = new Map<number, Client>();

  /** Who has asked before for the session of this turn; undefined for a turn of none. */
  clientOf({ session }: Arrivals): Client | undefined {
    return this.#clients.get(session);
  }

  /** The first turn of a session has come. */
  begin(client: Client, { session, sessionTurns }: Arrivals): void {
    client.session = session;
    if (session < 0) return;
    client.turnsLeft = sessionTurns;
    this.#clients.set(session, client);
  }

  /** @returns Whether it can be asked for now: nobody asks before the last answer is there. */
  offer(client: Client, { durationMs, transcriptBytes }: Arrivals): boolean {
    if (client.attempts > 0) {
      client.later.push({ durationMs, transcriptBytes });
      return false;
    }
    take(client, { durationMs, transcriptBytes });
    return true;
  }

  /** A turn is over: what comes of its session, if a trace has it. */
  turnEnded(client: Client): "over" | "waits" | "next" {
    if (client.session < 0) return "over";
    if (client.turnsLeft === 0) {
      this.#clients.delete(client.session);
      return "over";
    }
    const next = client.later.shift();
    if (next === undefined) return "waits";
    take(client, next);
    return "next";
  }
}

/** What the trace says of the turn, if anything. */
function take(client: Client, { durationMs, transcriptBytes }: Client["later"][number]): void {
  client.tracedMs = durationMs;
  if (!Number.isNaN(transcriptBytes)) client.carriedBytes = transcriptBytes;
}
