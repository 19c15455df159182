/**
 * A program of ours as a process of its own beside this one, which it does not outlive: asked to end,
 * then forced, and everything in its control group with it.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { settlesWithin } from "../lib/settles-within.ts";
import type { ControlGroup } from "./control-group.ts";
import { tiedToServer } from "./parent-death.ts";
import { enteredBy } from "./spawn.ts";
import { StderrTail } from "./stderr-tail.ts";

export interface ProgramOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Where it lives, with all it starts; goes with it. */
  readonly group: ControlGroup | null;
  /** Told each line of its standard output. */
  readonly onLine: (line: string) => void;
}

export interface ProgramExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const STDERR_TAIL_BYTES = 4_096;
/** After SIGKILL nothing takes longer but what waits in the kernel. */
const KILLED_WITHIN_MS = 3_000;

export class Program implements AsyncDisposable {
  readonly pid: number;
  /** Resolves when it is gone and its output has been read. */
  readonly exited: Promise<ProgramExit>;
  readonly #child: ChildProcess;
  readonly #group: ControlGroup | null;
  readonly #graceMs: number;
  readonly #stderr: StderrTail;
  #exit: ProgramExit | null = null;

  /** @param graceMs Time that it has to end by itself. */
  constructor(options: ProgramOptions, graceMs: number) {
    const { group, cwd, env, onLine } = options;
    const line = { command: options.command, args: options.args };
    // The wrapper that ties it to us comes first: it is undone by none of the programs after it.
    const { command, args } = tiedToServer(group === null ? line : enteredBy(line, group));
    // In a process group of its own: Ctrl-C in a terminal is for us, who then end it in order.
    const child = spawn(command, args, {
      cwd,
      env,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    this.#group = group;
    this.#graceMs = graceMs;
    this.pid = child.pid ?? 0;
    this.#stderr = new StderrTail(child.stderr, STDERR_TAIL_BYTES);
    createInterface({ input: child.stdout }).on("line", onLine);
    this.exited = this.#untilGone();
  }

  /** How it has ended; null while it runs. */
  get exit(): ProgramExit | null {
    return this.#exit;
  }

  /** The last of what it wrote to its standard error. */
  get stderrTail(): string {
    return this.#stderr.toString();
  }

  /** Kills it with all in its group, and does not wait. */
  killNow(): void {
    this.#child.kill("SIGKILL");
    this.#group?.killAll();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#exit === null) {
      this.#child.kill("SIGTERM");
      await settlesWithin(this.exited, this.#graceMs);
    }
    this.killNow();
    await settlesWithin(this.exited, KILLED_WITHIN_MS);
    await this.#group?.remove(AbortSignal.timeout(KILLED_WITHIN_MS), true);
  }

  async #untilGone(): Promise<ProgramExit> {
    const closed = once(this.#child, "close") as Promise<[number | null, NodeJS.Signals | null]>;
    const [code, signal] = await closed.catch(() => [null, null] as const);
    this.#exit = { code, signal };
    return this.#exit;
  }
}
