/**
 * What the hull shows, in words: for the headline, and for who does not see the picture. Pure.
 *
 * @module
 */

import type { FeedDecision, FeedTurn } from "../../../src/protocol/feed.ts";
import type { Capacity, CapacityEvent } from "../feed/capacity.ts";
import { bytesText, clockText, countText, durationText } from "../ui/format.ts";
import { nowText, outcomeText } from "../ui/stages.ts";
import type { Cargo, TurnCargo } from "./cargo.ts";

/** e.g. `7 turns in flight, 5 more fit`. */
export function headlineText({ inflight, turnsThatFit, draining }: Capacity): string {
  const turns = inflight === 0 ? "No turn in flight" : `${countText(inflight, "turn")} in flight`;
  const moreFit = turnsThatFit - inflight;
  const more = inflight === 0 ? "" : " more";
  if (draining) return `${turns}, and none are taken`;
  if (moreFit <= 0) return `${turns}: full`;
  return `${turns}, ${moreFit.toLocaleString("en")}${more} ${moreFit === 1 ? "fits" : "fit"}`;
}

/** How recent a failure must be to say what breaks. */
const MODEL_WINDOW_MS = 300_000;
const MODEL_FAILURES = new Set(["model_rate_limited", "model_overloaded", "model_unavailable"]);

/** How recent a refusal must be to speak of it as of now. */
const SHED_WINDOW_MS = 30_000;

/** The last decision to shed, if it was a moment ago. */
function freshShed(decisions: readonly FeedDecision[], nowMs: number): FeedDecision | undefined {
  return decisions.find(({ admitted, atMs }) => !admitted && nowMs - atMs < SHED_WINDOW_MS);
}

/** Of a refusal, for whoever sees that more would fit. */
const SHED_WHY: Readonly<Record<string, string>> = {
  start: "starts wait for a CPU",
  share: "others were to have their share",
  pressure: "memory was short",
  max_turns: "the ceiling was reached",
};

/** Whether a turn that comes now is taken, as far as can be told. */
export function takesText(
  { capacity, readiness }: CapacityEvent,
  decisions: readonly FeedDecision[],
  nowMs: number,
): string {
  if (readiness.state !== "ready") return readiness.reason;
  if (capacity.pressure !== null) return `Only a first turn is admitted: ${capacity.pressure}.`;
  const moreFit = capacity.turnsThatFit - capacity.inflight;
  if (moreFit <= 0) return "The next turn would cross the load line: it is shed with 429.";
  const shed = freshShed(decisions, nowMs);
  if (shed === undefined) {
    return `A turn that comes now is admitted, as were ${countText(capacity.admitted, "turn")} since the start.`;
  }
  const why = SHED_WHY[shed.reason ?? ""] ?? "it did not fit";
  return `Memory has room for ${countText(moreFit, "turn")} more. One was shed ${durationText(Math.max(0, nowMs - shed.atMs))} ago: ${why}.`;
}

/** What sets how many turns there can be now, and what would break first. */
export function bindsText(
  capacity: Capacity,
  ended: readonly FeedTurn[],
  decisions: readonly FeedDecision[],
  nowMs: number,
): { readonly what: "memory" | "CPU" | "model" | "ceiling"; readonly text: string } {
  const failed = ended.filter(
    ({ outcome, endedAtMs }) =>
      MODEL_FAILURES.has(outcome?.detail ?? "") && nowMs - (endedAtMs ?? 0) < MODEL_WINDOW_MS,
  ).length;
  if (failed > 0) {
    const text = `${countText(failed, "turn")} of the last 5 minutes failed because the model refused or was overloaded.`;
    return { what: "model", text };
  }
  const { binds, cpu, turnsThatFit, maxTurns } = capacity;
  if (freshShed(decisions, nowMs)?.reason === "start") {
    const waiting = countText(cpu.startsWaiting, "turn");
    const text = `Turns are shed because starts wait for a CPU: ${waiting} before them now.`;
    return { what: "CPU", text };
  }
  const fit = countText(turnsThatFit, "turn");
  if (binds === "maxTurns") {
    return { what: "ceiling", text: `capacity.maxTurns is ${maxTurns}; memory would carry it.` };
  }
  const cpuTurns = cpu.turnsThatFit;
  if (binds === "cpu" && cpuTurns !== null) {
    const text = `${countText(cpu.cpus, "CPU")} ${cpu.cpus === 1 ? "serves" : "serve"} ${countText(cpuTurns, "turn")} well; memory carries ${turnsThatFit}.`;
    return { what: "CPU", text };
  }
  const rest = cpuTurns === null ? "" : `; the CPUs would serve ${cpuTurns}`;
  return {
    what: "memory",
    text: `${fit} ${turnsThatFit === 1 ? "fits" : "fit"} below the load line${rest}.`,
  };
}

