/**
 * How much memory this replica may use, and who says so: the tightest of the limits of its control
 * groups and the memory of the machine. A limit that cannot be read is what it was when it could
 * be, and a note; one that never could be is none. None is ever made up. The others are told beside
 * it, since what binds is the least room. How much of it is used is `memory-reading.ts`.
 *
 * @module
 */

import { KIB } from "../lib/byte-units.ts";
import {
  type CgroupGroup,
  type CgroupVersion,
  findHierarchies,
  type Hierarchy,
  type ReadFile,
  readText,
} from "./cgroup.ts";
import { LastTexts } from "./last-texts.ts";
import { statField } from "./stat-field.ts";

export interface MemoryLimit {
  readonly bytes: number;
  /** For people: which file of which group, of how many limits it is the tightest. */
  readonly source: string;
  readonly kind: "setting" | CgroupVersion | "physical";
  /** The group whose limit binds, also beside a setting; null if no group has one. */
  readonly group: BindingGroup | null;
  /** Larger limits, which bind where others use more of them; the tightest first. None if absent. */
  readonly outer?: readonly OuterLimit[];
  /** What could not be read or understood, for the log. */
  readonly notes: readonly string[];
}

/** Its use is what counts against the limit: that of a pod includes the neighbours in it. */
export interface BindingGroup {
  readonly version: CgroupVersion;
  /** Where its files are. Not for callers to see. */
  readonly directory: string;
}

/** What others may be short of while the limit itself is not reached. */
export interface OuterLimit {
  readonly bytes: number;
  /** Null for the machine. */
  readonly group: BindingGroup | null;
}

export interface MemoryLimitOptions {
  /** Directory that stands for `/`; all files are read below it. */
  readonly root?: string;
  /** The setting `capacity.memoryLimit`, which may only be tighter; null to ask the system alone. */
  readonly explicitBytes: number | null;
  /** Memory of the machine at the start, as `os.totalmem()` has it: for where `/proc` says nothing. */
  readonly totalMemoryBytes: number;
}

interface FoundLimit {
  readonly bytes: number;
  readonly source: string;
  readonly group: BindingGroup | null;
}

/**
 * From here on a number stands for "unlimited": the kernel's own word for it in v1 is 2^63 less a
 * page, and rounding differs with the page size. No machine has a pebibyte.
 */
const UNLIMITED_BYTES = 2 ** 50;

/** Bounds what is looked at; nobody nests that many limits. */
const MOST_OUTER = 8;

/** For who reads the limit again and again: a file that cannot be read says what it said before. */
export function memoryLimitReader(options: MemoryLimitOptions): () => MemoryLimit {
  const texts = new LastTexts();
  return () => {
    texts.beginRound();
    return readMemoryLimit(options, texts.read);
  };
}

/** Reads the limit. Synchronous: about 0.2 ms, at start and whenever a resize is looked for. */
export function readMemoryLimit(
  options: MemoryLimitOptions,
  readFile: ReadFile = readText,
): MemoryLimit {
  const notes: string[] = [];
  const { root = "/" } = options;
  const totalBytes = machineBytes(root, readFile) ?? options.totalMemoryBytes;
  const physical = { bytes: totalBytes, source: "physical memory", group: null };
  const found = findHierarchies(root, "memory", readFile).flatMap((hierarchy) =>
    limitsOf(hierarchy, notes, readFile),
  );
  // Of equals the group's own limit is the better answer, so physical memory comes last.
  const all: FoundLimit[] = [...found, physical];
  const tightest = all.reduce((least, limit) => (limit.bytes < least.bytes ? limit : least));

  const { bytes, group } = tightest;
  const { explicitBytes } = options;
  const outer = outerOf(all, group);
  if (explicitBytes !== null && explicitBytes <= bytes) {
    const source = "setting capacity.memoryLimit";
    return { bytes: explicitBytes, source, kind: "setting", group, outer, notes };
  }
  if (explicitBytes !== null) {
    // Believed, it would switch off whatever looks at what is free.
    notes.push(
      `capacity.memoryLimit is above the ${bytes} bytes of ${tightest.source}, which hold`,
    );
  }
  const source =
    all.length > 1 ? `${tightest.source} (tightest of ${all.length})` : tightest.source;
  // The use of the machine is then what is read.
  if (group === null) return { bytes, source, kind: "physical", group, notes };
  return { bytes, source, kind: group.version, group, outer, notes };
}

