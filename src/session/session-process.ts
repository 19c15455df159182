/**
 * What an agent process that lives longer than a turn has to do with the files of its session.
 * Whoever changes them holds the lock of the session, or keeps those who take it waiting.
 *
 * @module
 */

import { removeTree } from "./remove-tree.ts";
import { countedIn } from "./counted-totals.ts";
import { makeDirectoriesBelow, makeDirectory } from "./durable-file.ts";
import { parseSessionRef, type SessionRef } from "./session-id.ts";
import { requireRecord, transcriptFileOf, transcriptIfAny } from "./session-lookup.ts";
import { dataPathsOf, type SessionDirectories, sessionPathsOf } from "./session-paths.ts";
import {
  NO_TOTALS,
  readRecord,
  type SessionTotals,
  transcriptIdOf,
  writeRecord,
} from "./session-record.ts";
import { moveToSession, type SpareDirectories } from "./spare-directories.ts";
import { storing } from "./storage-errors.ts";
import {
  hasConversation,
  lastMessageId,
  repairTranscript,
  type TranscriptRepair,
} from "./transcript-file.ts";

/** What a process would resume. */
export interface Resumable {
  /** Claude Code's own id of the session. */
  readonly transcriptId: string;
  readonly transcriptBytes: number;
}

/**
 * What there is to resume; null if there is nothing. Changes nothing.
 *
 * @throws {AppError} `session_not_found`, `session_gone`, `storage_failed`.
 */
export async function resumableOf(
  dataDirectory: string,
  ref: SessionRef,
): Promise<Resumable | null> {
  return storing("read the session", async () => {
    const record = await requireRecord(dataDirectory, parseSessionRef(ref), Date.now());
    const transcript = await transcriptFileOf(dataDirectory, record);
    if (transcript === undefined || !(await hasConversation(transcript))) return null;
    return { transcriptId: transcriptIdOf(record), transcriptBytes: transcript.bytes };
  });
}

/** Makes what an agent process needs. @param processStayed One is there, and has its scratch. */
export async function makeSessionDirectories(
  dataDirectory: string,
  ref: SessionRef,
  processStayed: boolean,
): Promise<SessionDirectories> {
  const { work, config, home, tmp } = sessionPathsOf(dataDirectory, ref);
  await makeDirectoriesBelow(dataPathsOf(dataDirectory).run, ["tmp"]);
  // What a crashed turn left there is not this turn's.
  if (!processStayed) await removeTree(tmp);
  for (const directory of [work, config, home, tmp]) await makeDirectory(directory);
  return { work, config, home, tmp };
}

/** A session that a process can resume now. */
export interface ReadySession extends Pick<TranscriptRepair, "repairedLines"> {
  /** Id of the last message that the process will know. */
  readonly lastMessageId: string;
  /** From which it will count. */
  readonly counted: SessionTotals;
}

/**
 * Makes the session ready for a process that resumes it ahead of a turn, as for the turn itself.
 *
 * @returns Null when there is nothing that could be resumed.
 * @throws {AppError} `session_not_found`, `session_gone`, `storage_full`, `storage_failed`.
 */
export async function readyToResume(
  dataDirectory: string,
  ref: SessionRef,
): Promise<ReadySession | null> {
  return storing("make the session ready", async () => {
    const record = await requireRecord(dataDirectory, ref, Date.now());
    const found = await transcriptFileOf(dataDirectory, record);
    if (found === undefined) return null;
    const { transcript, repairedLines } = await repairTranscript(found);
    if (transcript === undefined) return null;
    const lastId = await lastMessageId(transcript);
    if (lastId === null) return null;
    await makeSessionDirectories(dataDirectory, ref, false);
    return { lastMessageId: lastId, counted: await countedIn(transcript), repairedLines };
  });
}

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

/**
 * From which a process counts that resumes the session as it is.
 *
 * @throws {AppError} `storage_failed`: counted from nothing, all of the session would be the turn's.
 */
export async function countedOf(dataDirectory: string, ref: SessionRef): Promise<SessionTotals> {
  return storing("read the session", async () => {
    const paths = sessionPathsOf(dataDirectory, parseSessionRef(ref));
    const record = await readRecord(paths.record, ref);
    const transcript = record && (await transcriptFileOf(dataDirectory, record));
    return transcript === undefined ? NO_TOTALS : countedIn(transcript);
  });
}

/** Removes the scratch directory, once a process that stayed after its turn is gone. */
export async function clearScratch(dataDirectory: string, ref: SessionRef): Promise<void> {
  const { tmp } = sessionPathsOf(dataDirectory, parseSessionRef(ref));
  await storing("clear the session's scratch", () => removeTree(tmp));
}
