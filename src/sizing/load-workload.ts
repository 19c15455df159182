/**
 * The files of a plan: workload, profile and prices, with every problem of all of them at once.
 *
 * @module
 */

import { dirname, join, resolve } from "node:path";
import { GIB, MIB } from "../lib/byte-units.ts";
import { formatBytes } from "../lib/bytes.ts";
import { type Diagnostic, DiagnosticsError, formatPath, placeless } from "../lib/diagnostics.ts";
import { formatDuration } from "../lib/duration.ts";
import { isObject } from "../lib/is-object.ts";
import { checkValue, type SchemaIssue } from "../lib/schema-issues.ts";
import { shownBy } from "../lib/shown-values.ts";
import type { Environment } from "../lib/substitute.ts";
import { readTextFile } from "../lib/text-file.ts";
import { YamlDocument } from "../lib/yaml-document.ts";
import { diagnosticsOf, inOrder, readYaml, remedyFor } from "../lib/yaml-file.ts";
import { type Busiest, busiestPart } from "./busiest.ts";
import type { PricedSize, Workload } from "./plan.ts";
import { type Profile, readProfile, type ReadProfile } from "./profile.ts";
import { parseTrace, type TraceResult } from "./trace.ts";
import { PriceFile, WorkloadFile } from "./workload.ts";

const DEFAULT_FILE = "workload.yaml";
const MAX_FILE_BYTES = MIB;
const MAX_TRACE_BYTES = 256 * MIB;
const MAX_TRACE_TURNS = 10_000_000;

export interface WorkloadInput {
  /** Must exist; without it workload.yaml of the working directory is read if it is there. */
  readonly path?: string;
  /** Keys of the workload file, as text; they win over it. */
  readonly flags: Readonly<Record<string, string | undefined>>;
  readonly environment: Environment;
  readonly workingDirectory: string;
}

export interface LoadedWorkload {
  readonly workload: Workload;
  readonly profile: Profile;
  /** What whoever relies on the profile and the trace should know. */
  readonly warnings: readonly string[];
  /** The busiest hour of the trace; null without one. */
  readonly busiest: Busiest | null;
  readonly sizes: readonly PricedSize[];
  /** Null where no price is known. */
  readonly currency: string | null;
  /** Where the prices are from. */
  readonly priceSource: string | null;
}

/** @throws {DiagnosticsError} `config_invalid` with every problem. */
export async function loadWorkload(input: WorkloadInput): Promise<LoadedWorkload> {
  const { value: file, name } = await readWorkload(input);
  // What a file names is beside it; what a flag names is where the command runs.
  const named = (key: "profile" | "prices" | "trace", path: string) =>
    input.flags[key] === undefined ? join(dirname(name), path) : path;
  const profile = await tryReadProfile(named("profile", file.profile), input);
  const trace =
    file.trace === undefined ? null : await readTrace(named("trace", file.trace), input);
  const prices =
    file.prices === undefined ? null : await readPrices(named("prices", file.prices), input);
  const problems = [
    ...(profile.ok ? [] : profile.diagnostics),
    ...(prices === null || prices.ok ? [] : prices.diagnostics),
    ...(trace === null || trace.ok ? [] : trace.diagnostics),
    ...unpriced(file, name),
  ];
  if (!profile.ok || problems.length > 0) throw new DiagnosticsError("config_invalid", problems);
  const priceFile = prices?.ok === true ? prices.value : null;
  const { profile: measured, warnings } = profile.value;
  const traced = trace?.ok === true ? trace.value : null;
  const busiest = traced === null ? null : busiestPart(traced.turns, file.traceWindow);
  return {
    workload: workloadOf(file, measured, busiest),
    profile: measured,
    warnings: [...warnings, ...(traced === null ? [] : traceWarnings(traced, file))],
    busiest,
    sizes: sizesOf(file, priceFile),
    currency: priceFile?.currency ?? (hasPrices(file) ? "" : null),
    priceSource: priceFile?.source ?? null,
  };
}

type Read<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] };

/** Other files may have problems, too: all are told at once. */
async function tryReadProfile(
  name: string,
  { workingDirectory }: WorkloadInput,
): Promise<Read<ReadProfile>> {
  try {
    return { ok: true, value: await readProfile(name, workingDirectory) };
  } catch (thrown) {
    if (!(thrown instanceof DiagnosticsError)) throw thrown;
    return { ok: false, diagnostics: thrown.diagnostics };
  }
}