/** A virtual machine is given memory, and some is taken from it, while it runs. */
function machineBytes(root: string, readFile: ReadFile): number | null {
  const file = readFile(root, "proc/meminfo");
  const kibibytes = file.status === "read" ? statField(file.text, "MemTotal") : null;
  return kibibytes === null || kibibytes === 0 ? null : kibibytes * KIB;
}

/** One of each group but the one that binds. */
function outerOf(all: readonly FoundLimit[], binding: BindingGroup | null): readonly OuterLimit[] {
  const tightest = new Map<string | undefined, OuterLimit>();
  for (const { bytes, group } of all.toSorted((one, other) => one.bytes - other.bytes)) {
    const directory = group?.directory;
    const isBinding = group !== null && directory === binding?.directory;
    if (!isBinding && !tightest.has(directory)) tightest.set(directory, { bytes, group });
  }
  return [...tightest.values()].slice(0, MOST_OUTER);
}

function limitsOf(hierarchy: Hierarchy, notes: string[], readFile: ReadFile): FoundLimit[] {
  const isVersion2 = hierarchy.version === "cgroup2";
  // Reclaim and throttling begin at `memory.high`: for a server that is the end of the room.
  const names = isVersion2 ? ["memory.max", "memory.high"] : ["memory.limit_in_bytes"];
  const limits: FoundLimit[] = [];
  let filesRead = 0;
  for (const group of hierarchy.groups) {
    for (const name of names) {
      const file = readFile(group.directory, name);
      const what = `${label(hierarchy.version)} ${name} of ${group.path}`;
      if (file.status === "read") {
        filesRead += 1;
        if (file.failure !== undefined) notes.push(`${what} ${file.failure}; its last value holds`);
        const bytes = parseLimit(file.text);
        if (bytes === "not_understood") notes.push(`${what} is not understood`);
        else if (bytes !== null) limits.push(foundLimit(bytes, what, hierarchy.version, group));
      } else if (file.status === "unreadable") {
        notes.push(`${what} cannot be read: ${file.reason}`);
      } else if (!group.isTop) {
        // The real root of a hierarchy has no limit files; any other group should.
        notes.push(`${what} is missing`);
      }
    }
  }
  if (!isVersion2) limits.push(...hierarchicalLimit(hierarchy, notes, readFile));
  if (filesRead === 0) notes.push(`${label(hierarchy.version)} has no memory limits to read`);
  return limits;
}

/**
 * In v1 the kernel also sums up the ancestors, and those outside of the container too. AWS Fargate
 * limits the task there and leaves `memory.limit_in_bytes` of the container unlimited.
 */
function hierarchicalLimit(
  { version, groups }: Hierarchy,
  notes: string[],
  readFile: ReadFile,
): FoundLimit[] {
  return groups.slice(0, 1).flatMap((group) => {
    const file = readFile(group.directory, "memory.stat");
    if (file.status !== "read") return [];
    const value = /^hierarchical_memory_limit (\d+)$/m.exec(file.text)?.[1];
    const bytes = value === undefined ? null : parseLimit(value);
    if (typeof bytes !== "number") return [];
    const what = `${label(version)} hierarchical_memory_limit of ${group.path}`;
    if (file.failure !== undefined) notes.push(`${what} ${file.failure}; its last value holds`);
    return [foundLimit(bytes, what, version, group)];
  });
}

function foundLimit(
  bytes: number,
  source: string,
  version: CgroupVersion,
  group: CgroupGroup,
): FoundLimit {
  return { bytes, source, group: { version, directory: group.directory } };
}

/** Bytes; null for a value that says "none". */
function parseLimit(text: string): number | null | "not_understood" {
  const value = text.trim();
  if (value === "max" || value === "-1") return null;
  if (!/^\d+$/.test(value)) return "not_understood";
  const bytes = Number(value);
  return bytes === 0 || bytes >= UNLIMITED_BYTES ? null : bytes;
}

function label(version: CgroupVersion): string {
  return version === "cgroup2" ? "cgroup v2" : "cgroup v1";
}
