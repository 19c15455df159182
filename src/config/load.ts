/**
 * Flag over environment over file over default: one frozen {@link Config}, or every problem of all
 * of them at once. Nothing is ever replaced by a default because it did not fit.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { MIB } from "../lib/byte-units.ts";
import { deepFreeze } from "../lib/deep-freeze.ts";
import {
  type Diagnostic,
  DiagnosticsError,
  formatPath,
  placeless,
  printable,
} from "../lib/diagnostics.ts";
import { didYouMean } from "../lib/did-you-mean.ts";
import { isObject } from "../lib/is-object.ts";
import { SERVER_ID_MARKER, PROCESS_ID_MARKER } from "../lib/process-markers.ts";
import { checkValue, type SchemaIssue, valueAt } from "../lib/schema-issues.ts";
import { shownBy } from "../lib/shown-values.ts";
import type { Environment } from "../lib/substitute.ts";
import { readTextFile } from "../lib/text-file.ts";
import { YamlDocument } from "../lib/yaml-document.ts";
import { diagnosticsOf, inOrder, remedyFor } from "../lib/yaml-file.ts";
import type { Config } from "./config.ts";
import { agentEnvironmentOf } from "./environment.ts";
import { isLoopback, ServerFile, type ServerSettings } from "./schema.ts";
import { PLAIN_SETTINGS, SETTINGS, type Setting, settingText, valueOf } from "./settings.ts";

const DEFAULT_FILE = "plimsoll.yaml";
const MISNAMED_FILE = "plimsoll.yml";
const MAX_FILE_BYTES = MIB;

export interface ConfigInput {
  /** Must exist; without it plimsoll.yaml of the working directory is read if it is there. */
  readonly file?: string;
  /** Dotted setting to its text, e.g. `{ "listen.port": "0" }`. */
  readonly flags: Readonly<Record<string, string | undefined>>;
  /** The flag of each setting that was not given by `--set`, e.g. `{ "listen.port": "--port" }`. */
  readonly flagNames?: Readonly<Record<string, string>>;
  readonly environment: Environment;
  readonly workingDirectory: string;
}

export type SettingSource = "flag" | "environment" | "file" | "default";

export interface LoadedConfig {
  readonly config: Config;
  /** Where every setting came from, by its dotted name. */
  readonly sources: ReadonlyMap<string, SettingSource>;
  /** Absolute path of the file that was read. */
  readonly file: string | null;
  /** Every setting as a person would write it, to show; secrets as `***`. */
  readonly effective: ReadonlyMap<string, string>;
}

/** @throws {DiagnosticsError} `config_invalid` with every problem. */
export async function loadConfig(input: ConfigInput): Promise<LoadedConfig> {
  const { path, document, diagnostics } = await readServerFile(input);
  const given = [...givenByFlags(input), ...givenByEnvironment(input.environment)];
  const unknown = given.filter(({ setting }) => setting === undefined).map(unknownSetting);

  const merged = merge(document?.value, given);
  const checked = checkValue(ServerFile, merged);
  const issues = checked.ok ? [] : checked.issues;
  const fromFile = issues.filter((issue) => giverOf(issue, given) === undefined);
  const found = [
    ...inOrder([
      ...(document?.diagnostics ?? []),
      ...(document === undefined ? fromFile.map(ofNoFile) : diagnosticsOf(fromFile, document)),
    ]),
    ...issues.flatMap((issue) => {
      const giver = giverOf(issue, given);
      return giver === undefined ? [] : [ofGiven(issue, giver)];
    }),
  ];
  const all = [...diagnostics, ...found, ...unknown];
  if (!checked.ok || all.length > 0) throw new DiagnosticsError("config_invalid", all);

  const sources = sourcesOf(document?.value, given);
  const inFile = sources.get("data.directory") === "file" && path !== null;
  const base = inFile ? dirname(path) : input.workingDirectory;
  const config = deepFreeze(toConfig(checked.value, base, input.environment));
  return { config, sources, file: path, effective: effectiveOf(checked.value) };
}

async function readServerFile({ file, workingDirectory, environment }: ConfigInput) {
  const name = file ?? DEFAULT_FILE;
  const path = resolve(workingDirectory, name);
  const read = await readTextFile(path, MAX_FILE_BYTES);
  if (read.ok) {
    const document = new YamlDocument(
      { file: name, text: read.text },
      environment,
      shownBy(ServerFile),
    );
    // Every setting has a default: whoever has made all lines comments wants them.
    return { path, document: document.isEmpty ? undefined : document, diagnostics: [] };
  }
  if (read.isMissing && file === undefined) {
    const isMisnamed = existsSync(resolve(workingDirectory, MISNAMED_FILE));
    return { path: null, document: undefined, diagnostics: isMisnamed ? [MISNAMED] : [] };
  }
  return {
    path,
    document: undefined,
    diagnostics: [placeless(name, `the server file ${read.message}`, read.remedy)],
  };
}

