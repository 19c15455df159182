/**
 * `plimsoll sessions …`: looking at what is kept and deciding what stays, on the data directory
 * itself. Whatever changes something needs the directory for itself; of a running server the same
 * is asked over HTTP.
 *
 * @module
 */

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../config/config.ts";
import { loadConfig, type LoadedConfig } from "../config/load.ts";
import { printable } from "../lib/diagnostics.ts";
import { AppError } from "../lib/errors.ts";
import { borrowDataDirectory } from "../session/data-directory.ts";
import { FileSessions } from "../session/file-sessions.ts";
import { isSessionId, type SessionRef } from "../session/session-id.ts";
import { allSessions, findSession } from "../session/session-list.ts";
import { SessionLocks } from "../session/session-locks.ts";
import { transcriptFileOf } from "../session/session-lookup.ts";
import type { SessionRecord } from "../session/session-record.ts";
import { SessionSweeper } from "../session/session-sweeper.ts";
import { storing } from "../session/storage-errors.ts";
import { EXIT } from "./exit-codes.ts";
import { count, countOf, dollars } from "./figures.ts";
import type { Io } from "./io.ts";
import { painter } from "./paint.ts";
import { sessionTable, sweepText, transcriptText } from "./session-text.ts";
import { listenToSignals } from "./signals.ts";

/** Which data directory: as `serve` finds it. */
export interface SessionsOptions {
  readonly serverFile?: string;
  readonly flags: Readonly<Record<string, string | undefined>>;
}

export interface ListOptions extends SessionsOptions {
  readonly tenant?: string;
  readonly agentName?: string;
  readonly limit: number;
  readonly asJson: boolean;
}

/** The newest first. */
export async function runSessionsList(options: ListOptions, io: Io): Promise<number> {
  const { dataDirectory } = await settingsOf(options, io);
  await mustBeThere(dataDirectory);
  const { tenant, agentName, limit } = options;
  const all = await storing("list the sessions", () => allSessions(dataDirectory));
  const wanted = all.filter(
    (each) =>
      (tenant === undefined || each.tenant === tenant) &&
      (agentName === undefined || each.agentName === agentName),
  );
  const shown = wanted.slice(0, limit);
  if (options.asJson) {
    for (const record of shown) io.stdout(`${JSON.stringify(record)}\n`);
    return EXIT.ok;
  }
  const asked = tenant === undefined && agentName === undefined ? "session" : "such session";
  if (shown.length === 0) io.stdout(`There is no ${asked} in ${dataDirectory}\n`);
  else io.stdout(sessionTable(shown, Date.now(), painter(io.color)));
  const rest = wanted.length - shown.length;
  if (rest > 0) io.stdout(`and ${count(rest)} more; --limit shows them\n`);
  return EXIT.ok;
}

export interface OneSession extends SessionsOptions {
  readonly sessionId: string;
}

/** What was said. */
export async function runSessionsShow(options: OneSession, io: Io): Promise<number> {
  const { dataDirectory } = await settingsOf(options, io);
  const record = await recordOf(dataDirectory, options.sessionId);
  const sessions = sessionsIn(dataDirectory);
  const transcript = await sessions.transcript(refOf(record), Date.now());
  const { agentName, threadId, turns, totals } = record;
  const head = `${agentName} · ${threadId} · ${countOf(turns, "turn")} · ${dollars(totals.costUsd)}`;
  io.stdout(transcriptText(head, transcript, painter(io.color)));
  return EXIT.ok;
}

/** The transcript as Claude Code has it: a JSON object a line. */
export async function runSessionsExport(options: OneSession, io: Io): Promise<number> {
  const { dataDirectory } = await settingsOf(options, io);
  const record = await recordOf(dataDirectory, options.sessionId);
  const transcript = await transcriptFileOf(dataDirectory, record);
  if (transcript === undefined) return EXIT.ok;
  const text = createReadStream(transcript.path, { encoding: "utf8" });
  for await (const chunk of text) io.stdout(String(chunk));
  return EXIT.ok;
}

