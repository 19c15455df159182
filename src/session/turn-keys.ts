/**
 * The keys of the last turns of a session, as they stand in its record: which requests have run, and
 * what came of them, so that no replica runs one twice. Pure.
 *
 * @module
 */

import { z } from "zod";
import { KIB } from "../lib/byte-units.ts";
import { AppError, ERRORS, type ErrorCode } from "../lib/errors.ts";
import type { TurnKey, TurnOutcome } from "../turn/turn.ts";

const KEY_LIMITS = {
  /** Turns whose keys are remembered; beyond it the oldest is forgotten. */
  keys: 16,
  /** Bytes of the final text, and of the structured output, that are kept of one turn. */
  answerBytes: 16 * KIB,
  /**
   * Bytes that are kept of all turns: records are read whole, and by the thousand. The newest are
   * kept.
   */
  allAnswersBytes: 64 * KIB,
} as const;

const count = z.number().nonnegative();
const ModelUsage = z.object({
  model: z.string(),
  inputTokens: count,
  outputTokens: count,
  cacheReadTokens: count,
  cacheWriteTokens: count,
  costUsd: z.number(),
});
const Usage = ModelUsage.omit({ model: true }).extend({
  steps: count,
  durationMs: count,
  firstTokenMs: count.nullable(),
  byModel: z.array(ModelUsage).readonly(),
});

/** A code of a later version is none that this one can speak of. */
const Code = z.string().transform((code) => (Object.hasOwn(ERRORS, code) ? code : "internal"));

/** A turn's outcome without its text. */
const Outcome = z.discriminatedUnion("status", [
  z.object({
    status: z.literal("completed"),
    usage: Usage,
    stopReason: z.string(),
    structuredOutput: z.unknown().optional(),
  }),
  z.object({
    status: z.literal("limit_reached"),
    usage: Usage,
    limit: z.enum(["steps", "budget"]),
  }),
  z.object({
    status: z.literal("cancelled"),
    usage: Usage,
    cause: z.enum(["client_gone", "cancel_requested", "draining"]),
  }),
  z.object({ status: z.literal("failed"), usage: Usage, code: Code, message: z.string() }),
]);

export const KeptTurn = z.object({
  /** The hashes of the key and of what was asked, as in {@link TurnKey}. */
  hash: z.string(),
  inputHash: z.string(),
  turnId: z.string(),
  startedAtMs: count,
  /** Absent while the turn runs, and for ever if its server ended first. */
  end: z
    .object({
      outcome: Outcome,
      /** What its last message said. */
      text: z.string(),
      messageId: z.string(),
      /** Not all of the answer is here. */
      isCut: z.literal(true).optional(),
    })
    .optional(),
});
export type KeptTurn = Readonly<z.infer<typeof KeptTurn>>;
type KeptEnd = NonNullable<KeptTurn["end"]>;

/** What there is to keep of a turn that has ended. */
export interface TurnAnswer {
  readonly outcome: TurnOutcome;
  readonly text: string;
  readonly messageId: string;
  /** Whether anything was asked of the model. */
  readonly hasRun: boolean;
}

export function keptTurnOf(
  turns: readonly KeptTurn[] | undefined,
  { hash }: Pick<TurnKey, "hash">,
): KeptTurn | undefined {
  return turns?.find((turn) => turn.hash === hash);
}

/** @throws {AppError} `session_busy` when the turn of the key began elsewhere a moment ago. */
export function mustNotHaveBegun(
  turns: readonly KeptTurn[] | undefined,
  key: Pick<TurnKey, "hash">,
): void {
  if (keptTurnOf(turns, key) === undefined) return;
  throw new AppError("session_busy", "Cannot start the turn: another replica has just taken it");
}

/** With a turn that is about to run. */
export function withBegun(
  turns: readonly KeptTurn[] | undefined,
  begun: Omit<KeptTurn, "end">,
): KeptTurn[] {
  return [begun, ...(turns ?? [])].slice(0, KEY_LIMITS.keys);
}

/**
 * With what came of a turn. One of which nothing has run is forgotten, so that it can be asked for
 * again; one that a drain has cut off stays as it is: begun, without an end.
 */
export function withEnded(
  turns: readonly KeptTurn[] | undefined,
  { hash }: Pick<TurnKey, "hash">,
  answer: TurnAnswer,
): KeptTurn[] {
  const others = withoutKey(turns, { hash });
  const own = keptTurnOf(turns, { hash });
  if (own === undefined || !answer.hasRun) return others;
  if (isCutOff(answer.outcome)) return [...(turns ?? [])];
  return withinLimit([{ ...own, end: endOf(answer) }, ...others]);
}

/** Whether the server ended the turn for its own sake: what it said so far answers nobody. */
export function isCutOff(outcome: TurnOutcome): boolean {
  return outcome.status === "cancelled" && outcome.cause === "draining";
}

/** Without the turn of that key. */
export function withoutKey(
  turns: readonly KeptTurn[] | undefined,
  { hash }: Pick<TurnKey, "hash">,
): KeptTurn[] {
  return (turns ?? []).filter((turn) => turn.hash !== hash);
}

function endOf({ outcome, text, messageId }: TurnAnswer): KeptEnd {
  const kept = cutText(text);
  const rest = withoutAnswer(outcome);
  if (outcome.status !== "completed") return { outcome: rest, text: kept, messageId };
  const output = outcome.structuredOutput;
  const hasOutput = output !== undefined;
  const fits = !hasOutput || bytesOf(JSON.stringify(output)) <= KEY_LIMITS.answerBytes;
  return {
    outcome: hasOutput && fits ? Object.assign(rest, { structuredOutput: output }) : rest,
    text: kept,
    messageId,
    ...((kept !== text || !fits) && { isCut: true }),
  };
}

function withoutAnswer(outcome: TurnOutcome): KeptEnd["outcome"] {
  if (outcome.status !== "completed") return outcome;
  const { status, usage, stopReason } = outcome;
  return { status, usage, stopReason };
}

/** The newest first; what they said goes, beginning with the oldest, but never that they ran. */
function withinLimit(turns: readonly KeptTurn[]): KeptTurn[] {
  let left: number = KEY_LIMITS.allAnswersBytes;
  return turns.map((turn) => {
    if (turn.end === undefined) return turn;
    left -= bytesOf(JSON.stringify(turn.end));
    if (left >= 0) return turn;
    const { outcome, messageId } = turn.end;
    const rest =
      outcome.status === "completed" ? { ...outcome, structuredOutput: undefined } : outcome;
    return { ...turn, end: { outcome: rest, text: "", messageId, isCut: true } };
  });
}

/** At most so many bytes of it, and no half characters. */
function cutText(text: string): string {
  if (bytesOf(text) <= KEY_LIMITS.answerBytes) return text;
  const bytes = Buffer.from(text).subarray(0, KEY_LIMITS.answerBytes);
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes, { stream: true });
}

function bytesOf(text: string): number {
  return Buffer.byteLength(text);
}

/** The outcome with its answer again. */
export function outcomeOfKept({ outcome, text }: KeptEnd): TurnOutcome {
  if (outcome.status === "failed") return { ...outcome, code: outcome.code as ErrorCode };
  return outcome.status === "completed" ? { ...outcome, text } : outcome;
}
