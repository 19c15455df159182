/**
 * `plimsoll plan`: how many replicas of which size carry a workload, and what breaks the plan.
 *
 * @module
 */

import { loadWorkload, type WorkloadInput } from "../sizing/load-workload.ts";
import { makePlan } from "../sizing/plan.ts";
import { EXIT } from "./exit-codes.ts";
import type { Io } from "./io.ts";
import { painter } from "./paint.ts";
import { planMarkdown, planText } from "./plan-text.ts";

export interface PlanOptions extends Pick<WorkloadInput, "path" | "flags"> {
  readonly format: "text" | "markdown" | "json";
}

export type PlanIo = Pick<Io, "stdout" | "environment" | "workingDirectory" | "color">;

/**
 * The exit code: 0 if there is a plan, 78 if no size can do it.
 *
 * @throws {DiagnosticsError} `config_invalid` when a file does not fit.
 */
export async function runPlan(options: PlanOptions, io: PlanIo): Promise<number> {
  const loaded = await loadWorkload({ ...options, ...io });
  const plan = makePlan(loaded.profile, loaded.workload, loaded.sizes);
  switch (options.format) {
    case "json":
      io.stdout(`${JSON.stringify({ ...plan, profile: loaded.profile }, null, 2)}\n`);
      break;
    case "markdown":
      io.stdout(planMarkdown(plan, loaded));
      break;
    case "text":
      io.stdout(planText(plan, loaded, painter(io.color)));
  }
  return plan.advised === null ? EXIT.config : EXIT.ok;
}
