/**
 * The lock that a process takes to enter a control group. The kernel has one for all groups
 * (`cgroup_threadgroup_rwsem`), and who takes it after a pause waits for every CPU to pass through
 * the scheduler (an RCU grace period): 15 ms here, of the 330 until a first token. For about as long
 * afterwards it is to be had at once. So we take it for nothing when a process is about to be made,
 * on a thread of Node's pool: by the time that the process enters its group, the wait is over.
 * (The bench `overhead`, interleaved on Linux 6.18: 1.05 times a bare `query()` without this, 1.00
 * with it. A kernel with `favordynmods` never waits, and does not need it.)
 *
 * @module
 */

import type { GroupFiles } from "./control-group.ts";

export class EntryLock {
  readonly #directory: string;
  readonly #files: Pick<GroupFiles, "writeAside">;
  #isTaking = false;

  /** @param directory The group that the server is in: it moves to where it is. */
  constructor(directory: string, files: Pick<GroupFiles, "writeAside">) {
    this.#directory = directory;
    this.#files = files;
  }

  /** Returns at once, and never throws: without it, a start is slower and nothing else. */
  expectEntry(): void {
    if (this.#isTaking) return;
    this.#isTaking = true;
    const taken = this.#files.writeAside(this.#directory, "cgroup.procs", String(process.pid));
    void taken.catch(() => {}).finally(() => (this.#isTaking = false));
  }
}
