/**
 * The command `plan` and its flags; what it does is loaded when it runs.
 *
 * @module
 */

import { type Command, Option } from "commander";
import { type Done, REPORT_FORMATS, type ReportFormat } from "./flags.ts";
import type { Io } from "./io.ts";

export function addPlan(program: Command, io: Io, done: Done): void {
  program
    .command("plan")
    .description("how many replicas of which size a workload needs, and what breaks the plan")
    .argument("[path]", "workload file; workload.yaml if it is there")
    .option("--profile <file>", "what `plimsoll measure` wrote for the agent")
    .option("--prices <file>", "price file")
    .option("--users <number>", "users in the busiest hour")
    .option("--turns-per-user-hour <number>", "turns that each of them asks for in that hour")
    .option("--trace <file>", "table of turns that came, in place of both")
    .option("--turn-duration <duration>", "how long a turn lasts on average")
    .option("--turns-per-session <number>", "turns of a conversation")
    .option("--shed-target <percentage>", "part of the attempts that may be refused")
    .option("--balancing <kind>", "`random` or `pooled`")
    .addOption(
      new Option("--format <format>", "how to print the plan")
        .choices(REPORT_FORMATS)
        .default("text"),
    )
    .action(async (path: string | undefined, { format, ...flags }: PlanFlags) => {
      const { runPlan } = await import("./plan.ts");
      done(await runPlan({ ...(path !== undefined && { path }), format, flags }, io));
    });
}

interface PlanFlags extends Record<string, string | undefined> {
  readonly format: ReportFormat;
}
