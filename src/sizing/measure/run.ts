/**
 * A measurement from the first step to the profile: starts the server and the scripted model, goes
 * through the steps that are still to be done, and keeps the result of each.
 *
 * @module
 */

import type { AgentDefinition } from "../../agent/definition.ts";
import { inMebibytes } from "../../lib/bytes.ts";
import { AppError } from "../../lib/errors.ts";
import type { Environment } from "../../lib/substitute.ts";
import { loadRehearsalScript } from "../../rehearsal/load-script.ts";
import { type Rehearsal, startRehearsal } from "../../rehearsal/server.ts";
import { Profile } from "../profile.ts";
import { analyse, type MeasurementFacts } from "./analyse.ts";
import { busyNotesNow, factsOf, groupLimitOf, stateKeyOf } from "./facts.ts";
import { MeasuredServer } from "./measured-server.ts";
import type { MeasureListener, MeasureOptions } from "./options.ts";
import { canMeasure, type Protocol, protocolFor, STEP_NAMES, type StepName } from "./protocol.ts";
import { measureScript } from "./rehearsal-script.ts";
import type { StepResults } from "./results.ts";
import { type PartialResults, StateFile } from "./state.ts";
import { STEP_ACTIONS, type StepDeps } from "./steps.ts";
import { verdictOf } from "./verdict.ts";

export interface Measurement {
  readonly profile: Profile;
  readonly results: StepResults;
}

/**
 * @throws {AppError} `measure_failed`, `limit_too_small`, and what `signal` aborts with.
 * @param signal Ends it; what was found so far is kept.
 */
export async function measure(
  options: MeasureOptions,
  listener: MeasureListener,
  signal: AbortSignal,
): Promise<Measurement> {
  const { agent, isClaude } = options;
  if (!canMeasure(agent)) throw staysAfterTurns(agent);
  const protocol = protocolFor(agent, options);
  const busyNotes = busyNotesNow();
  const state = new StateFile(options.stateFile, stateKeyOf(options));
  const results = options.isFresh ? {} : await state.read(Date.now());
  // Whoever cannot be given the profile is told so before the run, and not after it.
  await state.write(results, Date.now());
  const toolNames = new Set<string>();
  await using model = isClaude ? null : await openModel(options, protocol, toolNames);
  await using server = await MeasuredServer.open({
    agent,
    program: options.program,
    workingDirectory: options.workingDirectory,
    args: options.serveArgs,
    environment: environmentFor(options.environment, model),
    limitBytes: groupLimitOf({}),
    ...(options.limitBytes !== undefined && { gateLimitBytes: groupLimitOf(options) }),
    signal,
  });
  listener.killable(() => server.killNow());
  listener.began(
    protocol,
    STEP_NAMES.filter((name) => results[name] !== undefined),
  );
  const deps: StepDeps = {
    server,
    agentName: agent.name,
    protocol,
    isKept: agent.hosting.pattern !== "ephemeral",
    toolNames: isClaude ? null : () => [...toolNames],
    mayCallAll: options.mayCallAll,
    onTurn: listener.turnEnded,
    signal,
  };
  const facts = factsOf(options, protocol, { isInGroup: server.group !== null, busyNotes });
  const all = await runSteps({ deps, state, results, listener, options, facts });
  return { profile: Profile.parse(analyse(all, facts)), results: all };
}

interface Run {
  readonly deps: StepDeps;
  readonly state: StateFile;
  /** The results of an earlier run. */
  readonly results: PartialResults;
  readonly listener: MeasureListener;
  readonly options: MeasureOptions;
  readonly facts: MeasurementFacts;
}

