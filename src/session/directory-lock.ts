/**
 * A directory for one server at a time.
 *
 * The lock is a file that says which process has it. On the same machine the kernel tells whether
 * that process lives. Where it cannot tell (another machine or another container on a shared
 * volume, or no /proc), the holder's heartbeat does: it renews the time of the file, and one that
 * stands still for {@link OBSERVATION_MS} has no holder. Our own clock is never compared with it.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { link, readFile, readlink, rename, rm, stat, utimes } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { readProcessStat } from "../agent-process/proc.ts";
import { errnoOf } from "../lib/errno.ts";
import { AppError } from "../lib/errors.ts";
import { syncDirectory, writeDurably } from "./durable-file.ts";
import { ifPresent } from "./storage-errors.ts";

/** How often the holder shows that it lives, in milliseconds. */
const HEARTBEAT_MS = 1_000;
/** How long a holder we cannot ask is watched, in milliseconds. */
export const OBSERVATION_MS = 5 * HEARTBEAT_MS;

const LockHolder = z.object({
  /** The mark of this very lock: a process may take the same directory twice. */
  nonce: z.string(),
  pid: z.number().int(),
  /** Ticks since boot at which the process started: pids are used again. Null without /proc. */
  startTicks: z.string().nullable(),
  /** Pids mean something only within one boot and one pid namespace. Null without /proc. */
  pidSpace: z.string().nullable(),
  takenAtMs: z.number(),
});
export type LockHolder = Readonly<z.infer<typeof LockHolder>>;

export interface DirectoryLock extends AsyncDisposable {
  /** Who held the directory before and never gave it back; null after a clean end. */
  readonly abandonedBy: LockHolder | "unknown" | null;
}

/**
 * Takes the lock until it is disposed. A dead holder's is taken over.
 *
 * @param isBorrowed What a dead holder wrote is put back at the end: it is for the next server.
 * @throws {AppError} `data_directory_in_use` when its holder lives.
 */
export async function takeDirectoryLock(
  file: string,
  nowMs: number,
  isBorrowed = false,
): Promise<DirectoryLock> {
  const own = await describeSelf(nowMs);
  const draft = `${file}.${own.nonce}`;
  await writeDurably(draft, JSON.stringify(own));
  try {
    const dead = (await tryLink(draft, file)) ? undefined : await takeOver(draft, file);
    // The lock must outlive a power cut too: it is how the next run learns of it.
    await syncDirectory(dirname(file));
    const release = startHeartbeat(file, own, isBorrowed ? dead : undefined);
    const abandonedBy = dead === undefined ? null : (parseHolder(dead) ?? "unknown");
    return { abandonedBy, [Symbol.asyncDispose]: release };
  } finally {
    await rm(draft, { force: true });
  }
}

/**
 * Two servers may find the same dead holder: the claim lets one of them replace it.
 * @returns What that one wrote; undefined if it is gone after all.
 */
async function takeOver(draft: string, file: string): Promise<string | undefined> {
  const dead = await readDead(file);
  const claim = `${file}.claim`;
  if (!(await tryLink(draft, claim))) {
    await readDead(claim);
    await rm(claim, { force: true });
    if (!(await tryLink(draft, claim))) throw inUse();
  }
  try {
    // Looked at again: somebody may have claimed, replaced and gone on since.
    if ((await ifPresent(readFile(file, "utf8"))) !== dead) throw inUse();
    await rename(draft, file);
  } finally {
    await rm(claim, { force: true });
  }
  return dead;
}

/**
 * What a dead holder wrote; undefined when it is gone after all.
 *
 * @throws {AppError} `data_directory_in_use` when the holder lives.
 */
async function readDead(file: string): Promise<string | undefined> {
  const text = await ifPresent(readFile(file, "utf8"));
  if (text === undefined) return undefined;
  if ((await isAlive(parseHolder(text))) ?? (await isBeating(file))) throw inUse();
  return text;
}

/** Undefined when this process cannot tell. */
async function isAlive(holder: LockHolder | undefined): Promise<boolean | undefined> {
  const pidSpace = await readPidSpace();
  if (holder === undefined || pidSpace === null || holder.pidSpace !== pidSpace) return undefined;
  return startTicksOf(holder.pid) === holder.startTicks;
}

async function isBeating(file: string): Promise<boolean> {
  const before = await ifPresent(stat(file));
  for (let watchedMs = 0; watchedMs < OBSERVATION_MS; watchedMs += HEARTBEAT_MS) {
    await delay(HEARTBEAT_MS);
    const after = await ifPresent(stat(file));
    if (before?.mtimeMs !== after?.mtimeMs) return true;
  }
  return false;
}

/**
 * @param left To be in the file again at the end; nothing if undefined.
 * @returns What ends it, and gives the lock back.
 */
function startHeartbeat(
  file: string,
  own: LockHolder,
  left: string | undefined,
): () => Promise<void> {
  const timer = setInterval(() => {
    const now = new Date();
    // A beat that fails is only missed: whatever ails the directory shows where it is used.
    utimes(file, now, now).catch(() => undefined);
  }, HEARTBEAT_MS);
  timer.unref();
  return async () => {
    clearInterval(timer);
    const text = await ifPresent(readFile(file, "utf8"));
    if (text === undefined || parseHolder(text)?.nonce !== own.nonce) return;
    if (left === undefined) await rm(file);
    else await writeDurably(file, left);
  };
}

async function describeSelf(nowMs: number): Promise<LockHolder> {
  return {
    nonce: randomUUID(),
    pid: process.pid,
    startTicks: startTicksOf(process.pid),
    pidSpace: await readPidSpace(),
    takenAtMs: nowMs,
  };
}

/** The boot and the pid namespace of this process. */
async function readPidSpace(): Promise<string | null> {
  const boot = await ifTold(readFile("/proc/sys/kernel/random/boot_id", "utf8"));
  const namespace = await ifTold(readlink("/proc/self/ns/pid"));
  return boot === undefined || namespace === undefined ? null : `${boot.trim()} ${namespace}`;
}

/** Null for a process that is gone or a zombie. */
function startTicksOf(pid: number): string | null {
  const startTicks = readProcessStat(pid)?.startTicks;
  return startTicks === undefined ? null : String(startTicks);
}

/** What /proc says; undefined where it is missing, closed, or the process ended meanwhile. */
async function ifTold(reading: Promise<string>): Promise<string | undefined> {
  try {
    return await reading;
  } catch {
    return undefined;
  }
}

function parseHolder(text: string): LockHolder | undefined {
  try {
    return LockHolder.parse(JSON.parse(text));
  } catch {
    // Not ours, or damaged: its heartbeat is asked instead.
    return undefined;
  }
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (thrown) {
    if (errnoOf(thrown) === "EEXIST") return false;
    throw thrown;
  }
}

function inUse(): AppError {
  return new AppError(
    "data_directory_in_use",
    "Cannot take the data directory: another server is using it",
  );
}
