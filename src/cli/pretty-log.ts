/**
 * The log for a person at a terminal: one short line an event, made from the JSON line that
 * everyone else gets. Nothing is added that is not in that line.
 *
 * @module
 */

import { printable } from "../lib/diagnostics.ts";
import type { LogDestination } from "../telemetry/log.ts";
import { count, dollars, mebibytes, seconds } from "../lib/figures.ts";
import { painter, type Paint } from "./paint.ts";

export function prettyLog(write: (text: string) => void, color: boolean): LogDestination {
  const paint = painter(color);
  return { write: (line) => write(prettyLine(line, paint)) };
}

/** The line with its newline; nothing for a line that the first screen has told already. */
export function prettyLine(line: string, paint: Paint): string {
  const fields = parsed(line);
  if (fields === null) return `${printable(line.trimEnd())}\n`;
  const { level, time, msg, ...rest } = fields;
  const message = text(msg);
  if (/^(Server listening|Listening)\b/.test(message)) return "";

  const isTurn = TURN_MESSAGE.test(message);
  const words = isTurn ? turnWords(message, rest) : [message, others(rest)];
  const warning = level === "info" ? "" : `${paint(styleOf(level), text(level))} `;
  const shown = words.filter((part) => part !== "").map(printable);
  return `${paint("dim", clock(time))} ${warning}${shown.join("  ")}\n${stackOf(rest)}`;
}

type Fields = Readonly<Record<string, unknown>>;

function parsed(line: string): Fields | null {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Fields) : null;
  } catch {
    return null;
  }
}

const TURN_MESSAGE = /^Turn (started|completed|cancelled|failed|reached a limit)$/;

function turnWords(message: string, fields: Fields): string[] {
  const { agent, durationMs, firstTokenMs, outputTokens, costUsd, peakBytes } = fields;
  const why = [fields["code"], fields["limit"], fields["cause"]].map(text);
  const figures = [
    ...why,
    figure(durationMs, seconds),
    figure(firstTokenMs, (timeMs) => `first token ${seconds(timeMs)}`),
    figure(outputTokens, (tokens) => `${count(tokens)} tokens out`),
    figure(costUsd, dollars),
    figure(peakBytes, mebibytes),
  ];
  const told = [message.toLowerCase().padEnd("turn completed".length), text(agent)];
  const diagnosis = message === "Turn failed" ? others(pick(fields, DIAGNOSIS)) : "";
  return [...told, figures.filter((part) => part !== "").join(", "), diagnosis];
}

/** What a failed turn's line carries beside the figures. */
const DIAGNOSIS = ["exit", "posture", "providerAnswer", "err", "stderrTail", "turnId"];

function figure(value: unknown, format: (number: number) => string): string {
  return typeof value === "number" ? format(value) : "";
}

function others(fields: Fields): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => `${name}=${valueText(value)}`)
    .join(" ");
}

function valueText(value: unknown): string {
  if (typeof value === "string" && /^[^\s"=]+$/.test(value)) return value;
  return JSON.stringify(value, (key, inner: unknown) => (key === "stack" ? undefined : inner));
}

function stackOf({ err }: Fields): string {
  const stack = (err as { stack?: unknown } | undefined)?.stack;
  if (typeof stack !== "string") return "";
  const lines = stack.split("\n").map((each) => `    ${printable(each.trim())}`);
  return `${lines.join("\n")}\n`;
}

function pick(fields: Fields, names: readonly string[]): Fields {
  return Object.fromEntries(names.map((name) => [name, fields[name]]));
}

function styleOf(level: unknown): Parameters<Paint>[0] {
  if (level === "error" || level === "fatal") return "red";
  return level === "warn" ? "yellow" : "dim";
}

/** Time of day where the person sits. */
function clock(time: unknown): string {
  const date = new Date(text(time));
  return Number.isNaN(date.getTime()) ? "--:--:--" : date.toTimeString().slice(0, 8);
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
