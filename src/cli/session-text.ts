/**
 * Sessions as people read them in a terminal. Pure.
 *
 * @module
 */

import { KIB, MIB } from "../lib/byte-units.ts";
import { printable } from "../lib/diagnostics.ts";
import { formatDuration } from "../lib/duration.ts";
import type { ListedRecord } from "../session/session-record.ts";
import type { Sweep } from "../session/session-sweeper.ts";
import type { MessagePart } from "../session/message.ts";
import type { Transcript } from "../session/transcript.ts";
import { count, countOf, dollars } from "../lib/figures.ts";
import type { Paint } from "./paint.ts";
import { alignedLines } from "../lib/table.ts";

const UNITS_MS = [86_400_000, 3_600_000, 60_000] as const;

/** `3d`, `5h`, `12m`: how long ago, in whole ones of the largest unit; `now` below a minute. */
export function ago(fromMs: number, nowMs: number): string {
  const elapsedMs = Math.max(0, nowMs - fromMs);
  const unitMs = UNITS_MS.find((each) => elapsedMs >= each);
  if (unitMs === undefined) return "now";
  const unit = formatDuration(unitMs).slice(1);
  return `${Math.floor(elapsedMs / unitMs)}${unit}`;
}

const COLUMNS = ["session", "tenant", "agent", "thread", "turns", "KiB", "cost", "last turn"];
/** The most that is shown of a name that the client chose. */
const MOST_OF_A_NAME = 32;

/** One session a line, under a head. */
export function sessionTable(
  records: readonly ListedRecord[],
  nowMs: number,
  paint: Paint,
): string {
  const rows = records.map((record) => [
    shortened(record.sessionId, 36),
    shortened(record.tenant),
    shortened(record.agentName),
    shortened(record.threadId),
    count(record.turns),
    count(Math.ceil(record.transcriptBytes / KIB)),
    dollars(record.totals.costUsd),
    `${ago(record.lastTurnAtMs, nowMs)}${record.onHoldSinceMs === undefined ? "" : "  on hold"}`,
  ]);
  const [head = "", ...lines] = alignedLines({ head: COLUMNS, rows, figures: [4, 5, 6] });
  return `${[paint("dim", head), ...lines].join("\n")}\n`;
}

/** A conversation under its head, with the tools that were used. */
export function transcriptText(head: string, transcript: Transcript, paint: Paint): string {
  const lines = [paint("bold", printable(head)), ""];
  if (!transcript.isComplete) lines.push(paint("dim", "(older messages are left out)"), "");
  for (const { role, parts } of transcript.messages) {
    const said = parts.map((part) => partText(part, paint)).filter((text) => text !== "");
    if (said.length > 0) lines.push(paint("cyan", role), ...said, "");
  }
  if (transcript.skippedLines > 0) {
    lines.push(paint("dim", `${countOf(transcript.skippedLines, "line")} could not be read`), "");
  }
  return `${lines.join("\n")}\n`;
}

/** The most that is shown of a tool's input and result. */
const MOST_OF_A_TOOL = 400;

function partText(part: MessagePart, paint: Paint): string {
  switch (part.type) {
    case "text":
      return printableLines(part.text);
    case "reasoning":
      return paint("dim", `(thinking) ${printableLines(part.text)}`);
    case "image":
    case "document":
      return paint("dim", `[${part.type}, ${shortened(part.mediaType)}]`);
    case "tool_call":
      return paint(
        "dim",
        `→ ${shortened(part.toolName)} ${shortened(json(part.input), MOST_OF_A_TOOL)}`,
      );
    case "tool_result":
      return paint("dim", `${part.isError ? "✗" : "←"} ${shortened(part.content, MOST_OF_A_TOOL)}`);
  }
}

/** Sessions named one by one; all are counted. */
const MOST_NAMED = 20;

/** What a sweep did, or would do. */
export function sweepText(sweep: Sweep, isDryRun: boolean, paint: Paint): string {
  const { seen, seenBytes, onHold, unreadable, swept, skipped, failed, missingBytes } = sweep;
  const bytes = swept.reduce((sum, session) => sum + session.bytes, 0);
  const lines = swept
    .slice(0, MOST_NAMED)
    .map(
      ({ sessionId, reason }) => `${shortened(sessionId, 36)}  ${paint("dim", REASONS[reason])}`,
    );
  if (swept.length > MOST_NAMED) lines.push(`and ${count(swept.length - MOST_NAMED)} more`);
  const did = isDryRun ? "would go" : "are gone";
  lines.push(
    `${countOf(seen, "session")} of ${size(seenBytes)}: ` +
      `${count(swept.length)} of ${size(bytes)} ${did}` +
      (onHold > 0 ? `, ${count(onHold)} on hold` : "") +
      (skipped > 0 ? `, ${count(skipped)} left for the next sweep` : "") +
      (failed > 0 ? `, ${count(failed)} could not be deleted` : "") +
      (missingBytes > 0 ? `, ${size(missingBytes)} of keepFree not to be had from sessions` : "") +
      (unreadable > 0 ? `, ${count(unreadable)} unreadable and left alone` : ""),
  );
  return `${lines.join("\n")}\n`;
}

/** What is told of sessions that are there and cannot be read. */
export function unreadableText(ids: readonly string[]): string {
  const named = ids.slice(0, MOST_NAMED).join(", ");
  const rest = ids.length > MOST_NAMED ? ` and ${count(ids.length - MOST_NAMED)} more` : "";
  return `${countOf(ids.length, "session")} could not be read: ${named}${rest}`;
}

const REASONS: Readonly<Record<Sweep["swept"][number]["reason"], string>> = {
  age: "older than retention.maxAge",
  idle: "no turn for longer than retention.maxIdle",
  tenant_sessions: "over retention.sessionsPerTenant",
  tenant_bytes: "over retention.bytesPerTenant",
  total_bytes: "over retention.maxBytes",
  disk: "less free than retention.keepFree",
};

function size(bytes: number): string {
  const mebibytes = bytes / MIB;
  return mebibytes >= 10 ? `${count(Math.round(mebibytes))} MiB` : `${mebibytes.toFixed(2)} MiB`;
}

function json(value: unknown): string {
  return JSON.stringify(value) ?? "";
}

function shortened(text: string, most = MOST_OF_A_NAME): string {
  const line = printable(text).replaceAll(/\s+/g, " ").trim();
  return line.length <= most ? line : `${line.slice(0, most - 1)}…`;
}

function printableLines(text: string): string {
  return text.split("\n").map(printable).join("\n");
}
