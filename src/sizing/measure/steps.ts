/**
 * What each step of the protocol does with the server: it acts, and hands over figures.
 *
 * @module
 */

import { stat } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { AppError } from "../../lib/errors.ts";
import { monotonicMs } from "../../lib/monotonic-clock.ts";
import { median } from "../statistics.ts";
import { lengthenTranscript, transcriptPathOf } from "./long-transcript.ts";
import { makeSessions, readRealTranscript } from "./made-sessions.ts";
import type { LoggedTurn, MeasuredServer, Sample } from "./measured-server.ts";
import { boundOf, type Protocol, type StepName } from "./protocol.ts";
import { isHarmless, PLAIN_INPUT, SHORT_INPUT, toolInput } from "./rehearsal-script.ts";
import { type Burst, largestWhole, type LoneTurn, type StepResults, type Turn } from "./results.ts";

export interface StepDeps {
  readonly server: MeasuredServer;
  readonly agentName: string;
  readonly protocol: Protocol;
  /** Whether the agent keeps its sessions. */
  readonly isKept: boolean;
  /** Tools that the scripted model has been told of so far, as it was told; null with Claude. */
  readonly toolNames: (() => readonly string[]) | null;
  /** Whether tools may be called that could leave a trace. */
  readonly mayCallAll: boolean;
  /** Told how far the step is. */
  readonly onTurn: (done: number, of: number) => void;
  readonly signal: AbortSignal;
}

/** What a garbage collection or a late timer needs to be over. */
const SETTLE_MS = 1_500;
const REST_LOOKS = 5;
const REST_LOOK_PAUSE_MS = 100;
const STEADY_LOOK_PAUSE_MS = 250;
const BURST_LOOK_PAUSE_MS = 100;
const GONE_LIMIT_MS = 10_000;

export const STEP_ACTIONS: {
  readonly [Name in StepName]: (deps: StepDeps) => Promise<StepResults[Name]>;
} = {
  idle: lookAtIdle,
  first: runFirst,
  steady: runSteady,
  bursts: runBursts,
  sessions: openSessions,
  transcripts: resumeTranscripts,
  tools: callTools,
};

async function lookAtIdle({ server }: StepDeps): Promise<StepResults["idle"]> {
  const [rest, { parentGrowthBytes }] = [await lookAtRest(server), await server.capacity()];
  const { peakBytes: startPeakBytes, cpuMs: startCpuMs } = server.start;
  // Spares are no part of the server.
  const usedBytes = (rest.usedBytes ?? rest.serverBytes + rest.agentsBytes) - rest.agentsBytes;
  const held = { usedBytes: Math.max(usedBytes, rest.serverBytes) };
  const parts = { ...server.parts(), heap: await server.heap() };
  return { ...held, growthBytes: parentGrowthBytes, ...parts, startPeakBytes, startCpuMs };
}

async function runFirst(deps: StepDeps): Promise<StepResults["first"]> {
  const work = loneTurn(deps, PLAIN_INPUT);
  const { result, samples } = await deps.server.lookWhile(work, STEADY_LOOK_PAUSE_MS);
  return { ...result, mappedFileBytes: Math.max(0, ...samples.map((each) => each.mappedBytes)) };
}

/** The middle of a few looks, once it has come to rest. */
async function lookAtRest(server: MeasuredServer): Promise<Sample> {
  await delay(SETTLE_MS);
  const looks: Sample[] = [];
  for (let look = 0; look < REST_LOOKS; look += 1) {
    looks.push(server.look());
    await delay(REST_LOOK_PAUSE_MS);
  }
  const middle = (of: (sample: Sample) => number) => median(looks.map(of));
  return {
    serverBytes: middle(({ serverBytes }) => serverBytes),
    agentsBytes: middle(({ agentsBytes }) => agentsBytes),
    agents: middle(({ agents }) => agents),
    usedBytes: looks[0]?.usedBytes == null ? null : middle(({ usedBytes }) => usedBytes ?? 0),
    mappedBytes: middle(({ mappedBytes }) => mappedBytes),
  };
}

