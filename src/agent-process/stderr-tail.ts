/**
 * The last part of what a process writes to stderr. The stream is always read to its end, since
 * a full pipe would stop the process, but only `limitBytes` of it are ever held.
 *
 * @module
 */

import { once } from "node:events";
import type { Readable } from "node:stream";

export class StderrTail {
  readonly #limitBytes: number;
  readonly #ended: Promise<unknown>;
  #kept: Buffer = Buffer.alloc(0);

  constructor(stream: Readable | null, limitBytes: number) {
    this.#limitBytes = limitBytes;
    this.#ended = stream === null ? Promise.resolve() : once(stream, "close").catch(() => {});
    stream?.on("error", () => {}).on("data", (chunk: Buffer) => this.#append(chunk));
  }

  /** Settles when the process, and all that share its stderr, have closed it. */
  get ended(): Promise<unknown> {
    return this.#ended;
  }

  toString(): string {
    return this.#kept.toString("utf8");
  }

  #append(chunk: Buffer): void {
    const newest = lastBytes(chunk, this.#limitBytes);
    const older = lastBytes(this.#kept, this.#limitBytes - newest.length);
    this.#kept = Buffer.concat([older, newest]); // A copy: a part would hold on to its whole.
  }
}

function lastBytes(buffer: Buffer, count: number): Buffer {
  return buffer.subarray(Math.max(0, buffer.length - count));
}
