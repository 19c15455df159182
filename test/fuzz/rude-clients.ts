/**
 * Clients that ask rightly and behave badly: they send in drops, end their side, or leave. Made from
 * a seed: the same seed, the same clients.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import { until } from "../helpers/leaks.ts";
import { parseAnswers, RawConnection, type RawAnswer } from "../http/raw.ts";
import { randomFrom } from "./http-cases.ts";

const MANNERS = ["slow", "half-closed", "aborted"] as const;

export interface RudeClient {
  readonly manner: (typeof MANNERS)[number];
  /** Bytes of the request that are sent at a time; the rest never comes. */
  readonly pieces: readonly Buffer[];
  readonly isWhole: boolean;
  /** Between two pieces, and before it leaves. */
  readonly pauseMs: number;
}

/** Each with one request of a turn; the slow send all of it, the others all or a part. */
export function* rudeClients(request: Buffer, seed: number, count: number): Generator<RudeClient> {
  const random = randomFrom(seed);
  for (let index = 0; index < count; index += 1) {
    // In turn, so that a small number has some of each.
    const manner = MANNERS[index % MANNERS.length] ?? "slow";
    const isWhole = manner === "slow" || random() < 0.5;
    const sent = isWhole ? request : request.subarray(0, Math.floor(random() * request.length));
    const pieceBytes =
      manner === "slow" ? Math.ceil(sent.length / (2 + random() * 8)) : sent.length;
    const pieces: Buffer[] = [];
    for (let at = 0; at < sent.length; at += pieceBytes) {
      pieces.push(sent.subarray(at, at + pieceBytes));
    }
    // As long as a turn takes: it is left at any of its stages.
    const longestMs = manner === "aborted" ? 800 : 200;
    yield { manner, pieces, isWhole, pauseMs: Math.floor(random() * longestMs) };
  }
}

/** Behaves as it does; null when it left, or when the server closed without an answer. */
export async function behave(
  url: string,
  { manner, pieces, pauseMs }: RudeClient,
  limitMs: number,
): Promise<RawAnswer | null> {
  using connection = new RawConnection(url);
  for (const piece of pieces) {
    await connection.send(piece);
    await delay(pauseMs);
  }
  if (manner === "aborted") return null;
  if (manner === "half-closed") connection.socket.end();
  let isClosed = false;
  void connection.closed.then(() => (isClosed = true));
  const answer = () => parseAnswers(connection.received)[0] ?? null;
  await until(() => isClosed || answer() !== null, `an answer to a ${manner} client`, limitMs);
  return answer();
}