async function readTrace(
  name: string,
  { workingDirectory }: WorkloadInput,
): Promise<Read<ReadTrace>> {
  const read = await readTextFile(resolve(workingDirectory, name), MAX_TRACE_BYTES);
  if (!read.ok) {
    return { ok: false, diagnostics: [placeless(name, `the trace ${read.message}`, read.remedy)] };
  }
  const trace = parseTrace(read.text, name, MAX_TRACE_TURNS);
  return trace.ok ? { ok: true, value: trace } : trace;
}

async function readPrices(
  name: string,
  { workingDirectory, environment }: WorkloadInput,
): Promise<Read<PriceFile>> {
  const read = await readTextFile(resolve(workingDirectory, name), MAX_FILE_BYTES);
  if (read.ok) return readYaml({ file: name, text: read.text }, PriceFile, environment);
  return {
    ok: false,
    diagnostics: [placeless(name, `the price file ${read.message}`, read.remedy)],
  };
}

/** The file with the flags over it. */
async function readWorkload(
  input: WorkloadInput,
): Promise<{ readonly value: WorkloadFile; readonly name: string }> {
  const { path, environment, workingDirectory } = input;
  const name = path ?? DEFAULT_FILE;
  const read = await readTextFile(resolve(workingDirectory, name), MAX_FILE_BYTES);
  if (!read.ok && (path !== undefined || !read.isMissing)) {
    const problem = placeless(name, `the workload ${read.message}`, read.remedy);
    throw new DiagnosticsError("config_invalid", [problem]);
  }
  const document = read.ok
    ? new YamlDocument({ file: name, text: read.text }, environment, shownBy(WorkloadFile))
    : undefined;
  const flags = Object.entries(input.flags).flatMap(([key, text]) =>
    text === undefined ? [] : [[key, valueOf(key, text)] as const],
  );
  const given = new Map(flags);
  const inFile = isObject(document?.value) ? withoutReplaced(document.value, given) : {};
  const checked = checkValue(WorkloadFile, { ...inFile, ...Object.fromEntries(given) });
  const issues = checked.ok ? [] : checked.issues;
  const byFlag = ({ path: [key] }: SchemaIssue) => given.has(String(key));
  const ofFile = issues.filter((issue) => !byFlag(issue));
  const diagnostics = [
    ...(document === undefined
      ? ofFile.map(ofNoFile)
      : inOrder([...document.diagnostics, ...diagnosticsOf(ofFile, document)])),
    ...issues.filter(byFlag).map((issue) => ofFlag(issue, input.flags)),
  ];
  if (!checked.ok || diagnostics.length > 0) {
    throw new DiagnosticsError("config_invalid", diagnostics);
  }
  return { value: checked.value, name };
}

/** A flag wins over what the file says in another way. */
function withoutReplaced(
  file: Readonly<Record<string, unknown>>,
  given: ReadonlyMap<string, unknown>,
): Readonly<Record<string, unknown>> {
  const { turnsPerUserHour, turnDuration, trace, ...rest } = file;
  return {
    ...rest,
    ...(!given.has("trace") && { turnsPerUserHour, turnDuration }),
    ...(!given.has("turnsPerUserHour") && { trace }),
  };
}

/** Flags are text; some keys are numbers. */
function valueOf(key: string, text: string): unknown {
  const isNumber = NUMBERS.has(key) && /^\d+(\.\d+)?$/u.test(text);
  return isNumber ? Number(text) : text;
}

const NUMBERS: ReadonlySet<string> = new Set([
  "users",
  "turnsPerUserHour",
  "turnsPerSession",
  "minReplicas",
  "tokensPerTurn",
  "requestsPerTurn",
]);

/** `turnsPerUserHour` is given by `--turns-per-user-hour`. */
function flagOf(key: string): string {
  return `--${key.replaceAll(/[A-Z]/gu, (letter) => `-${letter.toLowerCase()}`)}`;
}

function ofFlag(issue: SchemaIssue, flags: WorkloadInput["flags"]): Diagnostic {
  const key = String(issue.path[0]);
  const remedy = issue.remedy === "" ? remedyFor(issue) : issue.remedy;
  return placeless(flagOf(key), `${issue.message}: got \`${flags[key] ?? ""}\``, remedy);
}

/** There is no file: what is missing is a flag. */
function ofNoFile(issue: SchemaIssue): Diagnostic {
  const flag = flagOf(formatPath(issue.path));
  return placeless(flag, `is missing: ${issue.message}`, `Give it, or write ${DEFAULT_FILE}`);
}

