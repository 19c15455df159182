/**
 * One trial of `balloons`: turns stream, and another one balloons.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { agentsOf, type Kind } from "./balloon-agents.ts";
import { readCapacity, type Replica, type ReplicaRecord } from "./replica.ts";
import { askTurn, type TurnAnswer } from "./turn-client.ts";

const MIB = 2 ** 20;
export const LIMIT_BYTES = 2_048 * MIB;
/** Turns that stream while another one balloons. */
export const STREAMS = 4;
const CORES_OF_HOGS = 2;

/** What may be left above what the idle replica held before, of caches and fragments. */
const HEADROOM_SLACK_BYTES = 64 * MIB;
const HEADROOM_LIMIT_MS = 10_000;
/** After a balloon the gate may hold turns back for a while. */
const ADMIT_LIMIT_MS = 30_000;
const STREAMING_LIMIT_MS = 20_000;
const TURN_LIMIT_MS = 90_000;
const POLL_MS = 50;

export interface TrialPlan {
  readonly kind: Kind;
  readonly withHogs: boolean;
}

export interface Trial extends TrialPlan {
  readonly streams: readonly string[];
  readonly balloons: readonly TurnAnswer[];
  /** The turn whose tool blocks the server's main loop, where there is one. */
  readonly spinner: string | null;
  /** From the end of the last balloon's turn until what it took could be had again; null: not in time. */
  readonly headroomMs: number | null;
  readonly peakBytes: number;
}

export interface Contained extends ReplicaRecord {
  readonly label: string;
  readonly trials: readonly Trial[];
  readonly serverPid: number;
}

export interface TrialPlace {
  readonly at: number;
  readonly replica: Replica;
  readonly goFile: string;
}

export async function runTrial(
  { kind, withHogs }: TrialPlan,
  { at, replica, goFile }: TrialPlace,
): Promise<Trial> {
  const { server, group } = replica;
  const { url } = server;
  using _hogs = withHogs ? startHogs() : null;
  rmSync(goFile, { force: true });
  const before = group.read();
  let streaming = 0;
  const streams = Array.from({ length: STREAMS }, () =>
    untilAdmitted(url, "talker", "talk", () => (streaming += 1)),
  );
  await until(() => streaming >= STREAMS, STREAMING_LIMIT_MS);
  const growing = agentsOf(kind, at).map((name) => untilAdmitted(url, name, `balloon ${kind}`));
  const spinner = kind === "blocked loop" ? untilAdmitted(url, "spinner", "spin") : null;
  // The loop is to be blocked when the balloon grows: it waits for the file that the tool makes.
  if (spinner === null) writeFileSync(goFile, "");
  const balloons = await Promise.all(growing);
  const endedAtMs = performance.now();
  const outcomes = await Promise.all(streams);
  const spun = await spinner;
  const isBack = () => group.read().heldBytes <= before.heldBytes + HEADROOM_SLACK_BYTES;
  const wasBack = await until(async () => isBack() && (await isIdle(url)), HEADROOM_LIMIT_MS);
  const peak = group.readings.filter(({ atMs }) => atMs >= before.atMs);
  return {
    kind,
    withHogs,
    streams: outcomes.map(({ outcome }) => outcome),
    balloons,
    spinner: spun?.outcome ?? null,
    headroomMs: wasBack ? performance.now() - endedAtMs : null,
    peakBytes: Math.max(...peak.map(({ heldBytes }) => heldBytes)),
  };
}

async function isIdle(url: string): Promise<boolean> {
  const capacity = await readCapacity(url);
  return capacity?.inflight === 0;
}

export function ask(url: string, agentName: string, input: string, onText?: () => void) {
  const signal = AbortSignal.timeout(TURN_LIMIT_MS);
  return askTurn({ url, agentName, input, signal, ...(onText !== undefined && { onText }) });
}

/** Comes back when it is shed, as a client does. */
async function untilAdmitted(
  url: string,
  agentName: string,
  input: string,
  onFirstText: () => void = () => {},
): Promise<TurnAnswer> {
  const endAtMs = performance.now() + ADMIT_LIMIT_MS;
  let hasText = false;
  const onText = () => {
    if (!hasText) onFirstText();
    hasText = true;
  };
  for (;;) {
    const answer = await ask(url, agentName, input, onText);
    if (answer.shed === null || performance.now() > endAtMs) return answer;
    await delay(POLL_MS * 4);
  }
}

/** Whether it came true in time. */
async function until(isTrue: () => boolean | Promise<boolean>, limitMs: number): Promise<boolean> {
  const endAtMs = performance.now() + limitMs;
  while (performance.now() < endAtMs) {
    if (await isTrue()) return true;
    await delay(POLL_MS);
  }
  return false;
}

/** Busy loops, one a core, outside of the group. */
function startHogs(): Disposable {
  const hogs = Array.from({ length: CORES_OF_HOGS }, () =>
    spawn(process.execPath, ["-e", "for (;;);"], { stdio: "ignore" }),
  );
  return { [Symbol.dispose]: () => hogs.forEach((hog) => hog.kill("SIGKILL")) };
}

/** Whether a balloon was let go: its tool ended well, or its flood was read to the end. */
export function wasCarried(kind: Kind, { outcome, toolResults }: TurnAnswer): boolean {
  if (outcome !== "completed") return false;
  return kind === "flood" || toolResults.every(({ isError }) => !isError);
}

export function harmed({ streams, spinner }: Trial): number {
  const others = spinner === null ? streams : [...streams, spinner];
  return others.filter((outcome) => outcome !== "completed").length;
}
