/**
 * `npm run bench` lists the benchmarks; `npm run bench -- NAME` runs one and writes its result.
 * The exit code is 1 when a claim does not hold.
 *
 * @module
 */

import { idle } from "./idle.ts";
import { overhead } from "./overhead.ts";
import { runAndWrite } from "./result.ts";
import { shed } from "./shed.ts";

const BENCHMARKS = [overhead, shed, idle];

const [name] = process.argv.slice(2);
const chosen = BENCHMARKS.find((benchmark) => benchmark.name === name);
if (chosen !== undefined) {
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  process.once("SIGTERM", () => stop.abort());
  const { claims } = await runAndWrite(chosen, (line) => console.log(line), stop.signal);
  console.log();
  for (const { claim, target, measured, holds } of claims) {
    console.log(`${holds ? "holds     " : "FALLS OUT "} ${claim}: ${measured} (${target})`);
  }
  console.log(`\nWritten to bench/results/${chosen.name}.md and .json`);
  process.exitCode = claims.every(({ holds }) => holds) ? 0 : 1;
} else {
  for (const { name: each, summary } of BENCHMARKS) console.log(`${each.padEnd(10)} ${summary}`);
  if (name !== undefined) {
    console.error(`\nThere is no benchmark "${name}"`);
    process.exitCode = 64;
  }
}