type ReadTrace = Extract<TraceResult, { readonly ok: true }>;

function traceWarnings(
  { notes, missing, turns }: ReadTrace,
  { traceWindow, turnDuration }: WorkloadFile,
): readonly string[] {
  const lengthMs = turns.atMs.at(-1) ?? 0;
  return [
    ...notes,
    ...(missing === null || turnDuration !== undefined
      ? []
      : [`${missing}; they are taken to last as long as the others, or as was measured`]),
    ...(lengthMs >= traceWindow
      ? []
      : [
          `The trace lasts ${formatDuration(lengthMs)}, less than its window of ` +
            `${formatDuration(traceWindow)}: it is taken to go on like this`,
        ]),
  ];
}

function workloadOf(file: WorkloadFile, profile: Profile, busiest: Busiest | null): Workload {
  const { meanMs } = profile.turn.duration;
  return {
    users: file.users,
    turnsPerUserHour: file.turnsPerUserHour ?? (busiest?.turnsPerHour ?? 0) / file.users,
    turnMs: file.turnDuration ?? busiest?.meanMs ?? meanMs,
    turnsPerSession: file.turnsPerSession,
    transcriptBytesPerTurn: file.transcriptPerTurn ?? profile.turn.transcriptBytesPerTurn,
    sessionsPerUser: file.sessionsPerUser,
    shedTargetRatio: file.shedTarget,
    retryRatio: file.retryShare,
    balancing: file.balancing,
    minReplicas: file.minReplicas,
    model: modelOf(file),
  };
}

/** What the model takes, by requests or by tokens: the one that is used up first. */
function modelOf(file: WorkloadFile): Workload["model"] {
  const { modelRequests, requestsPerTurn, modelTokens, tokensPerTurn } = file;
  const byRequests = ((modelRequests ?? Infinity) * HOUR_MS) / requestsPerTurn;
  const byTokens = ((modelTokens ?? Infinity) * HOUR_MS) / (tokensPerTurn ?? 1);
  if (byRequests === Infinity && byTokens === Infinity) return null;
  return byRequests <= byTokens
    ? { turnsPerHour: byRequests, binds: "requests" }
    : { turnsPerHour: byTokens, binds: "tokens" };
}

const HOUR_MS = 3_600_000;

/** What most platforms offer. */
const USUAL_SIZES = [1, 2, 4, 8, 16].flatMap((gib) =>
  [1, 2, 4].filter((cpus) => cpus <= gib && gib <= 8 * cpus).map((cpus) => ({ gib, cpus })),
);

function sizesOf(
  { sizes, killsAll }: WorkloadFile,
  prices: PriceFile | null,
): readonly PricedSize[] {
  const priced = (memoryBytes: number, cpus: number) =>
    prices === null ? null : prices.cpuHour * cpus + (prices.gibHour * memoryBytes) / GIB;
  if (sizes === undefined) {
    return USUAL_SIZES.map(({ gib, cpus }) => {
      const memoryBytes = gib * GIB;
      return {
        name: nameOf(memoryBytes, cpus),
        memoryBytes,
        cpus,
        killsAll,
        hourly: priced(memoryBytes, cpus),
      };
    });
  }
  return sizes.map(({ name, memory, cpus, hourly }) => ({
    name: name ?? nameOf(memory, cpus),
    memoryBytes: memory,
    cpus,
    killsAll,
    hourly: hourly ?? priced(memory, cpus),
  }));
}

/** `2 GiB, 1 CPU`. */
function nameOf(memoryBytes: number, cpus: number): string {
  const memory = formatBytes(memoryBytes).replace(/(?=[A-Z])/u, " ");
  return `${memory}, ${cpus} CPU${cpus === 1 ? "" : "s"}`;
}

function hasPrices({ sizes }: WorkloadFile): boolean {
  return sizes?.some(({ hourly }) => hourly !== undefined) === true;
}

/** Sizes of which only some have a price cannot be compared. */
function unpriced(file: WorkloadFile, path: string): readonly Diagnostic[] {
  if (!hasPrices(file) || file.prices !== undefined) return [];
  return (file.sizes ?? []).flatMap(({ hourly }, index) =>
    hourly === undefined
      ? [
          placeless(
            path,
            "is missing: other sizes have a price",
            "Give each size its `hourly`, or name a price file by `prices`",
            `sizes[${index}].hourly`,
          ),
        ]
      : [],
  );
}