/** Deletes it, or puts it on hold, or takes it off. */
export async function runSessionsChange(
  options: OneSession & { readonly change: "delete" | "hold" | "release" },
  io: Io,
): Promise<number> {
  const { dataDirectory } = await settingsOf(options, io);
  const ref = refOf(await recordOf(dataDirectory, options.sessionId));
  // A signal waits for the end: it takes a moment, and the directory has to be given back.
  using _signals = listenToSignals();
  await using _taken = await borrowDataDirectory(dataDirectory, Date.now());
  const sessions = sessionsIn(dataDirectory);
  if (options.change === "delete") {
    const { files, bytes } = await sessions.delete(ref, Date.now());
    io.stdout(`Deleted ${ref.sessionId}: ${countOf(files, "file")}, ${count(bytes)} bytes\n`);
    return EXIT.ok;
  }
  const isOnHold = options.change === "hold";
  await sessions.hold(ref, isOnHold, Date.now());
  const state = isOnHold ? "is on hold: nobody can delete it" : "is on hold no more";
  io.stdout(`${ref.sessionId} ${state}\n`);
  return EXIT.ok;
}

export interface SweepCommandOptions extends SessionsOptions {
  readonly isDryRun: boolean;
  readonly asJson: boolean;
}

/** Deletes what has to go by `retention`, or says what that is. */
export async function runSessionsSweep(options: SweepCommandOptions, io: Io): Promise<number> {
  const { isDryRun } = options;
  const { config, file, sources } = await loadSettings(options, io);
  const { dataDirectory, retention: limits } = config;
  await mustBeThere(dataDirectory);
  const isTold = [...sources].some(
    ([name, source]) => name.startsWith("retention.") && source !== "default",
  );
  if (!isDryRun && file === null && !isTold) {
    const cure = "name its server file by --config, or a limit by --set retention.…";
    throw new AppError("usage", `Cannot sweep by limits that may not be the server's: ${cure}`);
  }
  using signals = listenToSignals();
  // A dry run changes nothing, so it may look while a server is at work.
  await using _taken = isDryRun ? null : await borrowDataDirectory(dataDirectory, Date.now());
  const locks = new SessionLocks();
  const sessions = sessionsIn(dataDirectory, locks);
  const sweeper = new SessionSweeper({ dataDirectory, sessions, locks, limits });
  const swept = await sweeper.sweep(Date.now(), { isDryRun, signal: signals.stop });
  if (options.asJson) io.stdout(`${JSON.stringify(swept)}\n`);
  else io.stdout(sweepText(swept, isDryRun, painter(io.color)));
  return EXIT.ok;
}

async function settingsOf(options: SessionsOptions, io: Io): Promise<Config> {
  return (await loadSettings(options, io)).config;
}

async function loadSettings(
  { serverFile, flags }: SessionsOptions,
  { environment, workingDirectory }: Io,
): Promise<LoadedConfig> {
  const file = serverFile === undefined ? {} : { file: serverFile };
  return loadConfig({ ...file, flags, environment, workingDirectory });
}

/** @throws {AppError} `usage` where no server has ever kept anything, or nothing can be read. */
async function mustBeThere(dataDirectory: string): Promise<void> {
  const tenants = join(dataDirectory, "tenants");
  const isThere = await stat(tenants).then(
    () => true,
    () => false,
  );
  if (isThere) return;
  const cure = "say by --data where the server keeps them";
  throw new AppError("usage", `Cannot find sessions in ${dataDirectory}: ${cure}`);
}

/** @throws {AppError} `usage` when there is no such session: the command line names it. */
async function recordOf(dataDirectory: string, sessionId: string): Promise<SessionRecord> {
  await mustBeThere(dataDirectory);
  const find = () => findSession(dataDirectory, sessionId);
  const record = isSessionId(sessionId) ? await storing("find the session", find) : undefined;
  if (record !== undefined) return record;
  const cure = "`plimsoll sessions list` tells the ids there are";
  throw new AppError("usage", `Cannot find the session ${printable(sessionId)}: ${cure}`);
}

function refOf({ tenant, sessionId }: SessionRecord): SessionRef {
  return { tenant, sessionId };
}

function sessionsIn(dataDirectory: string, locks = new SessionLocks()): FileSessions {
  // Nothing is begun here, so there is nothing to limit.
  return new FileSessions({ dataDirectory, maxPerTenant: Number.MAX_SAFE_INTEGER, locks });
}