/** @param sessionId To go on with; a new session without it. */
async function loneTurn(deps: StepDeps, input: string, sessionId?: string): Promise<LoneTurn> {
  const { server, isKept } = deps;
  const sizeOf = async (id: string) =>
    isKept ? (await stat(transcriptPathOf(server.dataDirectory, id))).size : 0;
  const storedBytes = sessionId === undefined ? 0 : await sizeOf(sessionId);
  const before = server.cpu();
  const answer = await server.ask(input, sessionId);
  const turn = completed(answer, storedBytes + input.length);
  const after = server.cpu();
  return {
    ...turn,
    cpuMs: after.endedMs - before.endedMs,
    serverCpuMs: after.ownMs - before.ownMs,
    transcriptBytes: await sizeOf(answer.sessionId),
  };
}

/** @throws {AppError} `measure_failed` for a turn that did not complete. */
function completed(answer: LoggedTurn, carriedBytes: number): Turn {
  const turn = turnOf(answer, carriedBytes);
  if (turn !== null) return turn;
  const { status, code, reason, peakBytes } = answer;
  const isUntold = status === "completed" && peakBytes === null;
  const what = isUntold ? "the memory of a turn cannot be read" : `a turn ended as ${status}`;
  const why = [code, reason].filter((each) => each !== null && each !== "").join(": ");
  throw new AppError(
    "measure_failed",
    `Cannot measure: ${what}${why === "" ? "" : ` (${why})`}; every turn has to complete`,
  );
}

function turnOf({ status, peakBytes, ...rest }: LoggedTurn, carriedBytes: number): Turn | null {
  if (status !== "completed" || peakBytes === null || peakBytes === 0) return null;
  const { firstTokenMs, durationMs } = rest;
  return { carriedBytes, peakBytes, firstTokenMs, durationMs, atMs: Date.now() };
}

async function runSteady(deps: StepDeps): Promise<StepResults["steady"]> {
  const { server, protocol, onTurn } = deps;
  const turns: LoneTurn[] = [];
  let mappedFileBytes = 0;
  for (let at = 0; at < protocol.steadyTurns; at += 1) {
    const work = loneTurn(deps, PLAIN_INPUT);
    const { result, samples } = await server.lookWhile(work, STEADY_LOOK_PAUSE_MS);
    turns.push(result);
    mappedFileBytes = Math.max(mappedFileBytes, ...samples.map(({ mappedBytes }) => mappedBytes));
    onTurn(at + 1, protocol.steadyTurns);
  }
  const short: LoneTurn[] = [];
  while (short.length < protocol.shortTurns) short.push(await loneTurn(deps, SHORT_INPUT));
  return { turns, short, mappedFileBytes };
}

async function runBursts(deps: StepDeps): Promise<StepResults["bursts"]> {
  const { burstSizes } = deps.protocol;
  const bursts: Burst[] = [];
  let mappedFileBytes = 0;
  for (const [at, starts] of burstSizes.entries()) {
    const { burst, mappedBytes } = await runBurst(deps, starts);
    bursts.push(burst);
    mappedFileBytes = Math.max(mappedFileBytes, mappedBytes);
    deps.onTurn(at + 1, burstSizes.length);
    if (boundOf(bursts) !== null) break;
  }
  const most = largestWhole(bursts);
  const isShort = deps.protocol.shortTurns > 0 && most !== undefined;
  const short = isShort ? (await runBurst(deps, most.starts, SHORT_INPUT)).burst : null;
  return { bursts, short, bound: boundOf(bursts), mappedFileBytes };
}

async function runBurst({ server }: StepDeps, starts: number, input = PLAIN_INPUT) {
  await untilAlone(server);
  const [before, cpuBefore, beganAtMs] = [server.look(), server.cpu(), monotonicMs()];
  const asked = Promise.all(Array.from({ length: starts }, () => server.ask(input)));
  const { result: answers, samples } = await server.lookWhile(asked, BURST_LOOK_PAUSE_MS);
  const lastedMs = monotonicMs() - beganAtMs;
  const cpuAfter = server.cpu();
  const shed: Record<string, number> = {};
  for (const { shed: reason } of answers) {
    if (reason !== null) shed[reason] = (shed[reason] ?? 0) + 1;
  }
  const together = samples.filter(({ agents }) => agents === starts);
  const burst: Burst = {
    starts,
    turns: answers.flatMap((answer) => turnOf(answer, input.length) ?? []),
    firstTokenMs: answers.flatMap(({ firstTokenMs }) => firstTokenMs ?? []),
    shed,
    modelTroubles: answers.filter(isModelTrouble).length,
    lastedMs,
    cpuMs: cpuAfter.endedMs - cpuBefore.endedMs,
    serverCpuMs: cpuAfter.ownMs - cpuBefore.ownMs,
    peakBytes: Math.max(0, ...samples.map(({ agentsBytes }) => agentsBytes)),
    inflightTurnBytes:
      together.length === 0
        ? null
        : median(together.map((sample) => besideTurns(sample, before) / starts)),
  };
  return { burst, mappedBytes: Math.max(0, ...samples.map(({ mappedBytes }) => mappedBytes)) };
}

