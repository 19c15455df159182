/**
 * Asks for turns that will be refused, at a fixed rate, and times every answer. A program of its
 * own, so that it shares no loop with what it measures: started by `shed.ts`, told by IPC.
 *
 * The requests fall due by the clock whether the answers come or not, and each is timed from when
 * it was due; a server that stalls cannot hide it by being asked less.
 *
 * @module
 */

import { connect, type Socket } from "node:net";
import { setPriority } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { build, type Histogram } from "hdr-histogram-js";

export interface Order {
  readonly port: number;
  readonly path: string;
  readonly body: string;
  readonly connections: number;
  readonly durationMs: number;
  /** Requests a second; null asks as fast as the answers come. */
  readonly rate: number | null;
}

export interface Tally {
  readonly answered: number;
  /** By HTTP status. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Due and never sent, because no connection was free until the end. */
  readonly unsent: number;
  readonly elapsedMs: number;
  readonly latencyMs: Readonly<Record<"p50" | "p90" | "p99" | "p999" | "max", number>>;
}

class Load {
  readonly #order: Order;
  readonly #request: Buffer;
  readonly #idle: Connection[] = [];
  readonly #due: number[] = [];
  readonly #histogram: Histogram = build({ highestTrackableValue: 60_000_000 });
  readonly #statuses = new Map<string, number>();
  /** When the first request is due: once the connections are there. */
  #beganAtMs = 0;
  #made = 0;
  #answered = 0;

  constructor(order: Order) {
    this.#order = order;
    this.#request = Buffer.from(
      [
        `POST ${order.path} HTTP/1.1`,
        `host: 127.0.0.1:${order.port}`,
        "content-type: application/json",
        "accept: text/event-stream",
        `content-length: ${Buffer.byteLength(order.body)}`,
        "",
        order.body,
      ].join("\r\n"),
    );
  }

  async run(): Promise<Tally> {
    const { port, connections, durationMs, rate } = this.#order;
    const opened = Array.from({ length: connections }, () => new Connection(port, this.#answer));
    await Promise.all(opened.map((connection) => connection.ready));
    this.#idle.push(...opened);
    this.#beganAtMs = performance.now();
    while (this.#elapsedMs < durationMs) {
      if (rate !== null) this.#makeDue(rate);
      this.#send();
      // Not a busy loop: others need the core as well. It costs a request up to 1 ms.
      await delay(1);
    }
    const elapsedMs = this.#elapsedMs;
    const answered = this.#answered;
    for (const connection of opened) connection.close();
    return {
      answered,
      statuses: Object.fromEntries(this.#statuses),
      unsent: this.#due.length,
      elapsedMs,
      latencyMs: {
        p50: this.#percentileMs(50),
        p90: this.#percentileMs(90),
        p99: this.#percentileMs(99),
        p999: this.#percentileMs(99.9),
        max: this.#histogram.maxValue / 1_000,
      },
    };
  }

  get #elapsedMs(): number {
    return performance.now() - this.#beganAtMs;
  }

  #makeDue(rate: number): void {
    const shouldBe = Math.floor((this.#elapsedMs / 1_000) * rate);
    for (; this.#made < shouldBe; this.#made += 1) {
      this.#due.push(this.#beganAtMs + (this.#made / rate) * 1_000);
    }
  }

  #send(): void {
    while (this.#idle.length > 0) {
      const dueAtMs = this.#order.rate === null ? performance.now() : this.#due.shift();
      if (dueAtMs === undefined) return;
      // In turn: a server hangs up on a connection that never asks.
      this.#idle.shift()?.ask(this.#request, dueAtMs);
    }
  }

  readonly #answer = (connection: Connection, status: string, dueAtMs: number): void => {
    this.#histogram.recordValue(Math.round((performance.now() - dueAtMs) * 1_000));
    this.#statuses.set(status, (this.#statuses.get(status) ?? 0) + 1);
    this.#answered += 1;
    this.#idle.push(connection);
    this.#send();
  };

  #percentileMs(percent: number): number {
    return this.#histogram.getValueAtPercentile(percent) / 1_000;
  }
}

type OnAnswer = (connection: Connection, status: string, dueAtMs: number) => void;

/** One connection with one request on it at a time. Reads only what a refusal has. */
class Connection {
  readonly ready: Promise<void>;
  readonly #socket: Socket;
  readonly #onAnswer: OnAnswer;
  #dueAtMs = 0;
  #text = "";

  constructor(port: number, onAnswer: OnAnswer) {
    this.#onAnswer = onAnswer;
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.ready = new Promise((resolve, reject) => {
      this.#socket.once("connect", resolve);
      this.#socket.once("error", reject);
    });
    this.#socket.on("data", (chunk: Buffer) => this.#read(chunk));
  }

  ask(request: Buffer, dueAtMs: number): void {
    this.#dueAtMs = dueAtMs;
    this.#socket.write(request);
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    this.#text += chunk.toString("latin1");
    const headEnd = this.#text.indexOf("\r\n\r\n");
    if (headEnd < 0) return;
    const head = this.#text.slice(0, headEnd);
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN);
    if (Number.isNaN(length)) throw new Error(`an answer without a length: ${head}`);
    if (this.#text.length < headEnd + 4 + length) return;
    this.#text = "";
    this.#onAnswer(this, head.slice(9, 12), this.#dueAtMs);
  }
}

/**
 * Before the agents and the model that share its core: what waits for a core here would be the
 * generator's delay and not the server's. Callers of a real server have machines of their own.
 */
function goFirst(): void {
  try {
    setPriority(-10);
  } catch {
    // Needs root; without it the delays of the generator are in the figures.
  }
}

goFirst();
process.on("message", (order: Order) => {
  void new Load(order).run().then((tally) => process.send?.(tally));
});
