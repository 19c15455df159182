/**
 * `npm run bench` lists the benchmarks; `npm run bench -- NAME` runs one and writes its result.
 * `npm run bench -- NAME --small` runs a short form and writes nothing, for CI.
 *
 * The exit code is 1 when a claim does not hold, and 69 when the machine lacks what it takes.
 *
 * @module
 */

import { balloons } from "./balloons.ts";
import { bursts } from "./bursts.ts";
import { carry } from "./carry.ts";
import { guardSim } from "./guard-sim.ts";
import { idle } from "./idle.ts";
import { livelock } from "./livelock.ts";
import { oomReplay } from "./oom-replay.ts";
import { overhead } from "./overhead.ts";
import { patterns } from "./patterns.ts";
import { prediction } from "./prediction.ts";
import { runAndWrite, Unavailable, type Benchmark, type Claim } from "./result.ts";
import { shed } from "./shed.ts";
import { soak } from "./soak.ts";

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
  guardSim,
  livelock,
];

const [name, ...flags] = process.argv.slice(2);
const isSmall = flags.includes("--small");
const unknownFlag = flags.find((flag) => flag !== "--small");
const chosen = BENCHMARKS.find((benchmark) => benchmark.name === name);
if (name === undefined) {
  list();
} else if (chosen === undefined) {
  list();
  fail(64, `There is no benchmark "${name}"`);
} else if (unknownFlag !== undefined || (isSmall && chosen.hasSmall !== true)) {
  fail(64, `${chosen.name} has no ${unknownFlag ?? "small form"}`);
} else {
  await run(chosen);
}

async function run(benchmark: Benchmark): Promise<void> {
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  process.once("SIGTERM", () => stop.abort());
  const report = (line: string) => console.log(line);
  try {
    const { claims } = isSmall
      ? await benchmark.run(report, stop.signal, "small")
      : await runAndWrite(benchmark, report, stop.signal);
    tell(claims);
    if (!isSmall) console.log(`\nWritten to bench/results/${benchmark.name}.md and .json`);
    process.exitCode = claims.every(({ holds }) => holds) ? 0 : 1;
  } catch (error) {
    if (error instanceof Unavailable) fail(69, `Skipped: ${error.message}`);
    else if (stop.signal.aborted) fail(130, "Stopped");
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
  for (const { name: each, summary } of BENCHMARKS) console.log(`${each.padEnd(10)} ${summary}`);
}

function fail(exitCode: number, message: string): void {
  console.error(`\n${message}`);
  process.exitCode = exitCode;
}