const GUARD_WORDS = ["at rest", "memory gets short", "memory is short", "memory runs out"];

export function guardText({ guard }: Capacity): { readonly word: string; readonly text: string } {
  return { word: GUARD_WORDS[guard.level] ?? "off", text: `${guard.text}.` };
}

export function readinessText({ readiness, capacity }: CapacityEvent): string {
  if (readiness.state !== "ready") return readiness.state;
  return capacity.turnsThatFit > capacity.inflight ? "ready" : "full";
}

/** e.g. `1,204 idle sessions`; null where their number is not known. */
export function idleText({ sessions }: CapacityEvent): string | null {
  // Another replica may be of a version that does not tell.
  const idle = sessions?.idle ?? null;
  return idle === null ? null : countText(idle, "idle session");
}

/** What they take, and how well it is known. */
export function idleNote({ sessions }: CapacityEvent): string {
  const { transcriptBytes, countedAtMs, isShared } = sessions ?? {};
  if (transcriptBytes == null || countedAtMs == null) return "not counted yet";
  const place = isShared ? `the store, counted at ${clockText(countedAtMs)}` : "the disk";
  return `no process; transcripts take ${bytesText(transcriptBytes)} of ${place}`;
}

/** The whole picture in a few sentences. */
export function cargoText(cargo: Cargo, event: CapacityEvent): string {
  const { capacity } = event;
  const parts = [
    `server ${bytesText(cargo.serverBytes)}`,
    ...(cargo.restingBytes > 0 ? [`sessions at rest ${bytesText(cargo.restingBytes)}`] : []),
    ...(cargo.keptBytes > 0 ? [`residents and spares ${bytesText(cargo.keptBytes)}`] : []),
    `${countText(cargo.turns.length, "turn")} ${bytesText(weightBytes(cargo))}`,
    `pool ${bytesText(cargo.poolBytes)}`,
  ];
  return (
    `Memory of the replica as the hull of a ship. ${headlineText(capacity)}. ` +
    `Committed are ${bytesText(cargo.committedBytes)} (${parts.join(", ")}). ` +
    `The load line is at ${bytesText(cargo.loadLineBytes)}, the limit at ${bytesText(cargo.limitBytes)}; ` +
    `${bytesText(cargo.headroomBytes)} are left before the line. ` +
    `${idleText(event) ?? "Idle sessions"}: ${idleNote(event)}.`
  );
}

/** A turn in one line, e.g. for its box: `hello, writes, 4.2 s; holds 128 MiB of 139 MiB predicted`. */
export function turnText(
  { turn, heldBytes, predictedBytes, isClosing }: TurnCargo,
  nowMs: number,
): string {
  const held = heldBytes === null ? "not measured yet" : `holds ${bytesText(heldBytes)}`;
  const size = predictedBytes > 0 ? `${held}, predicted ${bytesText(predictedBytes)}` : held;
  if (turn === null) return `Turn; ${size}`;
  const stage = isClosing ? outcomeText(turn) || "its processes end" : nowText(turn);
  const ageMs = Math.max(0, nowMs - turn.startedAtMs);
  return `Turn of ${turn.agent}, ${stage}, ${durationText(ageMs)}; ${size}`;
}

export function weightBytes({ turns }: Cargo): number {
  return turns.reduce((sum, turn) => sum + turn.weightBytes, 0);
}
