/**
 * The command `plan` and its flags; what it does is loaded when it runs.
 *
 * @module
 */

import { type Command, Option } from "commander";
import { type Done, REPORT_FORMATS, type ReportFormat } from "./flags.ts";
import type { Io } from "./io.ts";
import { type WorkloadFlags, withWorkloadFlags, workloadFlagsOf } from "./workload-flags.ts";

export function addPlan(program: Command, io: Io, done: Done): void {
  withWorkloadFlags(
    program
      .command("plan")
      .description("how many replicas of which size a workload needs, and what breaks the plan")
      .argument("[path]", "workload file; workload.yaml if it is there"),
  )
    .addOption(
      new Option("--format <format>", "how to print the plan")
        .choices(REPORT_FORMATS)
        .default("text"),
    )
    .action(async (path: string | undefined, flags: PlanFlags) => {
      const { runPlan } = await import("./plan.ts");
      const options = { format: flags.format, flags: workloadFlagsOf(flags) };
      done(await runPlan({ ...(path !== undefined && { path }), ...options }, io));
    });
}

interface PlanFlags extends WorkloadFlags {
  readonly format: ReportFormat;
}
