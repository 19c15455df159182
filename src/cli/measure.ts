/**
 * `plimsoll measure`: what turns of an agent cost, measured on this machine, as a report to read, a
 * profile for the other commands, and a prior for `serve`.
 *
 * @module
 */

import { extname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { AgentDefinition } from "../agent/definition.ts";
import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { AppError } from "../lib/errors.ts";
import { footprintVersion } from "../server/open-gate.ts";
import { footprintSamples } from "../sizing/measure/analyse.ts";
import { savePrior } from "../sizing/measure/prior.ts";
import { profileReport } from "../sizing/measure/profile-report.ts";
import { type Measurement, measure } from "../sizing/measure/run.ts";
import { StateFile, writeOutput } from "../sizing/measure/state.ts";
import { verdictOf } from "../sizing/measure/verdict.ts";
import { EXIT } from "./exit-codes.ts";
import type { ReportFormat } from "./flags.ts";
import type { Io } from "./io.ts";
import { loadAll, type LoadOptions } from "./load.ts";
import { MeasureProgress } from "./measure-progress.ts";
import { reportAs } from "./report-as.ts";
import { listenToSignals } from "./signals.ts";
import { packageVersion } from "./version.ts";

export interface MeasureCommandOptions extends LoadOptions {
  readonly agentName?: string;
  readonly isClaude: boolean;
  readonly isQuick: boolean;
  readonly mayCallAll: boolean;
  readonly isFresh: boolean;
  readonly savesPrior: boolean;
  readonly scriptFile?: string;
  readonly limitBytes?: number;
  /** How long turns last that the verdict is for; as measured without it. */
  readonly turnMs?: number;
  /** Where the profile goes; named after the agent without it. */
  readonly output?: string;
  readonly format: ReportFormat;
}

/** Settings that change what a turn holds, or how it is watched; the others are not for measuring. */
const FORWARDED = /^agentProcess\./;

/** The exit code: 0 when all was measured, 130 when a signal cut it short. */
export async function runMeasure(options: MeasureCommandOptions, io: Io): Promise<number> {
  const { config, agents } = await loadAll(options, io);
  const agent = oneOf(agents, options.agentName);
  if (options.isClaude && agent.model.provider === "rehearsal") throw noClaude(agent);
  const output = resolve(io.workingDirectory, options.output ?? `${agent.name}.profile.json`);
  const stateFile = `${output}.partial`;
  using signals = listenToSignals();
  const progress = new MeasureProgress(io);
  signals.hurry.addEventListener("abort", () => {
    progress.killNow();
    process.exit(EXIT.interrupted);
  });
  let measurement: Measurement;
  try {
    measurement = await measure(
      { ...options, agent, stateFile, ...(await surroundings(options, io)) },
      progress,
      signals.stop,
    );
  } catch (thrown) {
    if (!signals.stop.aborted) throw thrown;
    io.stderr("\nInterrupted: the same command goes on from here within the hour\n");
    return EXIT.interrupted;
  }
  const { profile } = measurement;
  await writeOutput(output, `${JSON.stringify(profile, null, 2)}\n`);
  await new StateFile(stateFile, "").remove();
  const verdict = verdictOf(profile, options.turnMs);
  const json = { profile, verdict };
  const report = profileReport(profile, verdict);
  io.stdout(reportAs(options.format, report, { json, color: io.color }));
  const shown = options.output ?? `${agent.name}.profile.json`;
  io.stderr(`\nProfile: ${shown}\n`);
  io.stderr(`Next: plimsoll plan --profile ${shown} --users 500 --turns-per-user-hour 6\n`);
  if (options.savesPrior) io.stderr(`${await tellPrior(measurement, agent, config)}\n`);
  return EXIT.ok;
}

/** What the measured server is run with. */
async function surroundings(options: MeasureCommandOptions, io: Io) {
  const { environment, workingDirectory } = io;
  const { serverFile, flags, scriptFile } = options;
  const file = serverFile === undefined ? {} : { file: serverFile };
  const { effective, sources } = await loadConfig({
    ...file,
    flags,
    environment,
    workingDirectory,
  });
  const forwarded = [...sources].filter(
    ([name, source]) => FORWARDED.test(name) && source !== "default",
  );
  const model = options.modelId === undefined ? [] : ["--model", options.modelId];
  // The scripted model is reached as that of one provider; whoever asks for Claude says which.
  const provider = options.isClaude ? options.provider : "anthropic";
  const ofProvider = provider === undefined ? [] : ["--provider", provider];
  const sets = forwarded.flatMap(([name]) => ["--set", `${name}=${effective.get(name)}`]);
  return {
    ...(scriptFile !== undefined && { scriptFile: resolve(workingDirectory, scriptFile) }),
    serveArgs: [...model, ...ofProvider, ...sets],
    program: [process.execPath, programFile()],
    environment,
    workingDirectory,
    plimsollVersion: packageVersion(),
  };
}

/** @throws {AppError} `usage` where it is not clear which. */
function oneOf(agents: readonly AgentDefinition[], name: string | undefined): AgentDefinition {
  const [agent, second] = agents.filter((each) => name === undefined || each.name === name);
  if (agent !== undefined && second === undefined) return agent;
  const names = agents.map((each) => each.name).join(", ");
  throw new AppError("usage", `Cannot tell which agent to measure: --agent is one of ${names}`);
}

function noClaude({ name }: AgentDefinition): AppError {
  const cure = "name another by --provider, or leave out --claude";
  return new AppError("usage", `Cannot let Claude answer: ${name} is of \`rehearsal\`; ${cure}`);
}

/** What became of the prior, in a sentence. No failure of it takes the profile away. */
async function tellPrior(
  { profile, results }: Measurement,
  agent: AgentDefinition,
  { dataDirectory }: Config,
): Promise<string> {
  const version = footprintVersion(agent, profile.versions.sdk);
  const record = { agentName: agent.name, version, samples: footprintSamples(results) };
  try {
    const outcome = await savePrior({ dataDirectory, record });
    return outcome === "saved"
      ? `Prior: ${dataDirectory}, from which \`plimsoll serve\` starts`
      : `Prior: ${dataDirectory} has learned from as many turns already, and is left as it is`;
  } catch (thrown) {
    if (!(thrown instanceof AppError)) throw thrown;
    return `Prior: not saved (${thrown.message}). ${thrown.spec.remedy}`;
  }
}

/** Sources are run by tests, the built program by people. */
function programFile(): string {
  return fileURLToPath(new URL(`../main${extname(import.meta.url)}`, import.meta.url));
}
