/**
 * A replica far busier than any: everything a real server answers, but for its feed, which tells of
 * 200 turns at once, as many times a second as is asked. For what a page makes of it.
 *
 * @module
 */

import { once } from "node:events";
import { createServer, request, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { encodeFeedEvent, type FeedCapacity, type FeedTurn } from "../src/protocol/feed.ts";

const LIVE_TURNS = 200;
const TICK_MS = 10;
const CAPACITY_MS = 1_000;
/** Of a turn; the last one ends it. */
const STEPS = 40;
const MIB = 2 ** 20;

export interface Flood extends AsyncDisposable {
  readonly url: string;
  /** Events written to the one page that reads. */
  readonly written: number;
  /** What the page has not taken yet. */
  readonly waitingBytes: number;
}

type Capacity = FeedCapacity["capacity"];

/** @param real Base address of the server that answers all else. */
export async function startFlood(real: string, eventsPerSecond: number): Promise<Flood> {
  const capacity = (await (await fetch(`${real}/capacity`)).json()) as Capacity;
  const streams = new Set<FloodStream>();
  const server = createServer((incoming, response) => {
    if (incoming.url !== "/v1/feed") return pass(real, incoming, response);
    const stream = new FloodStream(response, capacity, eventsPerSecond);
    streams.add(stream);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const sumOf = (figure: (stream: FloodStream) => number): number =>
    [...streams].reduce((sum, stream) => sum + figure(stream), 0);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get written() {
      return sumOf((stream) => stream.written);
    },
    get waitingBytes() {
      return sumOf((stream) => stream.waitingBytes);
    },
    async [Symbol.asyncDispose]() {
      for (const stream of streams) stream[Symbol.dispose]();
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/** The request as it came, but for the address it goes to. */
function pass(real: string, incoming: IncomingMessage, response: ServerResponse): void {
  const { method, headers, url = "/" } = incoming;
  const { host } = new URL(real);
  const outgoing = request(`${real}${url}`, {
    ...(method !== undefined && { method }),
    headers: { ...headers, host },
  });
  outgoing.on("response", (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  outgoing.on("error", () => response.destroy());
  incoming.pipe(outgoing);
}

class FloodStream implements Disposable {
  written = 0;
  readonly #response: ServerResponse;
  readonly #capacity: Capacity;
  readonly #perSecond: number;
  readonly #turns = Array.from({ length: LIVE_TURNS }, (_, at) => ({
    number: at,
    step: at % STEPS,
  }));
  readonly #beganAtMs = performance.now();
  readonly #timer: NodeJS.Timeout;
  #begun = LIVE_TURNS;
  #next = 0;
  #capacityAtMs = -Infinity;

  constructor(response: ServerResponse, capacity: Capacity, perSecond: number) {
    this.#response = response;
    this.#capacity = capacity;
    this.#perSecond = perSecond;
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    const nowMs = Date.now();
    const opening = { replica: "flood", version: "0", startedAtMs: nowMs };
    response.write(encodeFeedEvent({ type: "hello", nowMs, ...opening }));
    response.write(encodeFeedEvent({ type: "recent", turns: [], decisions: [], guard: [] }));
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    response.on("close", () => this[Symbol.dispose]());
  }

  get waitingBytes(): number {
    return this.#response.writableLength;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  /** Makes up for ticks that came late: what is told is a number a second. */
  #tick(): void {
    const elapsedMs = performance.now() - this.#beganAtMs;
    const due = Math.floor((elapsedMs / 1000) * this.#perSecond);
    const frames: string[] = [];
    if (elapsedMs - this.#capacityAtMs >= CAPACITY_MS) {
      this.#capacityAtMs = elapsedMs;
      frames.push(this.#capacityFrame());
    }
    for (; this.written < due; this.written += 1) frames.push(this.#frame());
    if (frames.length > 0) this.#response.write(frames.join(""));
  }

  /** Of twenty events eighteen are of turns. */
  #frame(): string {
    this.#next += 1;
    if (this.#next % 20 === 1) return this.#decisionFrame();
    if (this.#next % 20 === 2) return this.#guardFrame();
    const turn = this.#turns[this.#next % LIVE_TURNS];
    if (turn === undefined) throw new Error("There is no such turn");
    turn.step += 1;
    const frame = encodeFeedEvent({ type: "turn", turn: turnOf(turn) });
    if (turn.step < STEPS) return frame;
    Object.assign(turn, { number: this.#begun, step: 0 });
    this.#begun += 1;
    return frame;
  }

  #decisionFrame(): string {
    const isShed = this.#next % 3 === 0;
    return encodeFeedEvent({
      type: "decision",
      atMs: Date.now(),
      admitted: !isShed,
      reason: isShed ? "memory" : null,
      text: `${this.#next} MiB committed; this turn is predicted 131 MiB`,
      agent: "hello",
      tenant: `tenant-${this.#next % 5}`,
      untold: this.#next % 7,
    });
  }

  #guardFrame(): string {
    return encodeFeedEvent({
      type: "guard",
      by: "guard",
      atMs: Date.now(),
      what: "tool",
      turnId: `turn-${this.#next}`,
      bytes: 900 * MIB,
      text: "The memory guard has ended a tool: 900 MiB, and 118 MiB were predicted",
    });
  }

  #capacityFrame(): string {
    const sway = Math.sin(this.#capacityAtMs / 10_000);
    const committedBytes = Math.round(this.#capacity.loadLineBytes * (0.7 + 0.2 * sway));
    const turns = this.#turns.map(({ number, step }) => ({
      processId: `turn-${number}`,
      turnId: `turn-${number}`,
      kind: "turn" as const,
      ageMs: step * 100,
      bytes: (60 + step) * MIB,
      peakBytes: (60 + step) * MIB,
      predictedBytes: 118 * MIB,
      ceilingBytes: null,
    }));
    const capacity = { ...this.#capacity, committedBytes, inflight: LIVE_TURNS, turns };
    const readiness = { state: "ready", reason: "" } as const;
    const atMs = Date.now();
    const sessions = {
      isShared: false,
      idle: 10_000,
      transcriptBytes: 90 * MIB,
      countedAtMs: atMs,
    };
    return encodeFeedEvent({ type: "capacity", atMs, capacity, readiness, sessions });
  }
}

function turnOf({ number, step }: { readonly number: number; readonly step: number }): FeedTurn {
  const nowMs = Date.now();
  const startedAtMs = nowMs - step * 100;
  const names = ["waiting", "starting", "thinking", "writing", "tool"] as const;
  const passed = Array.from({ length: 1 + Math.floor(step / 4) }, (_, at) => ({
    stage: names[Math.min(at, 3 + (at % 2))] ?? "writing",
    sinceMs: startedAtMs + at * 400,
  }));
  const hasEnded = step >= STEPS;
  return {
    turnId: `turn-${number}`,
    agent: "hello",
    tenant: `tenant-${number % 5}`,
    caller: "flood",
    sessionId: `session-${number}`,
    threadId: `thread-${number}`,
    startedAtMs,
    processSource: "started",
    predictedBytes: 118 * MIB,
    carriedBytes: 1024 * step,
    stages: hasEnded ? [...passed, { stage: "ended", sinceMs: nowMs }] : passed,
    firstTokenMs: step > 3 ? 300 : null,
    toolCalls: Math.floor(step / 10),
    toolsEnded: 0,
    toolsKilled: 0,
    promptTokens: step > 3 ? 600 : null,
    outputTokens: step > 3 ? 2 * step : null,
    endedAtMs: hasEnded ? nowMs : null,
    peakBytes: hasEnded ? 110 * MIB : null,
    costUsd: hasEnded ? 0.002 : null,
    outcome: hasEnded ? { status: "completed", detail: null, message: null } : null,
  };
}
