/**
 * `plimsoll sessions …`: looking at what is kept and deciding what stays, in the data directory or
 * the store itself. Of a running server the same is asked over HTTP.
 *
 * @module
 */

import type { Config } from "../config/config.ts";
import { loadConfig, type LoadedConfig } from "../config/load.ts";
import { printable } from "../lib/diagnostics.ts";
import { errnoOf } from "../lib/errno.ts";
import { AppError, hasCode } from "../lib/errors.ts";
import type { PutOutcome, SessionArchive } from "../session/session-archive.ts";
import { isSessionId, parseSessionRef, type SessionRef } from "../session/session-id.ts";
import type { SessionRecord } from "../session/session-record.ts";
import { openObjectStore } from "../session/stores/open-object-store.ts";
import { isUnreadable } from "../session/stores/readable.ts";
import { EXIT } from "./exit-codes.ts";
import { count, countOf, dollars } from "../lib/figures.ts";
import type { Io } from "./io.ts";
import { painter } from "./paint.ts";
import { archiveOf, openArchive, openPlace } from "./session-place.ts";
import { sessionTable, sweepText, transcriptText, unreadableText } from "./session-text.ts";
import { listenToSignals } from "./signals.ts";

/** Which data directory or store: as `serve` finds it. */
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
  await using place = await openPlace(await settingsOf(options, io));
  const { tenant, agentName, limit } = options;
  const { records, unreadable } = await place.archive.all();
  const wanted = records.filter(
    (each) =>
      (tenant === undefined || each.tenant === tenant) &&
      (agentName === undefined || each.agentName === agentName),
  );
  const shown = wanted.slice(0, limit);
  // Whose they are is not known, so they are told of whatever was asked for.
  if (unreadable.length > 0) io.stderr(`${unreadableText(unreadable)}\n`);
  const exit = unreadable.length > 0 ? EXIT.unavailable : EXIT.ok;
  if (options.asJson) {
    for (const record of shown) io.stdout(`${JSON.stringify(record)}\n`);
    return exit;
  }
  const asked = tenant === undefined && agentName === undefined ? "session" : "such session";
  if (shown.length === 0) io.stdout(`There is no ${asked} in ${place.archive.place}\n`);
  else io.stdout(sessionTable(shown, Date.now(), painter(io.color)));
  const rest = wanted.length - shown.length;
  if (rest > 0) io.stdout(`and ${count(rest)} more; --limit shows them\n`);
  return exit;
}

export interface OneSession extends SessionsOptions {
  readonly sessionId: string;
}

/** What was said. */
export async function runSessionsShow(options: OneSession, io: Io): Promise<number> {
  await using place = await openPlace(await settingsOf(options, io));
  const record = await recordOf(place.archive, options.sessionId);
  const transcript = await place.sessions.transcript(refOf(record), Date.now());
  const { agentName, threadId, turns, totals } = record;
  const head = `${agentName} · ${threadId} · ${countOf(turns, "turn")} · ${dollars(totals.costUsd)}`;
  io.stdout(transcriptText(head, transcript, painter(io.color)));
  return EXIT.ok;
}

/** All of it as Claude Code has it: a JSON object a line. */
export async function runSessionsExport(options: OneSession, io: Io): Promise<number> {
  await using place = await openPlace(await settingsOf(options, io));
  const record = await recordOf(place.archive, options.sessionId);
  const chunks = await place.sessions.exported(refOf(record), Date.now());
  try {
    for await (const chunk of chunks) await io.write(chunk);
  } catch (thrown) {
    // Whoever reads it, such as `head`, has had enough.
    if (errnoOf(thrown) !== "EPIPE") throw thrown;
  }
  return EXIT.ok;
}

export interface ChangeOptions extends OneSession {
  readonly change: "delete" | "hold" | "release";
  /** Whose it is, where its record cannot be read. */
  readonly tenant?: string;
}

/** Deletes it, or puts it on hold, or takes it off. */
export async function runSessionsChange(options: ChangeOptions, io: Io): Promise<number> {
  // A signal waits for the end: it takes a moment, and the directory has to be given back.
  using _signals = listenToSignals();
  const config = await settingsOf(options, io);
  await using place = await openPlace(config);
  const { sessionId, tenant } = options;
  const ref =
    tenant === undefined
      ? refOf(await recordToChange(place.archive, options))
      : parseSessionRef({ tenant, sessionId });
  // Only now: a wrong id disturbs nobody.
  await place.take();
  const { sessions } = place;
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
  const isTold = [...sources].some(
    ([name, source]) => name.startsWith("retention.") && source !== "default",
  );
  if (!isDryRun && file === null && !isTold) {
    const cure = "name its server file by --config, or a limit by --set retention.…";
    throw new AppError("usage", `Cannot sweep by limits that may not be the server's: ${cure}`);
  }
  using signals = listenToSignals();
  // A dry run changes nothing, so it may look while a server is at work.
  await using place = await openPlace(config);
  if (!isDryRun) await place.take();
  const swept = await place.sweeper.sweep(Date.now(), { isDryRun, signal: signals.stop });
  if (options.asJson) io.stdout(`${JSON.stringify(swept)}\n`);
  else io.stdout(sweepText(swept, isDryRun, painter(io.color)));
  return EXIT.ok;
}

