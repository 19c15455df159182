/**
 * How much memory is in use that the kernel cannot take back: what counts against the limit. Page
 * cache is left out, since a replica in full health fills its limit with it; a gate that watched
 * `usage / limit` would close for reading a large file.
 *
 * The reading is of the group that sets the limit, so that it and the limit speak of the same
 * memory; where there is less room outside of it, see `outer-room.ts`, so much more counts as used.
 * Swap is no room: what a group has in swap counts as if it were in memory, because touching it
 * brings it back. Only of a whole machine it is left out, where it is mostly what
 * others have not touched for days.
 *
 * @module
 */

import { readText } from "./cgroup.ts";
import { GroupMeter } from "./group-use.ts";
import { KIB } from "../lib/byte-units.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { MemoryLimit } from "./memory-limit.ts";
import { OuterRoom } from "./outer-room.ts";
import { statField, sumOf } from "./stat-field.ts";

export interface MemoryUse {
  /** Bytes that cannot be reclaimed now. */
  readonly bytes: number;
  /** Whose use it is: of the server and all it has started, or of the server alone. */
  readonly covers: "group" | "machine" | "process";
  /** For people: what was added up. */
  readonly source: string;
  /**
   * The limit less the room that is left outside of the group: what is in use by whomever, if it is
   * more. Absent where there is nothing outside.
   */
  readonly crowdedBytes?: number;
}

/** Which group to ask, what it may hold, and what is around it. */
export type MeteredLimit = Pick<MemoryLimit, "bytes" | "kind" | "group" | "outer">;

const SOURCES = {
  cgroup2: "cgroup v2, without page cache and slab, with swap",
  cgroup1: "cgroup v1: rss, shmem, swap and kernel",
};

/** Keeps between readings what is too dear to be found out for each. */
export class MemoryMeter {
  readonly #root: string;
  readonly #outerRoom: OuterRoom;
  #group: { readonly directory: string; readonly meter: GroupMeter } | null = null;

  /**
   * @param root Directory that stands for `/`; all files are read below it.
   * @param clock In ms.
   */
  constructor(root = "/", clock: () => number = monotonicMs) {
    this.#root = root;
    this.#outerRoom = new OuterRoom(root, clock);
  }

  /**
   * Reads the use. Synchronous and bounded: three or four small files (50 µs in v1), and as many
   * for each group below where the kernel's sum may lag behind, of 256 groups at most. What is
   * outside is looked at ten times a second at most.
   */
  read(limit: MeteredLimit): MemoryUse {
    const use =
      this.#useOfGroup(limit) ??
      (limit.kind === "physical" ? useOfMachine(this.#root) : null) ??
      useOfProcess(this.#root);
    const { bytes: limitBytes, outer = [] } = limit;
    if (outer.length === 0) return use;
    return { ...use, crowdedBytes: limitBytes - this.#outerRoom.bytes(outer, use.bytes) };
  }

  #useOfGroup({ bytes: limitBytes, group }: MeteredLimit): MemoryUse | null {
    if (group === null) return null;
    const { directory, version } = group;
    if (this.#group?.directory !== directory) {
      this.#group = { directory, meter: new GroupMeter(group) };
    }
    const bytes = this.#group.meter.usedBytes(limitBytes);
    return bytes === null ? null : { bytes, covers: "group", source: SOURCES[version] };
  }
}

/** Private memory of processes that were measured one by one. */
export interface MeasuredBytes {
  /** The server's own; 0 where nobody has measured it. */
  readonly serverBytes: number;
  /** All that it has started. */
  readonly agentsBytes: number;
}

/**
 * What is used, by the reading and by what was measured: never less than the processes are known to
 * hold, or a reading that lies low would open the gate and put the guard to sleep.
 */
export function usedBytesOf(
  { bytes, covers, crowdedBytes = 0 }: Pick<MemoryUse, "bytes" | "covers" | "crowdedBytes">,
  { serverBytes, agentsBytes }: MeasuredBytes,
): number {
  if (covers === "process") return Math.max(bytes + agentsBytes, crowdedBytes);
  return Math.max(bytes, serverBytes + agentsBytes, crowdedBytes);
}

function useOfMachine(root: string): MemoryUse | null {
  const file = readText(root, "proc/meminfo");
  if (file.status !== "read") return null;
  const total = statField(file.text, "MemTotal");
  const available = statField(file.text, "MemAvailable");
  if (total === null || available === null) return null;
  const bytes = (total - available) * KIB;
  return { bytes, covers: "machine", source: "machine: total less available" };
}

/** The last resort knows nothing of the agent processes, and says so. */
function useOfProcess(root: string): MemoryUse {
  const file = readText(root, "proc/self/status");
  const kibibytes = file.status === "read" ? sumOf(file.text, ["RssAnon", "RssShmem"]) : null;
  if (kibibytes === null) {
    const bytes = process.memoryUsage.rss();
    return { bytes, covers: "process", source: "rss of this process alone" };
  }
  const source = "this process alone, without file pages";
  return { bytes: kibibytes * KIB, covers: "process", source };
}
