/**
 * What a sweep is let loose on: sessions of several tenants, each with all files that a real turn
 * leaves, on a disk of their own where one can be mounted. And what is there of them afterwards, found
 * out without the code that is judged.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statfsSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { openDataDirectory } from "../src/session/data-directory.ts";
import { FileSessions } from "../src/session/file-sessions.ts";
import { type SessionRef, sessionRefOf } from "../src/session/session-id.ts";
import { SessionLocks } from "../src/session/session-locks.ts";
import { sessionPathsOf } from "../src/session/session-paths.ts";
import { madeThreadOf, type RealTranscript } from "../src/sizing/measure/made-sessions.ts";
import { makeSessions } from "./made-sessions.ts";

export const TENANTS = ["t0", "t1", "t2", "t3", "t4"] as const;
const DAY_MS = 86_400_000;
/** Of the first cohort; each has been idle for a day less than the one before. */
const FIRST_IDLE_DAYS = 60;
/** Since when those are there that are too old. */
const AGED_MS = 400 * DAY_MS;
const AGED_LIKE_COHORT = 40;
const DISK_BYTES_PER_SESSION = 100_000;
const DISK_BASE_BYTES = 256 * 2 ** 20;

export interface MadeSession extends SessionRef {
  readonly cohort: number;
  /** Of the first cohort every other one: it began long ago, and was used since. */
  readonly isAged: boolean;
}

/** A file that a turn leaves beside the transcript, by its place in the session's directory. */
type Leavings = readonly { readonly path: string; readonly body: Buffer | null }[];

/** A file system of its own in a file; false where that is not allowed. */
export function mountDisk(image: string, directory: string, sessions: number): boolean {
  mkdirSync(directory);
  const bytes = DISK_BASE_BYTES + sessions * DISK_BYTES_PER_SESSION;
  try {
    writeFileSync(image, "");
    truncateSync(image, bytes);
    execFileSync("mkfs.ext4", ["-q", "-i", "4096", image], { stdio: "ignore" });
    execFileSync("mount", ["-o", "loop", image, directory], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

export function unmountDisk(directory: string): void {
  execFileSync("umount", ["-l", directory], { stdio: "ignore" });
}

/** What the turn of a session left in a data directory that has no other. */
export function leavingsIn(dataDirectory: string): Leavings {
  const names = readdirSync(dataDirectory, { recursive: true, encoding: "utf8" });
  const record = names.find((name) => name.endsWith("session.json"));
  if (record === undefined) throw new Error("the turn left no session");
  const root = join(dataDirectory, dirname(record));
  const found = readdirSync(root, { recursive: true, encoding: "utf8", withFileTypes: true });
  return found
    .map((entry) => ({ entry, path: relative(root, join(entry.parentPath, entry.name)) }))
    .filter(({ path }) => path !== "session.json" && !path.startsWith("config/projects"))
    .filter(({ entry }) => entry.isDirectory() || entry.isFile())
    .map(({ entry, path }) => {
      return { path, body: entry.isFile() ? readFileSync(join(root, path)) : null };
    });
}

export interface MakeOptions {
  readonly dataDirectory: string;
  readonly count: number;
  readonly cohortSize: number;
  readonly transcript: RealTranscript;
  readonly leavings: Leavings;
  readonly nowMs: number;
}

/** @returns Them, the one that was idle for the longest first. */
export async function makeWorld(
  { dataDirectory, count, cohortSize, transcript, leavings, nowMs }: MakeOptions,
  signal: AbortSignal,
): Promise<MadeSession[]> {
  const tenantOf = (index: number) => TENANTS[index % TENANTS.length] ?? "";
  const cohortOf = (index: number) => Math.floor(index / cohortSize);
  const isAged = (index: number) => cohortOf(index) === 0 && index % 2 === 0;
  const lastTurnAtMs = (index: number) =>
    nowMs - idleMsOf(isAged(index) ? AGED_LIKE_COHORT : cohortOf(index)) + index;
  const begunAtMs = (index: number) => (isAged(index) ? nowMs - AGED_MS : lastTurnAtMs(index));
  const times = { lastTurnAtMs, begunAtMs, tenantOf };
  await makeSessions({ dataDirectory, count, transcript, ...times }, signal);
  return Array.from({ length: count }, (_, index) => {
    const target = { by: "thread", threadId: madeThreadOf(index), expectsHistory: false } as const;
    const ref = sessionRefOf({ tenant: tenantOf(index), agentName: "hello", target });
    const { directory } = sessionPathsOf(dataDirectory, ref);
    for (const { path, body } of leavings) {
      if (body === null) mkdirSync(join(directory, path), { recursive: true });
    }
    for (const { path, body } of leavings) {
      if (body !== null) writeFileSync(join(directory, path), body);
    }
    return { ...ref, cohort: cohortOf(index), isAged: isAged(index) };
  });
}

export function idleMsOf(cohort: number): number {
  return (FIRST_IDLE_DAYS - cohort) * DAY_MS;
}

/** While no server has the directory. */
export async function putOnHold(dataDirectory: string, some: readonly SessionRef[]): Promise<void> {
  const nowMs = Date.now();
  await using _data = await openDataDirectory(dataDirectory, nowMs);
  const locks = new SessionLocks();
  const sessions = new FileSessions({ dataDirectory, maxPerTenant: Infinity, locks });
  for (const ref of some) await sessions.hold(ref, true, nowMs);
}

/** As if it had begun, and nobody had talked in it, for ever. */
export function makeOld(dataDirectory: string, ref: SessionRef): void {
  const { record: file } = sessionPathsOf(dataDirectory, ref);
  const record = JSON.parse(readFileSync(file, "utf8")) as object;
  writeFileSync(file, JSON.stringify({ ...record, createdAtMs: 1, lastTurnAtMs: 1 }));
  utimesSync(file, 0.001, 0.001);
}

export function isThere(dataDirectory: string, ref: SessionRef): boolean {
  return existsSync(sessionPathsOf(dataDirectory, ref).directory);
}

/** How many sessions of the tenants were ever deleted: what a sweep has done so far. */
export function deletedSoFar(dataDirectory: string): number {
  const directories = TENANTS.map((tenant) =>
    dirname(sessionPathsOf(dataDirectory, { tenant, sessionId: "0".repeat(36) }).tombstone),
  );
  return directories.reduce((sum, directory) => sum + readdirSync(directory).length, 0);
}

/** All sessions of a tenant, whoever has made them. */
export function countOf(dataDirectory: string, tenant: string): number {
  return directoriesOf(dataDirectory, tenant).length;
}

/** What they take of the disk. */
export function bytesOf(dataDirectory: string, tenant: string): number {
  return directoriesOf(dataDirectory, tenant).reduce((sum, each) => sum + weightOf(each), 0);
}

export function bytesOfSession(dataDirectory: string, ref: SessionRef): number {
  return weightOf(sessionPathsOf(dataDirectory, ref).directory);
}

function directoriesOf(dataDirectory: string, tenant: string): string[] {
  const { directory } = sessionPathsOf(dataDirectory, { tenant, sessionId: "0".repeat(36) });
  const root = dirname(dirname(directory));
  if (!existsSync(root)) return [];
  return readdirSync(root).flatMap((shard) =>
    readdirSync(join(root, shard)).map((name) => join(root, shard, name)),
  );
}

function weightOf(path: string): number {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return 0;
  const inside = stats.isDirectory() ? readdirSync(path) : [];
  return inside.reduce((sum, name) => sum + weightOf(join(path, name)), stats.blocks * 512);
}

export function freeBytesOf(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}
