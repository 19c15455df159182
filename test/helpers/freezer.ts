/**
 * Processes that nobody can end: in the freezer of cgroup v1 even a SIGKILL waits until they are
 * thawed, as it does for a process that hangs inside the kernel.
 *
 * @module
 */

import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { until } from "./leaks.ts";

const HIERARCHY = "/sys/fs/cgroup/freezer";

let made = 0;

/** A group of its own; disposing thaws it and waits until those who were killed in it are gone. */
export class Freezer implements AsyncDisposable {
  readonly #directory: string;

  constructor() {
    made += 1;
    this.#directory = join(HIERARCHY, `plimsoll-test-${process.pid}-${made}`);
    mkdirSync(this.#directory);
  }

  freezeProcess(pid: number): Promise<void> {
    return this.#freeze("cgroup.procs", pid);
  }

  /** The other threads of its process go on. */
  freezeThread(threadId: number): Promise<void> {
    return this.#freeze("tasks", threadId);
  }

  thaw(): void {
    this.#write("freezer.state", "THAWED");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.thaw();
    await until(() => this.#read("tasks") === "", "the thawed processes to end");
    rmdirSync(this.#directory);
  }

  async #freeze(file: string, id: number): Promise<void> {
    this.#write(file, String(id));
    this.#write("freezer.state", "FROZEN");
    await until(() => this.#read("freezer.state").trim() === "FROZEN", "the freezer to close");
  }

  #write(file: string, text: string): void {
    writeFileSync(join(this.#directory, file), text);
  }

  #read(file: string): string {
    return readFileSync(join(this.#directory, file), "utf8");
  }
}

/** Null where there is a freezer to use. */
export function reasonNotToFreeze(): string | null {
  const group = join(HIERARCHY, `plimsoll-test-${process.pid}-probe`);
  try {
    mkdirSync(group);
    // Without the hierarchy this is a directory like any other, or cannot be made at all.
    readFileSync(join(group, "freezer.state"));
    return null;
  } catch {
    return `cannot make groups in ${HIERARCHY}`;
  } finally {
    try {
      rmdirSync(group);
    } catch {
      // It was never made.
    }
  }
}
