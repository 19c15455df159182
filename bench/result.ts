/**
 * What a benchmark hands over, and what is written of it.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import { pageOf } from "./page.ts";

/** A figure that was promised, whether it is held or not. */
export interface Claim {
  readonly claim: string;
  readonly target: string;
  readonly measured: string;
  readonly holds: boolean;
}

export interface BenchmarkOutcome {
  readonly claims: readonly Claim[];
  /** Whatever the figures were made from. */
  readonly data: unknown;
  /** Markdown between the table of claims and the machine. */
  readonly sections: readonly string[];
  /** SVG by name; the page shows `carry-memory.svg` of `carry` as `![](carry-memory.svg)`. */
  readonly pictures?: Readonly<Record<string, string>>;
}

/** `small` runs in a minute or two, for CI: it shows that all works, not how well. */
export type Size = "full" | "small";

export interface Benchmark {
  readonly name: string;
  readonly summary: string;
  /** Whether `--small` means something to it. */
  readonly hasSmall?: true;
  /** The flag that says how many there are to be of what it is about: `--conversations=60`. */
  readonly countFlag?: string;
  /**
   * @param signal Aborts when the run is to end early.
   * @param count In place of the number that the size has; its page says so.
   * @throws {Unavailable}
   */
  run(
    report: (line: string) => void,
    signal: AbortSignal,
    size: Size,
    count?: number,
  ): Promise<BenchmarkOutcome>;
}

/** Something of the machine that a benchmark cannot do without is not there. */
export class Unavailable extends Error {
  override readonly name = "Unavailable";
}

export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly system: string;
  readonly node: string;
  readonly sdk: string;
  readonly plimsoll: string;
  /** Average of the last minute. */
  readonly load: { readonly before: number; readonly after: number };
  /** CPU time that the host gave to others while it was asked for; null where it is not told. */
  readonly stolenRatio: number | null;
}

export interface BenchmarkResult {
  readonly name: string;
  readonly commit: string;
  readonly machine: Machine;
  readonly date: string;
  readonly claims: readonly Claim[];
  readonly data: unknown;
}

export function atMost(claim: string, limit: number, value: number, show: Show): Claim {
  return { claim, target: `≤ ${show(limit)}`, measured: show(value), holds: value <= limit };
}

export function atLeast(claim: string, limit: number, value: number, show: Show): Claim {
  return { claim, target: `≥ ${show(limit)}`, measured: show(value), holds: value >= limit };
}

type Show = (value: number) => string;

const RESULTS = new URL("results/", import.meta.url);

/** Runs a benchmark and writes `results/<name>.json` and `results/<name>.md`. */
export async function runAndWrite(
  benchmark: Benchmark,
  report: (line: string) => void,
  signal: AbortSignal,
  count?: number,
): Promise<BenchmarkResult> {
  const before = loadAverage();
  const cpuBefore = readCpuTime();
  const {
    claims,
    data,
    sections,
    pictures = {},
  } = await benchmark.run(report, signal, "full", count);
  const result: BenchmarkResult = {
    name: benchmark.name,
    commit: commit(),
    machine: machineOf({ before, after: loadAverage() }, stolenRatioSince(cpuBefore)),
    date: new Date().toISOString(),
    claims,
    data,
  };
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(new URL(`${result.name}.json`, RESULTS), `${JSON.stringify(result, null, 1)}\n`);
  writeFileSync(new URL(`${result.name}.md`, RESULTS), pageOf(result, sections));
  for (const [name, svg] of Object.entries(pictures)) writeFileSync(new URL(name, RESULTS), svg);
  return result;
}

interface CpuTime {
  readonly busy: number;
  readonly stolen: number;
}

/** In ticks, from the first line of /proc/stat; null where it is missing. */
function readCpuTime(): CpuTime | null {
  try {
    const fields = readFileSync("/proc/stat", "utf8").split("\n", 1)[0]?.split(/\s+/).slice(1);
    const [user, nice, system, , , irq, softirq, stolen] = (fields ?? []).map(Number);
    const busy = [user, nice, system, irq, softirq].reduce<number>((a, b = 0) => a + b, 0);
    return { busy, stolen: stolen ?? 0 };
  } catch {
    return null;
  }
}

function stolenRatioSince(before: CpuTime | null): number | null {
  const after = readCpuTime();
  if (before === null || after === null) return null;
  const stolen = after.stolen - before.stolen;
  return stolen / Math.max(1, after.busy - before.busy + stolen);
}

function machineOf(load: Machine["load"], stolenRatio: number | null): Machine {
  const own = JSON.parse(readText("../package.json")) as { version: string };
  const sdk = JSON.parse(
    readText("../node_modules/@anthropic-ai/claude-agent-sdk/package.json"),
  ) as { version: string };
  return {
    processor: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryBytes: totalmem(),
    system: `${type()} ${release()}`,
    node: process.versions.node,
    sdk: sdk.version,
    plimsoll: own.version,
    load,
    stolenRatio,
  };
}

function loadAverage(): number {
  return Math.round((loadavg()[0] ?? 0) * 100) / 100;
}

/** With `+changes` if the tree under test is not the commit. */
function commit(): string {
  try {
    const git = (...args: string[]) =>
      execFileSync("git", args, { cwd: new URL("..", import.meta.url), encoding: "utf8" }).trim();
    const isChanged = git("status", "--porcelain", "--", "src", "bench/*.ts") !== "";
    return `${git("rev-parse", "HEAD")}${isChanged ? "+changes" : ""}`;
  } catch {
    return "unknown";
  }
}

function readText(path: string): string {
  return readFileSync(new URL(path, import.meta.url), "utf8");
}
