/**
 * `npm run bench` lists the benchmarks; `npm run bench -- NAME …` runs those, one after the other,
 * and writes their results; `all` stands for all of them. With `--small` it runs a short form and
 * writes nothing, for CI. Some take how many there are to be of what they are about, as
 * `replicas --conversations=60` does.
 *
 * The exit code is 1 when a claim does not hold, and 69 when the machine lacks what it takes.
 *
 * @module
 */

import { balloons } from "./balloons.ts";
import { bursts } from "./bursts.ts";
import { carry } from "./carry.ts";
import { consoleBench } from "./console.ts";
import { erlangCheck } from "./erlang-check.ts";
import { fleet } from "./fleet.ts";
import { guardSim } from "./guard-sim.ts";
import { idle } from "./idle.ts";
import { idleSessions } from "./idle-sessions.ts";
import { kills } from "./kills.ts";
import { livelock } from "./livelock.ts";
import { measure } from "./measure.ts";
import { oomReplay } from "./oom-replay.ts";
import { overhead } from "./overhead.ts";
import { patterns } from "./patterns.ts";
import { prediction } from "./prediction.ts";
import { reattach } from "./reattach.ts";
import { replicas } from "./replicas.ts";
import { retention } from "./retention.ts";
import { retries } from "./retries.ts";
import { runAndWrite, Unavailable, type Benchmark, type Claim } from "./result.ts";
import { shed } from "./shed.ts";
import { soak } from "./soak.ts";
import { stores } from "./stores.ts";

const STOPPED = 130;

const BENCHMARKS: readonly Benchmark[] = [
  overhead,
  shed,
  idle,
  carry,
  oomReplay,
  balloons,
  bursts,
  soak,
  patterns,
  prediction,
  retention,
  reattach,
  guardSim,
  livelock,
  replicas,
  kills,
  stores,
  idleSessions,
  measure,
  erlangCheck,
  retries,
  fleet,
  consoleBench,
];

const words = process.argv.slice(2);
const names = words.filter((word) => !word.startsWith("--"));
const flags = words.filter((word) => word.startsWith("--"));
const isSmall = flags.includes("--small");
const wanted = names.includes("all") ? BENCHMARKS.map(({ name }) => name) : names;
const chosen = BENCHMARKS.filter(({ name }) => wanted.includes(name));
const unknownName = wanted.find((name) => !chosen.some((benchmark) => benchmark.name === name));
const [count, ...otherCounts] = flags.filter((flag) => flag !== "--small");
const [countFlag = "", countText = ""] = count?.slice(2).split("=") ?? [];
const isCount = /^[1-9]\d{0,5}$/.test(countText) && otherCounts.length === 0;
const takesCount = chosen.every((benchmark) => benchmark.countFlag === countFlag);
const withoutSmall = chosen.find(({ hasSmall }) => hasSmall !== true);
if (names.length === 0) {
  list();
} else if (unknownName !== undefined) {
  list();
  fail(64, `There is no benchmark "${unknownName}"`);
} else if (count !== undefined && !(isCount && takesCount)) {
  fail(64, `There is no ${count}`);
} else if (isSmall && withoutSmall !== undefined) {
  fail(64, `${withoutSmall.name} has no small form`);
} else {
  for (const benchmark of chosen) await run(benchmark);
}

async function run(benchmark: Benchmark): Promise<void> {
  if (process.exitCode === STOPPED) return;
  if (chosen.length > 1) console.log(`\n=== ${benchmark.name}`);
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  process.once("SIGTERM", () => stop.abort());
  const report = (line: string) => console.log(line);
  try {
    const number = count === undefined ? undefined : Number(countText);
    const { claims } = isSmall
      ? await benchmark.run(report, stop.signal, "small", number)
      : await runAndWrite(benchmark, report, stop.signal, number);
    tell(claims);
    if (!isSmall) console.log(`\nWritten to bench/results/${benchmark.name}.md and .json`);
    if (claims.some(({ holds }) => !holds)) process.exitCode = 1;
  } catch (error) {
    // What fell short before stays told.
    if (error instanceof Unavailable)
      fail(process.exitCode === 1 ? 1 : 69, `Skipped: ${error.message}`);
    else if (stop.signal.aborted) fail(STOPPED, "Stopped");
    else throw error;
  }
}

function tell(claims: readonly Claim[]): void {
  console.log();
  for (const { claim, target, measured, holds } of claims) {
    console.log(`${holds ? "holds     " : "FALLS OUT "} ${claim}: ${measured} (${target})`);
  }
}

function list(): void {
  for (const { name: each, summary } of BENCHMARKS) console.log(`${each.padEnd(13)} ${summary}`);
}

function fail(exitCode: number, message: string): void {
  console.error(`\n${message}`);
  process.exitCode = exitCode;
}
