/**
 * What a measurement is of: agent, versions, machine; and how much of the machine it takes.
 *
 * @module
 */

import { availableParallelism, cpus, loadavg, totalmem } from "node:os";
import { cpuLimitReader } from "../../capacity/cpu-limit.ts";
import { readMemoryLimit } from "../../capacity/memory-limit.ts";
import { inMebibytes } from "../../lib/bytes.ts";
import { claudeCodeVersion, sdkVersion } from "../../server/sdk-version.ts";
import type { Profile } from "../profile.ts";
import type { MeasurementFacts } from "./analyse.ts";
import type { MeasureOptions } from "./options.ts";
import type { Protocol } from "./protocol.ts";

/** The part that is taken of what there is: nobody else is to be short of memory for a measurement. */
const GROUP_RATIO = 0.9;

/** The limit of the control group: what was asked for, or as much as there is. */
export function groupLimitOf({ limitBytes }: Pick<MeasureOptions, "limitBytes">): number {
  const mostBytes = readLimit().bytes;
  return Math.min(limitBytes ?? Math.floor(mostBytes * GROUP_RATIO), mostBytes);
}

function readLimit(root = "/") {
  return readMemoryLimit({ root, explicitBytes: null, totalMemoryBytes: totalmem() });
}

/** What the results of a step depend on. */
export function stateKeyOf(options: MeasureOptions): string {
  const { agent, isClaude, isQuick, mayCallAll, scriptFile, limitBytes, serveArgs } = options;
  const how = { isClaude, isQuick, mayCallAll, scriptFile, limitBytes, serveArgs };
  const { name, version } = agent;
  return JSON.stringify([{ name, version }, versionsOf(options), machine(), how]);
}

/** With so much to do for each CPU before we begin, others are in our way. */
const BUSY_LOAD = 0.75;

/** What else the machine does, if it does much; to be asked before anything is started. */
export function busyNotesNow(load = loadavg()[0] ?? 0): readonly string[] {
  const { cpus: count } = machine();
  if (load <= BUSY_LOAD * count) return [];
  return [
    `The machine was busy with other work (load ${load.toFixed(1)} on ${count} CPUs): CPU and times ` +
      "look worse than they are, and memory may differ by a tenth",
  ];
}

/** Nobody gets more memory by asking for it. */
export function limitNotes({ limitBytes }: Pick<MeasureOptions, "limitBytes">): readonly string[] {
  const mostBytes = readLimit().bytes;
  if (limitBytes === undefined || limitBytes <= mostBytes) return [];
  return [
    `The limit that was asked for is more than there is: it was ${inMebibytes(mostBytes)} MiB`,
  ];
}

/**
 * Where no control group says how much memory there is: what was taken instead, and what could not be
 * read.
 *
 * @param root Directory that stands for `/`.
 */
export function unreadNotes(
  { limitBytes }: Pick<MeasureOptions, "limitBytes">,
  root?: string,
): readonly string[] {
  const { kind, bytes, notes } = readLimit(root);
  if (kind !== "physical" || limitBytes !== undefined || notes.length === 0) return [];
  return [
    `No memory limit could be read (${notes.join("; ")}): reckoned from the memory of the ` +
      `machine, ${inMebibytes(bytes)} MiB. --memory says another`,
  ];
}

/** What is known beside the steps. */
export function factsOf(
  options: MeasureOptions,
  { isQuick, notes }: Protocol,
  { isInGroup, busyNotes }: { readonly isInGroup: boolean; readonly busyNotes: readonly string[] },
): MeasurementFacts {
  const { agent, isClaude } = options;
  return {
    measuredAt: new Date().toISOString(),
    versions: versionsOf(options),
    agent: { name: agent.name, version: agent.version },
    model: isClaude ? `${agent.model.provider} ${agent.model.id}` : "rehearsal",
    machine: machine(),
    groupLimitBytes: isInGroup ? groupLimitOf(options) : null,
    isQuick,
    notes: [
      ...notes,
      ...busyNotes,
      ...limitNotes(options),
      ...unreadNotes(options),
      ...(isInGroup
        ? []
        : ["No control group could be made: what the kernel keeps is not counted"]),
    ],
  };
}

function machine(): Profile["machine"] {
  const { cpus: count } = cpuLimitReader({ cpuCount: availableParallelism })();
  return {
    cpus: count,
    cpuModel: (cpus()[0]?.model ?? "unknown").trim(),
    memoryBytes: readLimit().bytes,
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
  };
}

function versionsOf({ plimsollVersion }: MeasureOptions): Profile["versions"] {
  return { plimsoll: plimsollVersion, sdk: sdkVersion(), claudeCode: claudeCodeVersion() };
}
