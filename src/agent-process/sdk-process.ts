/**
 * A process as the SDK wants to see it: streams, an exit, an error, `kill`. Signals go through
 * the agent process, which so knows who sent them. Writing to a process that has ended is no
 * error here: its end is told by `exit`, once.
 *
 * @module
 */

import type { ChildProcess } from "node:child_process";
import { EventEmitter } from "node:events";
import { Readable, Writable } from "node:stream";
import type { SpawnedProcess } from "@anthropic-ai/claude-agent-sdk";

export class SdkProcess extends EventEmitter implements SpawnedProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  killed = false;
  exitCode: number | null = null;
  signalCode: NodeJS.Signals | null = null;
  readonly #kill: (signal: NodeJS.Signals) => boolean;

  /** @param child Null when nothing was started; the streams are then at their end. */
  constructor(child: ChildProcess | null, kill: (signal: NodeJS.Signals) => boolean) {
    super();
    this.#kill = kill;
    this.stdin = child?.stdin ?? nowhere();
    this.stdout = child?.stdout ?? Readable.from([]);
    // Without a listener EPIPE, or a failed start, would end the server.
    this.stdin.on("error", () => {});
    this.stdout.on("error", () => {});
    this.on("error", () => {});
  }

  kill(signal: NodeJS.Signals): boolean {
    const sent = this.#kill(signal);
    this.killed ||= sent;
    return sent;
  }

  /** Tells the SDK that the process has ended. */
  end(code: number | null, signal: NodeJS.Signals | null): void {
    this.exitCode = code;
    this.signalCode = signal;
    this.emit("exit", code, signal);
  }

  /** Tells the SDK that the process could not be started. */
  fail(error: Error): void {
    this.emit("error", error);
  }
}

function nowhere(): Writable {
  return new Writable({ write: (_chunk, _encoding, done) => done() });
}