/** The folder scan of agents leaves it out as well: nobody else would tell of it. */
const MISNAMED = placeless(
  MISNAMED_FILE,
  `is not read: the server file is called \`${DEFAULT_FILE}\``,
  `Rename it to \`${DEFAULT_FILE}\`, or name it by --config`,
);

/** A text somebody gave outside of the file. */
interface Given {
  /** The setting as it was written: `--port`, `--set listen.port` or `PLIMSOLL_LISTEN_PORT`. */
  readonly label: string;
  /** What it sets; undefined if there is no such setting. */
  readonly setting: Setting | undefined;
  readonly text: string;
  readonly by: "flag" | "environment";
}

function givenByFlags({ flags, flagNames = {} }: ConfigInput): Given[] {
  return Object.entries(flags).flatMap(([name, text]) => {
    if (text === undefined) return [];
    const setting = PLAIN_SETTINGS.find((each) => each.name === name);
    return [{ label: flagNames[name] ?? setFlag(name), setting, text, by: "flag" as const }];
  });
}

function setFlag(name: string): string {
  return `--set ${name}`;
}

function givenByEnvironment(environment: Environment): Given[] {
  const byVariable = new Map(PLAIN_SETTINGS.map((setting) => [setting.variable, setting]));
  const own = Object.entries(environment).flatMap(([label, text]): Given[] => {
    if (!label.startsWith("PLIMSOLL_") || text === undefined) return [];
    const setting = byVariable.get(label);
    if (setting === undefined && isForeign(label, text)) return [];
    return [{ label, setting, text, by: "environment" }];
  });
  const fallbacks = PLAIN_SETTINGS.flatMap((setting): Given[] => {
    const label = setting.fallbackVariable ?? "";
    const text = environment[label];
    if (text === undefined || text === "" || environment[setting.variable] !== undefined) return [];
    return [{ label, setting, text, by: "environment" }];
  });
  return [...own, ...fallbacks];
}

/**
 * Variables that begin like ours and are not: the marks that a server puts on its own agent
 * processes, and what Kubernetes sets in every pod for a Service named `plimsoll` or `plimsoll-*`.
 */
