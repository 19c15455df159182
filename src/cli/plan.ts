/**
 * `plimsoll plan`: how many replicas of which size carry a workload, and what breaks the plan.
 *
 * @module
 */

import { loadWorkload, type WorkloadInput } from "../sizing/load-workload.ts";
import { makePlan, modelIsShort } from "../sizing/plan.ts";
import { planReport } from "../sizing/plan-report.ts";
import { EXIT } from "./exit-codes.ts";
import type { ReportFormat } from "./flags.ts";
import type { Io } from "./io.ts";
import { reportAs } from "./report-as.ts";

export interface PlanOptions extends Pick<WorkloadInput, "path" | "flags"> {
  readonly format: ReportFormat;
}

export type PlanIo = Pick<Io, "stdout" | "environment" | "workingDirectory" | "color">;

/**
 * The exit code: 0 if there is a plan, 78 if no size can do it, or the model cannot.
 *
 * @throws {DiagnosticsError} `config_invalid` when a file does not fit.
 */
export async function runPlan({ format, ...options }: PlanOptions, io: PlanIo): Promise<number> {
  const loaded = await loadWorkload({ ...options, ...io });
  const plan = makePlan(loaded.profile, loaded.workload, loaded.sizes);
  const json = { ...plan, profile: loaded.profile, warnings: loaded.warnings };
  io.stdout(reportAs(format, planReport(plan, loaded), { json, color: io.color }));
  const isPossible = plan.advised !== null && !modelIsShort(plan.workload);
  return isPossible ? EXIT.ok : EXIT.config;
}