async function runSteps(run: Run): Promise<StepResults> {
  const { deps, state, listener } = run;
  const results: { -readonly [Name in keyof PartialResults]: PartialResults[Name] } = {
    ...run.results,
  };
  const runStep = async <Name extends StepName>(name: Name): Promise<StepResults[Name]> => {
    const known = results[name] as StepResults[Name] | undefined;
    if (known !== undefined) return known;
    deps.signal.throwIfAborted();
    listener.stepBegan(name);
    const found = await STEP_ACTIONS[name](deps);
    Object.assign(results, { [name]: found });
    await state.write(results, Date.now());
    listener.stepEnded(name, results);
    return found;
  };
  const idle = await runStep("idle");
  const first = await runStep("first");
  limitGroup(run, { idle, first });
  return {
    idle,
    first,
    steady: await runStep("steady"),
    bursts: await runStep("bursts"),
    sessions: await runStep("sessions"),
    transcripts: await runStep("transcripts"),
    tools: await runStep("tools"),
  };
}

/**
 * Only now, when it is known what a server and a turn of it need: in less the kernel would end them,
 * and nobody would learn how much is enough.
 *
 * @throws {AppError} `limit_too_small` for a limit in which no turn fits.
 */
function limitGroup(
  { deps: { server }, options, facts }: Run,
  { idle, first }: Pick<StepResults, "idle" | "first">,
): void {
  if (options.limitBytes === undefined) return;
  const limitBytes = groupLimitOf(options);
  const soFar: StepResults = {
    idle,
    first,
    steady: { turns: [first], short: [], mappedFileBytes: idle.fileBytes },
    bursts: { bursts: [], short: null, bound: null, mappedFileBytes: 0 },
    sessions: { sessions: 0, beforeBytes: 0, afterBytes: 0 },
    transcripts: { turns: [] },
    tools: { tools: [], notCalled: [] },
  };
  const { smallestBytes } = verdictOf(analyse(soFar, facts));
  if (limitBytes < smallestBytes) {
    throw new AppError(
      "limit_too_small",
      `Cannot measure within ${inMebibytes(limitBytes)} MiB: the server holds ` +
        `${inMebibytes(idle.usedBytes)} MiB and a turn ${inMebibytes(first.peakBytes)} MiB; ` +
        `the smallest limit that works is ${inMebibytes(smallestBytes)} MiB`,
    );
  }
  server.group?.setLimit(limitBytes);
}

function staysAfterTurns({ name, hosting }: AgentDefinition): AppError {
  return new AppError(
    "measure_failed",
    `Cannot measure ${name}: its hosting pattern is ${hosting.pattern}, whose processes stay ` +
      "after a turn; measure it with the pattern hybrid, whose turns hold the same",
  );
}

async function openModel(
  { scriptFile, environment }: MeasureOptions,
  { answerMs }: Protocol,
  toolNames: Set<string>,
): Promise<Rehearsal> {
  const script =
    scriptFile === undefined
      ? measureScript(answerMs)
      : await loadRehearsalScript(scriptFile, environment);
  return startRehearsal({
    script,
    onRequest: (request) => {
      for (const name of request.toolNames) toolNames.add(name);
    },
  });
}

/** Beside those that are set to the scripted model's. */
const CREDENTIALS = new Set([
  "ANTHROPIC_AUTH_TOKEN",
  "ANTHROPIC_CUSTOM_HEADERS",
  "CLAUDE_CODE_OAUTH_TOKEN",
]);

/**
 * Nothing by which settings or a model could reach the server unasked; without Claude, no key by
 * which a turn could cost money either.
 */
function environmentFor(environment: Environment, model: Rehearsal | null) {
  const given = Object.entries(environment).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined &&
      !entry[0].startsWith("PLIMSOLL_") &&
      (model === null || !CREDENTIALS.has(entry[0])),
  );
  return {
    ...Object.fromEntries(given),
    ...(model !== null && {
      ANTHROPIC_BASE_URL: model.url,
      ANTHROPIC_API_KEY: "rehearsal-needs-no-key",
      NO_PROXY: "127.0.0.1",
      no_proxy: "127.0.0.1",
    }),
  };
}
