/**
 * `plimsoll simulate`: what a fleet would do, before there is one. Reads the scenario, the profile and
 * the trace; runs `sizing/simulate/`; prints or writes the result.
 *
 * @module
 */

import { writeFile } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";
import { MIB } from "../lib/byte-units.ts";
import { DiagnosticsError, formatPath, placeless } from "../lib/diagnostics.ts";
import { errnoOf } from "../lib/errno.ts";
import { readTextFile } from "../lib/text-file.ts";
import type { YamlDocument } from "../lib/yaml-document.ts";
import { readYaml } from "../lib/yaml-file.ts";
import { readProfile } from "../sizing/profile.ts";
import { resultOf, shedRatioOf, type SimulationResult } from "../sizing/simulate/result.ts";
import { ScenarioFile } from "../sizing/simulate/scenario-schema.ts";
import { type Setup, setUp } from "../sizing/simulate/scenario.ts";
import { TooMuch } from "../sizing/simulate/simulation-terms.ts";
import { simulationReport } from "../sizing/simulate/simulation-report.ts";
import { simulate } from "../sizing/simulate/simulation.ts";
import { parseTrace, type TraceTurns } from "../sizing/trace.ts";
import { TYPICAL_PROFILE } from "../sizing/simulate/typical-profile.ts";
import { EXIT } from "./exit-codes.ts";
import type { ReportFormat } from "./flags.ts";
import type { Io } from "./io.ts";
import { reportAs } from "./report-as.ts";
import { readSimulateFlags, type SimulateFlags, withFlags } from "./simulate-flags.ts";

export interface SimulateOptions extends SimulateFlags {
  /** The scenario file; the flags alone without it. */
  readonly scenario?: string;
  readonly profile?: string;
  readonly format: ReportFormat;
  /** Standard output without it. */
  readonly output?: string;
}

export type SimulateIo = Pick<
  Io,
  "stdout" | "stderr" | "environment" | "workingDirectory" | "color"
>;

const MAX_FILE_BYTES = MIB;
const MAX_TRACE_BYTES = 256 * MIB;
/** Who is told of a problem of what no file says. */
const COMMAND_LINE = "command line";

/** @throws {DiagnosticsError} `config_invalid` for a scenario, a profile or a trace that does not fit. */
export async function runSimulate(options: SimulateOptions, io: SimulateIo): Promise<number> {
  const { setup, notes, document } = await prepare(options, io);
  const result = runWithin(setup, notes, document);
  const { format, output } = options;
  const text = reportAs(format, simulationReport(result), { json: result, color: io.color });
  if (output === undefined) {
    io.stdout(text);
  } else {
    await write(resolve(io.workingDirectory, output), text, output);
    io.stdout(`Written to ${output}\n`);
  }
  return EXIT.ok;
}

interface Prepared {
  readonly setup: Setup;
  readonly notes: readonly string[];
  readonly document: YamlDocument | null;
}

async function prepare(options: SimulateOptions, io: SimulateIo): Promise<Prepared> {
  const flags = readSimulateFlags(options);
  const { file, document } = await readScenario(options.scenario, io);
  const scenario = withFlags(file, flags);
  const folder = resolve(io.workingDirectory, dirname(options.scenario ?? "."));
  const notes: string[] = [];
  const profilePath =
    options.profile ??
    (file.profile && relative(io.workingDirectory, resolve(folder, file.profile)));
  const { profile, warnings } =
    profilePath === undefined
      ? { profile: TYPICAL_PROFILE, warnings: [] }
      : await readProfile(profilePath, io.workingDirectory);
  notes.push(...warnings);
  if (profilePath === undefined) {
    notes.push(
      "no profile is given: the figures of a typical agent; `plimsoll measure` makes yours",
    );
  }
  const { process, trace: tracePath } = scenario.arrivals;
  let trace: TraceTurns | null = null;
  if (process === "trace" && tracePath !== undefined) {
    const path = relative(io.workingDirectory, resolve(folder, tracePath));
    const read = await readTrace(path, scenario.limits.turns, io.workingDirectory);
    trace = read.turns;
    notes.push(...read.notes);
    if (read.missing !== null) notes.push(`${read.missing}; drawn by chance for those`);
  }
  const made = setUp(scenario, profile, trace);
  if (made.ok) return { setup: made.setup, notes, document };
  const diagnostics = made.problems.map(({ path, message, remedy }) =>
    document === null
      ? placeless(COMMAND_LINE, message, remedy, formatPath(path))
      : document.diagnosticAt(path, message, remedy),
  );
  throw new DiagnosticsError("config_invalid", diagnostics);
}

/** @throws {DiagnosticsError} where a limit of the scenario ends it. */
function runWithin(
  setup: Setup,
  notes: readonly string[],
  document: YamlDocument | null,
): SimulationResult {
  try {
    const { terms, scenario } = setup;
    const first = simulate(terms);
    const others = Array.from({ length: scenario.runs - 1 }, (_, index) =>
      shedRatioOf(simulate({ ...terms, seed: terms.seed + index + 1 })),
    );
    return resultOf(setup, first, notes, others);
  } catch (thrown) {
    if (!(thrown instanceof TooMuch)) throw thrown;
    const path = ["limits", thrown.what];
    const remedy = "Shorten `duration`, ask for less, or raise the limit";
    const problem =
      document === null
        ? placeless(COMMAND_LINE, thrown.message, remedy, formatPath(path))
        : document.diagnosticAt(path, thrown.message, remedy);
    throw new DiagnosticsError("config_invalid", [problem]);
  }
}

async function readScenario(
  path: string | undefined,
  { workingDirectory, environment }: SimulateIo,
) {
  if (path === undefined) return { file: ScenarioFile.parse({}), document: null };
  const text = await textOf(path, workingDirectory, MAX_FILE_BYTES);
  const read = readYaml({ file: path, text }, ScenarioFile, environment);
  if (!read.ok) throw new DiagnosticsError("config_invalid", read.diagnostics);
  return { file: read.value, document: read.document };
}

async function readTrace(path: string, maxTurns: number, workingDirectory: string) {
  const text = await textOf(path, workingDirectory, MAX_TRACE_BYTES);
  const read = parseTrace(text, path, maxTurns);
  if (!read.ok) throw new DiagnosticsError("config_invalid", read.diagnostics);
  return read;
}

async function textOf(path: string, workingDirectory: string, maxBytes: number): Promise<string> {
  const read = await readTextFile(resolve(workingDirectory, path), maxBytes);
  if (read.ok) return read.text;
  throw new DiagnosticsError("config_invalid", [placeless(path, read.message, read.remedy)]);
}

async function write(path: string, text: string, asGiven: string): Promise<void> {
  try {
    await writeFile(path, text);
  } catch (thrown) {
    const message = `cannot be written: ${errnoOf(thrown) ?? "unknown"}`;
    const remedy = "Name a file in a folder that is there and can be written";
    throw new DiagnosticsError("config_invalid", [placeless(asGiven, message, remedy)]);
  }
}