export interface CopyOptions extends SessionsOptions {
  /** The one that is copied; all of them without it. */
  readonly sessionId?: string;
  /** URL of the store that they are copied to, or from: the other side is what the settings name. */
  readonly to?: string;
  readonly from?: string;
  readonly replaces: boolean;
}

/** Copies sessions between a data directory and a store, or two stores; those copied from stay. */
export async function runSessionsCopy(options: CopyOptions, io: Io): Promise<number> {
  const { sessionId, to, from, replaces } = options;
  if ((to === undefined) === (from === undefined)) {
    throw new AppError("usage", "Cannot copy sessions: name one store, by --to or by --from");
  }
  using signals = listenToSignals();
  const config = await settingsOf(options, io);
  const timeoutMs = config.sessions.storeTimeoutMs;
  const url = storeUrlOf(to ?? from ?? "");
  await using own = await openArchive(config, from !== undefined);
  await using other = archiveOf(await openObjectStore({ url, timeoutMs }));
  const [source, target] = to === undefined ? [other, own] : [own, other];
  const { records, unreadable } =
    sessionId === undefined
      ? await source.all()
      : { records: [await recordOf(source, sessionId)], unreadable: [] };
  const counts = { copied: 0, present: 0, busy: 0, held: 0, gone: 0 };
  const unread = [...unreadable];
  for (const record of records) {
    if (signals.stop.aborted) break;
    const outcome = await copyOne(record, source, target, replaces);
    if (outcome === "unreadable") unread.push(record.sessionId);
    else counts[outcome] += 1;
  }
  const places = `from ${source.place} to ${target.place}`;
  io.stdout(`Copied ${countOf(counts.copied, "session")} ${places}${leftText(counts, unread)}\n`);
  const isWhole = counts.busy + counts.held + unread.length === 0 && !signals.stop.aborted;
  return isWhole ? EXIT.ok : EXIT.unavailable;
}

/** One that cannot be copied keeps none of the others from it. */
async function copyOne(
  ref: SessionRef,
  source: SessionArchive,
  target: SessionArchive,
  replaces: boolean,
): Promise<PutOutcome | "held" | "gone" | "unreadable"> {
  try {
    // Its record, too, as it is now: to copy those before it may have taken long.
    const { record, ...transcripts } = await source.transcripts(ref);
    return await target.put(record, transcripts, replaces);
  } catch (thrown) {
    if (hasCode(thrown, "session_busy")) return "busy";
    if (hasCode(thrown, "session_on_hold")) return "held";
    if (hasCode(thrown, "session_not_found")) return "gone";
    // A part of its transcript is lost, or one that is there already is damaged.
    if (hasCode(thrown, "session_gone") || isUnreadable(thrown)) return "unreadable";
    throw thrown;
  }
}

/** What was not copied, and why. */
function leftText(
  { present, busy, held }: Readonly<Record<"present" | "busy" | "held", number>>,
  unread: readonly string[],
): string {
  const left = [
    ...(present > 0
      ? [`${count(present)} were there already: --replace copies them all the same`]
      : []),
    ...(busy > 0
      ? [
          `${count(busy)} are in a turn, or were in one that was cut off in the last hour, or just deleted`,
        ]
      : []),
    ...(held > 0
      ? [`${count(held)} are on hold, and stay as they are: \`plimsoll sessions release\` first`]
      : []),
    ...(unread.length > 0 ? [unreadableText(unread)] : []),
  ];
  return left.map((each) => `; ${each}`).join("");
}

function storeUrlOf(text: string): URL {
  if (URL.canParse(text)) return new URL(text);
  // Not told again: it may have a password.
  const cure = "write it as `redis://…`, `postgres://…`, `s3://…` or `file:///…`";
  throw new AppError("usage", `Cannot read the URL of the store: ${cure}`);
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

/** @throws {AppError} `usage` when there is no such session: the command line names it. */
async function recordOf(archive: SessionArchive, sessionId: string): Promise<SessionRecord> {
  const record = isSessionId(sessionId) ? await archive.find(sessionId) : undefined;
  if (record !== undefined) return record;
  const cure = "`plimsoll sessions list` tells the ids there are";
  throw new AppError("usage", `Cannot find the session ${printable(sessionId)}: ${cure}`);
}

async function recordToChange(
  archive: SessionArchive,
  { sessionId, change }: Pick<ChangeOptions, "sessionId" | "change">,
): Promise<SessionRecord> {
  try {
    return await recordOf(archive, sessionId);
  } catch (thrown) {
    if (change !== "delete" || !hasCode(thrown, "session_unreadable")) throw thrown;
    const cure = "to delete it all the same, say whose it is by --tenant";
    throw new AppError("session_unreadable", `Cannot read the session: ${cure}`, { cause: thrown });
  }
}

function refOf({ tenant, sessionId }: SessionRef): SessionRef {
  return { tenant, sessionId };
}
