/**
 * What an agent process that lives longer than a turn has to do with the files of its session.
 * Whoever calls holds the lock of the session.
 *
 * @module
 */

import { rm } from "node:fs/promises";
import { parseSessionRef, type SessionRef } from "./session-id.ts";
import { requireRecord, transcriptIfAny } from "./session-lookup.ts";
import { sessionPathsOf } from "./session-paths.ts";
import { writeRecord } from "./session-record.ts";
import { moveToSession, type SpareDirectories } from "./spare-directories.ts";
import { storing } from "./storage-errors.ts";
import { lastMessageId } from "./transcript-file.ts";

/**
 * Gives a session that has nothing yet the directories of a spare process, and its transcript the
 * id by which that knows it.
 *
 * @returns False when the session has something already.
 * @throws {AppError} `session_not_found`, `storage_full`, `storage_failed`.
 */
export async function adoptSpare(
  dataDirectory: string,
  ref: SessionRef,
  spare: SpareDirectories,
): Promise<boolean> {
  const paths = sessionPathsOf(dataDirectory, parseSessionRef(ref));
  return storing("take a spare for the session", async () => {
    const record = await requireRecord(dataDirectory, ref, Date.now());
    if (!(await moveToSession(spare, paths))) return false;
    await writeRecord(paths.record, { ...record, transcriptId: spare.transcriptId });
    return true;
  });
}

/**
 * Id of the last message in the transcript: a process that said another one last has missed a
 * turn. Null if there is none that can be read.
 */
export async function lastMessageIdOf(
  dataDirectory: string,
  ref: SessionRef,
): Promise<string | null> {
  const transcript = await transcriptIfAny(dataDirectory, parseSessionRef(ref));
  return transcript === undefined ? null : lastMessageId(transcript).catch(() => null);
}

/** Removes the scratch directory, once a process that stayed after its turn is gone. */
export async function clearScratch(dataDirectory: string, ref: SessionRef): Promise<void> {
  const { tmp } = sessionPathsOf(dataDirectory, parseSessionRef(ref));
  await storing("clear the session's scratch", () => rm(tmp, { recursive: true, force: true }));
}