function isForeign(variable: string, text: string): boolean {
  return (
    variable === PROCESS_ID_MARKER ||
    variable === SERVER_ID_MARKER ||
    /_SERVICE_(HOST|PORT)(_\w+)?$/u.test(variable) ||
    /_PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?$/u.test(variable) ||
    (variable.endsWith("_PORT") && /^(tcp|udp|sctp):\/\//u.test(text))
  );
}

/** The file's value with what was given on top; flags come first in `given` and win. */
function merge(fileValue: unknown, given: readonly Given[]): unknown {
  if (fileValue !== undefined && fileValue !== null && !isObject(fileValue)) return fileValue;
  const merged: Record<string, unknown> = { ...fileValue };
  for (const { setting, text } of given.toReversed()) {
    const [block, key] = setting?.path ?? [];
    if (setting === undefined || block === undefined || key === undefined) continue;
    const present = merged[block];
    // A block that is not a map is a problem of the file, and stays one.
    if (present !== undefined && !isObject(present)) continue;
    merged[block] = { ...present, [key]: valueOf(text, setting.kind) };
  }
  return merged;
}

function giverOf({ path }: SchemaIssue, given: readonly Given[]): Given | undefined {
  return given.find(({ setting }) => setting?.path.every((part, index) => path[index] === part));
}

function ofGiven(issue: SchemaIssue, { label, setting, text }: Given): Diagnostic {
  const isText = setting?.kind === "text" && !setting.isSecret;
  const got =
    setting?.isSecret === true ? "" : `: got ${JSON.stringify(printable(text.slice(0, 60)))}`;
  const remedy = issue.remedy === "" ? remedyFor(issue, isText ? text : "") : issue.remedy;
  return placeless(label, `${issue.message}${got}`, remedy, formatPath(issue.path));
}

function ofNoFile({ path, message, remedy }: SchemaIssue): Diagnostic {
  return placeless("(no server file)", message, remedy, formatPath(path));
}

function unknownSetting({ label, by }: Given): Diagnostic {
  const known = PLAIN_SETTINGS.map((each) => (by === "flag" ? setFlag(each.name) : each.variable));
  const remedy = didYouMean(label, known);
  const short = remedy.startsWith("Did") ? remedy : "docs/server-file.md lists every setting";
  return placeless(label, "does not name a setting", short);
}

function sourcesOf(fileValue: unknown, given: readonly Given[]): Map<string, SettingSource> {
  return new Map(
    SETTINGS.map(({ name, path: [block = "", key = ""] }) => {
      const by = given.find(({ setting }) => setting?.name === name)?.by;
      const section = isObject(fileValue) ? fileValue[block] : undefined;
      const inFile = isObject(section) && Object.hasOwn(section, key);
      return [name, by ?? (inFile ? "file" : "default")];
    }),
  );
}

function effectiveOf(settings: ServerSettings): Map<string, string> {
  return new Map(
    SETTINGS.map((setting) => [
      setting.name,
      settingText(setting, valueAt(settings, setting.path)),
    ]),
  );
}

function toConfig(settings: ServerSettings, base: string, environment: Environment): Config {
  const { listen, http, journal, auth, capacity, agentProcess, sessions, retention, ...rest } =
    settings;
  const { data, drain, telemetry } = rest;
  return {
    listen,
    http: httpOf(http),
    journal: {
      turnBytes: journal.turnSize,
      totalBytes: journal.totalSize,
      keepMs: journal.keepTime,
      maxReaders: journal.readers,
    },
    auth: { keys: auth.keys },
    capacity: {
      memoryLimitBytes: capacity.memoryLimit ?? null,
      admission: capacity.admission,
      parentReserveBytes: capacity.parentReserve,
      turnReserveBytes: capacity.turnReserve,
      safetyReserveBytes: capacity.safetyReserve ?? null,
      priorityReserveBytes: capacity.priorityReserve,
      fairShare: capacity.fairShare,
      startsAtOnce: capacity.startsAtOnce ?? null,
      startWaitMs: capacity.startWait,
      guard: capacity.guard,
      maxTurns: capacity.maxTurns ?? null,
      maxResidents: capacity.maxResidents,
      warmTimeMs: capacity.warmTime,
      maxRetryAfterMs: capacity.maxRetryAfter,
      shedStatus: capacity.shedStatus,
      unreadyWhenFull: capacity.unreadyWhenFull,
    },
    agentProcess: {
      startTimeoutMs: agentProcess.startTime,
      endGraceMs: agentProcess.endGrace,
      stderrTailBytes: agentProcess.stderrTail,
      sampleIntervalMs: agentProcess.sampleInterval,
      ownGroup: agentProcess.ownGroup,
    },
    sessions: sessionsConfig(sessions),
    retention: retentionConfig(retention),
    dataDirectory: resolve(base, data.directory),
    drain: { graceMs: drain.grace },
    console: consoleConfig(settings),
    telemetry: { ...telemetry, otlpEndpoint: telemetry.otlpEndpoint ?? null },
    agentEnvironment: agentEnvironmentOf(environment),
  };
}

function sessionsConfig(sessions: ServerSettings["sessions"]): Config["sessions"] {
  return {
    maxPerTenant: sessions.maxPerTenant,
    store: sessions.store === undefined ? null : new URL(sessions.store),
    replicaAddress:
      sessions.replicaAddress === undefined ? null : new URL(sessions.replicaAddress).origin,
    storeTimeoutMs: sessions.storeTime,
    leaseTimeMs: sessions.leaseTime,
    outboxBytes: sessions.outboxSize,
    copiesBytes: sessions.copiesSize,
    maxReadsAtOnce: sessions.readsAtOnce,
    readWaitMs: sessions.readWait,
  };
}

function consoleConfig({ console: page, listen }: ServerSettings): Config["console"] {
  const onLoopback = page.tryLoad === "loopback" && isLoopback(listen.host);
  return {
    isEnabled: page.enabled,
    replicaName: page.replicaName ?? null,
    mayTryLoad: page.tryLoad === "always" || onLoopback,
    sessionTimeMs: page.sessionTime,
    replicas: page.replicas.map(({ name, url, key }) => ({
      name,
      url: new URL(url).href.replace(/\/*$/u, "/"),
      key: key ?? null,
    })),
  };
}

function retentionConfig(retention: ServerSettings["retention"]): Config["retention"] {
  return {
    maxIdleMs: retention.maxIdle,
    maxAgeMs: retention.maxAge ?? null,
    sessionsPerTenant: retention.sessionsPerTenant ?? null,
    bytesPerTenant: retention.bytesPerTenant ?? null,
    maxBytes: retention.maxBytes ?? null,
    keepFreeBytes: retention.keepFree ?? null,
    sweepIntervalMs: retention.sweepInterval,
  };
}

function httpOf(http: ServerSettings["http"]): Config["http"] {
  return {
    bodyLimitBytes: http.bodySize,
    bodiesLimitBytes: http.bodiesSize,
    requestTimeoutMs: http.requestTime,
    heartbeatMs: http.heartbeat,
    unreadTimeoutMs: http.unreadTime,
    maxConnections: http.connections,
    maxStreamsPerCaller: http.streamsPerCaller,
    corsOrigins: http.corsOrigins,
    allowedHosts: http.allowedHosts,
  };
}
