/**
 * The flags of `plimsoll simulate`.
 *
 * @module
 */

import { type Command, Option } from "commander";
import type { Done } from "./flags.ts";
import type { Io } from "./io.ts";
import type { SimulateOptions } from "./simulate.ts";

const FORMATS: readonly SimulateOptions["format"][] = ["text", "json", "html", "markdown"];

export function addSimulate(program: Command, io: Io, done: Done): void {
  program
    .command("simulate")
    .description("what a fleet of replicas would do with such a load; starts nothing")
    .argument("[scenario]", "scenario file; a simple scenario of the flags without it")
    .option("--rate <rate>", "turns asked for, e.g. 2/s, 90/min or 5000/h")
    .option("--duration <time>", "in which turns arrive, e.g. 1h")
    .option("--replicas <number>", "replicas at the beginning")
    .option("--memory <size>", "memory limit of each, e.g. 2GiB")
    .option("--profile <file>", "profile of the agent, as `plimsoll measure` made it")
    .option("--seed <number>", "the same seed gives the same result")
    .option(
      "--runs <number>",
      "how often, with the seed and those after it; 5 or more tell the spread",
    )
    .addOption(
      new Option("--format <format>", "how to show the result").choices(FORMATS).default("text"),
    )
    .option("--output <file>", "where to write it; the standard output without it")
    .action(async (scenario: string | undefined, flags: Omit<SimulateOptions, "scenario">) => {
      const { runSimulate } = await import("./simulate.ts");
      const options = { ...flags, ...(scenario !== undefined && { scenario }) };
      done(await runSimulate(options, io));
    });
}