function isModelTrouble({ modelRetries, code }: LoggedTurn): boolean {
  return modelRetries > 0 || (code?.startsWith("model_") ?? false);
}

/** What there is more now than before, and is not held by the turns' own processes. */
function besideTurns(now: Sample, before: Sample): number {
  const heldBeside = ({ usedBytes, serverBytes, agentsBytes }: Sample) =>
    usedBytes === null ? serverBytes : usedBytes - agentsBytes;
  return Math.max(0, heldBeside(now) - heldBeside(before));
}

/**
 * Waits until there are no processes: of a turn that has ended they are gone, of one that was refused
 * there may be some.
 */
async function untilAlone(server: MeasuredServer): Promise<void> {
  const limitMs = monotonicMs() + GONE_LIMIT_MS;
  while (server.look().agents > 0 && monotonicMs() < limitMs) await delay(BURST_LOOK_PAUSE_MS);
}

async function openSessions(deps: StepDeps): Promise<StepResults["sessions"]> {
  const { server, agentName, protocol, signal } = deps;
  const { idleSessions: count } = protocol;
  if (count === 0) return { sessions: 0, beforeBytes: 0, afterBytes: 0 };
  const { dataDirectory } = server;
  // There may be none yet, in a run that was resumed; and what a list needs once is no cost of these.
  await loneTurn(deps, PLAIN_INPUT);
  await server.listSessions(1);
  const { serverBytes: beforeBytes } = await lookAtRest(server);
  const transcript = await readRealTranscript(dataDirectory);
  await makeSessions({ dataDirectory, agentName, count, transcript }, signal);
  await server.listSessions(count);
  const { serverBytes: afterBytes } = await lookAtRest(server);
  return { sessions: count, beforeBytes, afterBytes };
}

/** All in one session, whose transcript is made longer on the way. */
async function resumeTranscripts(deps: StepDeps): Promise<StepResults["transcripts"]> {
  const { server, protocol, onTurn } = deps;
  const { transcripts, turnsPerTranscript } = protocol;
  const turns: LoneTurn[] = [];
  if (transcripts.length === 0) return { turns };
  const { sessionId } = await server.ask(PLAIN_INPUT);
  const file = transcriptPathOf(server.dataDirectory, sessionId);
  for (const bytes of transcripts) {
    lengthenTranscript(file, bytes);
    for (let at = 0; at < turnsPerTranscript; at += 1) {
      turns.push(await loneTurn(deps, PLAIN_INPUT, sessionId));
      onTurn(turns.length, transcripts.length * turnsPerTranscript);
    }
  }
  return { turns };
}

async function callTools(deps: StepDeps): Promise<StepResults["tools"]> {
  const { protocol, toolNames, mayCallAll, onTurn } = deps;
  if (toolNames === null) return { tools: [], notCalled: [] };
  // In a run that was resumed nobody has been told anything yet.
  if (toolNames().length === 0) await loneTurn(deps, PLAIN_INPUT);
  const names = toolNames().filter((name) => name !== "StructuredOutput");
  const called = names.filter((name) => mayCallAll || isHarmless(name));
  const tools: { name: string; turns: LoneTurn[] }[] = [];
  for (const name of called) {
    const turns: LoneTurn[] = [];
    for (let at = 0; at < protocol.turnsPerTool; at += 1) {
      turns.push(await loneTurn(deps, toolInput(name)));
    }
    tools.push({ name, turns });
    onTurn(tools.length, called.length);
  }
  return { tools, notCalled: names.filter((name) => !called.includes(name)) };
}
