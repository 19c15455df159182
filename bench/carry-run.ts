/**
 * One run of `carry`: turns offered to a replica for a time, and what came of it.
 *
 * @module
 */

import { join } from "node:path";
import type { GroupReading } from "./memory-group.ts";
import type { RunningModel } from "./processes.ts";
import type { ReplicaImage } from "./replica-image.ts";
import { withReplica, type ReplicaRecord } from "./replica.ts";
import { summaryOf, type Summary } from "./statistics.ts";
import {
  inFlightOver,
  offerTurns,
  sampled,
  stalledSeconds,
  streamingOver,
  tally,
  type Offered,
  type Progress,
  type Step,
} from "./turn-load.ts";

const WORDS_PER_SECOND = 25;
/** Of answers that take 8, 9 and 10 seconds to stream. */
const WORDS = [200, 225, 250];
/** Far more than any replica here can carry. */
const OFFERED_PER_SECOND = 8;
export const SAMPLE_MS = 250;
export const SHED_RATIO = 0.01;

const RULES = WORDS.map((words) => ({
  when: { userText: `say ${words} words` },
  reply: [{ tokens: words }],
}));
export const SCRIPT = {
  defaults: { firstTokenMs: 200, tokensPerSecond: WORDS_PER_SECOND },
  rules: [...RULES, { tokensPerSecond: 1_000, reply: [{ tokens: 10 }] }],
};
export const AGENT = `
name: talker
model:
  provider: anthropic
instructions: Talk.
`;

export interface Limit {
  readonly limitBytes: number;
  /** Turns that were promised, and those of the formula. */
  readonly target: number;
  readonly formula: number;
}

export interface Run extends ReplicaRecord, Offered {
  /** Turns whose agent process was there, from when on they count. */
  readonly held: Summary;
  /** Those that were admitted and had not ended: some may wait for the start of their process. */
  readonly inFlight: Summary;
  /** Those that had text already. */
  readonly streaming: Summary;
  readonly endings: Readonly<Record<string, number>>;
  readonly sheds: Readonly<Record<string, number>>;
  readonly stalledSeconds: number;
  readonly firstTextMs: Summary;
  /** Whether the run was broken off because nothing went on. */
  readonly wasStuck: boolean;
}

export interface Probe {
  readonly turns: number;
  /** As many as were in flight in the second half of the time: the median, or most if it failed. */
  readonly reached: number;
  /** What went wrong; null if it was carried. */
  readonly failure: string | null;
}

export interface Carried {
  readonly limit: Limit;
  readonly measured: Run;
  readonly restarted: Run;
  readonly formula: Run;
  readonly probes: readonly Probe[];
  /** Most turns that the machine was seen to carry, gate or not. */
  readonly physical: number;
  /** Whether it was the CPU, and not the memory, that ended the search for more. */
  readonly isCpuBound: boolean;
}

export interface Place {
  readonly directory: string;
  readonly agentFile: string;
  readonly image: ReplicaImage;
  readonly model: RunningModel;
  readonly report: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface OfferInput {
  readonly limit: Limit;
  readonly place: Place;
  readonly data: string;
  readonly args: readonly string[];
  readonly durationMs: number;
  readonly settledMs: number;
  /** Ends the run as soon as the replica is beyond help. */
  readonly isProbe?: true;
}

export async function runOffer(input: OfferInput): Promise<Run> {
  const { limit, place, data, args, durationMs, settledMs, isProbe } = input;
  const { directory, agentFile, image, model, signal } = place;
  const options = {
    limitBytes: limit.limitBytes,
    image,
    agentFile,
    dataDirectory: join(directory, data),
    environment: model.environment,
    args,
    logFile: join(directory, `${data}.log`),
  };
  let wasStuck = false;
  const record = await withReplica(options, async ({ server, group }) => {
    const isDead = () => server.exit() !== null || group.oomKills.length > 0;
    return offerTurns(
      {
        url: server.url,
        agentName: "talker",
        ratePerSecond: OFFERED_PER_SECOND,
        durationMs,
        input: (at) => `Please say ${WORDS[at % WORDS.length]} words`,
        isOver: (progress) => {
          wasStuck ||= isProbe === true && isStuck(progress);
          return wasStuck || (isProbe === true && isDead());
        },
      },
      signal,
    );
  });
  const { beganAtMs, untilMs, answers } = record;
  const within = { fromMs: beganAtMs + settledMs, toMs: untilMs, everyMs: SAMPLE_MS };
  const admitted = answers.filter(({ startedAtMs }) => startedAtMs !== null);
  const firstTextMs = admitted.flatMap(({ askedAtMs, textAtMs }) =>
    textAtMs[0] === undefined ? [] : [textAtMs[0] - askedAtMs],
  );
  const lastMs = Math.max(untilMs, ...admitted.map(({ endedAtMs }) => endedAtMs));
  return {
    ...record,
    held: summaryOf(sampled(heldOver(record.readings), within)),
    inFlight: summaryOf(sampled(inFlightOver(answers), within)),
    streaming: summaryOf(sampled(streamingOver(answers), within)),
    endings: tally(admitted.map(({ outcome }) => outcome)),
    sheds: tally(answers.flatMap(({ shed }) => (shed === null ? [] : [shed]))),
    stalledSeconds: stalledSeconds(answers, beganAtMs, lastMs),
    firstTextMs: summaryOf(firstTextMs),
    wasStuck,
  };
}

/** All processes of the group but the server: no turn of this benchmark has a tool. */
export function heldOver(readings: readonly GroupReading[]): Step[] {
  return readings.map(({ atMs, processes }) => ({ atMs, value: Math.max(0, processes - 1) }));
}

const STUCK_MS = 15_000;

function isStuck({ inFlight, lastTextAtMs }: Progress): boolean {
  return inFlight > 0 && lastTextAtMs !== null && performance.now() - lastTextAtMs > STUCK_MS;
}

export function failureOf(run: Run): string | null {
  const { exit, oomKills, endings, stalledSeconds: stalled, wasStuck } = run;
  // Of a run that was broken off, we left the turns, and not they us.
  const lost = Object.entries(endings).filter(
    ([end]) => end !== "completed" && !(wasStuck && end === "left"),
  );
  const faults = [
    ...(exit === null ? [] : [`the server ended (${exit.signal ?? exit.code})`]),
    ...(oomKills.length === 0 ? [] : [`${oomKills.length} killed by the kernel`]),
    ...(stalled === 0 ? [] : [`${stalled} s of livelock`]),
    ...(wasStuck ? [`no text at all for ${STUCK_MS / 1_000} s`] : []),
    ...lost.map(([end, turns]) => `${turns} turns lost (${end})`),
  ];
  return faults.length === 0 ? null : faults.join(", ");
}
