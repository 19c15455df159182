/**
 * The protocol of `plimsoll measure` as data: which steps there are, what each does, and how much of
 * it fits the agent, the model and the patience of whoever waits. Pure.
 *
 * @module
 */

import type { AgentDefinition } from "../../agent/definition.ts";
import { MIB } from "../../lib/byte-units.ts";

/** In the order in which they run. */
export const STEPS = {
  idle: "idle server",
  first: "first turn",
  steady: "steady turns, one at a time",
  bursts: "starts at once",
  sessions: "idle sessions",
  transcripts: "transcripts of growing size",
  tools: "tools",
} as const;

export type StepName = keyof typeof STEPS;
export const STEP_NAMES = Object.keys(STEPS) as readonly StepName[];

export interface Protocol {
  readonly isQuick: boolean;
  /** How long the scripted model streams an answer. */
  readonly answerMs: number;
  readonly steadyTurns: number;
  /**
   * Turns of one word, one at a time; and then as many at once as answered in full. 0 where no script
   * answers.
   */
  readonly shortTurns: number;
  /** How many turns are asked for at the same moment, one burst after the other. */
  readonly burstSizes: readonly number[];
  /** 0 where nothing is kept of a session. */
  readonly idleSessions: number;
  /** Bytes of the transcripts that are resumed, the shortest first. */
  readonly transcripts: readonly number[];
  readonly turnsPerTranscript: number;
  readonly turnsPerTool: number;
  /** About how long each step takes, on two cores. */
  readonly secondsOf: Readonly<Record<StepName, number>>;
  /** What is left out, and why; for people. */
  readonly notes: readonly string[];
}

/** A step that is cut short rests on less, but on the same. */
const FULL = {
  answerMs: 4_000,
  steadyTurns: 12,
  shortTurns: 4,
  burstSizes: [1, 2, 4, 8, 16],
  idleSessions: 1_000,
  transcripts: [0, MIB, 2 * MIB, 4 * MIB, 8 * MIB],
  turnsPerTranscript: 3,
  turnsPerTool: 2,
};
const QUICK = {
  answerMs: 1_500,
  steadyTurns: 7,
  shortTurns: 3,
  burstSizes: [1, 4, 8],
  idleSessions: 300,
  transcripts: [0, 2 * MIB, 6 * MIB],
  turnsPerTranscript: 2,
  turnsPerTool: 1,
};
/** Each turn costs money. */
const CLAUDE = { steadyTurns: 8, shortTurns: 0, burstSizes: [1, 2, 4], transcripts: [] };

/** How long a turn takes beside what the model streams. */
const TURN_OVERHEAD_SECONDS = 1.2;

/** Hosting patterns whose processes stay after a turn: that is a cost of another kind. */
const STAYING: readonly string[] = ["long-running", "single-container"];

/** Whether the protocol, which needs a process for each turn, fits the agent. */
export function canMeasure({ hosting }: Pick<AgentDefinition, "hosting">): boolean {
  return !STAYING.includes(hosting.pattern);
}

export function protocolFor(
  agent: Pick<AgentDefinition, "hosting" | "limits">,
  { isQuick, isClaude }: { readonly isQuick: boolean; readonly isClaude: boolean },
): Protocol {
  const chosen = { ...(isQuick ? QUICK : FULL), ...(isClaude && CLAUDE) };
  const isKept = agent.hosting.pattern !== "ephemeral";
  const { maxBytes } = agent.limits.transcript;
  const transcripts = isKept ? chosen.transcripts.filter((bytes) => bytes <= maxBytes) : [];
  const idleSessions = isKept ? chosen.idleSessions : 0;
  const notes = [
    ...(isKept ? [] : ["Sessions are ephemeral: nothing is resumed, and none is idle"]),
    ...(isClaude
      ? [
          "Long transcripts were not resumed: they would not fit Claude's context, and cost",
          "Which tools are called was Claude's choice",
        ]
      : []),
    ...(isQuick ? ["Quick: the figures rest on fewer and shorter turns"] : []),
  ];
  const turnSeconds = chosen.answerMs / 1_000 + TURN_OVERHEAD_SECONDS;
  const secondsOf = {
    idle: 5,
    first: turnSeconds,
    steady: chosen.steadyTurns * turnSeconds + chosen.shortTurns * TURN_OVERHEAD_SECONDS,
    bursts:
      chosen.burstSizes.reduce((sum, size) => sum + turnSeconds + size / 3, 0) +
      (chosen.shortTurns > 0 ? TURN_OVERHEAD_SECONDS + (chosen.burstSizes.at(-1) ?? 0) / 3 : 0),
    sessions: idleSessions === 0 ? 0 : 4 + idleSessions / 200,
    transcripts: (1 + transcripts.length * chosen.turnsPerTranscript) * turnSeconds,
    tools: isClaude ? 0 : chosen.turnsPerTool * turnSeconds,
  };
  return { ...chosen, isQuick, transcripts, idleSessions, secondsOf, notes };
}

/** What sets an end to the bursts. */
export type BurstBound = "memory" | "cpu" | "model";

export interface BurstFigures {
  readonly starts: number;
  /** By reason of the gate. */
  readonly shed: Readonly<Record<string, number>>;
  readonly modelTroubles: number;
  readonly firstTokenMs: readonly number[];
}

/** From here on starts stand in each other's way. */
const SLOW_START_RATIO = 4;
/** The gate's word for starts that would wait too long. */
const SHED_FOR_STARTS = "start";

/** What bound the last of these bursts; null if nothing did, and more can be tried. */
export function boundOf(bursts: readonly BurstFigures[]): BurstBound | null {
  const [first, last] = [bursts[0], bursts.at(-1)];
  if (first === undefined || last === undefined) return null;
  if (last.modelTroubles > 0) return "model";
  const reasons = Object.keys(last.shed);
  if (reasons.length > 0) return reasons.includes(SHED_FOR_STARTS) ? "cpu" : "memory";
  const alone = Math.min(...first.firstTokenMs);
  const slowest = Math.max(...last.firstTokenMs);
  return slowest > SLOW_START_RATIO * alone ? "cpu" : null;
}
