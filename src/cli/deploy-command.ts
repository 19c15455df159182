/**
 * The command `plimsoll deploy` with its flags; the work is in `deploy.ts`.
 *
 * @module
 */

import { type Command, InvalidArgumentError } from "commander";
import { TARGETS } from "../sizing/deploy/targets.ts";
import type { Done } from "./flags.ts";
import type { Io } from "./io.ts";
import { type WorkloadFlags, withWorkloadFlags, workloadFlagsOf } from "./workload-flags.ts";

const PLATFORMS: readonly string[] = ["all", ...TARGETS];

function collectTarget(text: string, before: readonly string[] = []): readonly string[] {
  if (PLATFORMS.includes(text)) return [...before, text];
  throw new InvalidArgumentError(`Allowed choices are ${PLATFORMS.join(", ")}.`);
}

export function addDeploy(program: Command, io: Io, done: Done): void {
  withWorkloadFlags(
    program
      .command("deploy")
      .description("files for Docker, Kubernetes and other platforms, made from the plan")
      .argument("[path]", "workload file; workload.yaml if it is there"),
  )
    .option("--agent <path>", "agent file or folder", "agent.yaml")
    .option("-c, --config <file>", "server file; plimsoll.yaml if it is there")
    .option("--target <platform>", `${PLATFORMS.join(", ")}; as often as needed`, collectTarget)
    .option("--image <name:tag>", "image of the replicas")
    .option("--name <name>", "name of the service; the agent's without it")
    .option("--size <name>", "size of the plan; the advised one without it")
    .option("--prometheus <url>", "where KEDA and Container Apps ask for turns in flight")
    .option("--output <folder>", "where to write", "deploy")
    .option("--explain", "tell why each value is what it is")
    .option("--force", "replace files that are there")
    .option("--check", "look whether the files that are there fit the plan, and write nothing")
    .action(async (workload: string | undefined, flags: DeployFlags) => {
      const { runDeploy, targetsOf } = await import("./deploy.ts");
      const { target = [], config, explain, force, check, ...others } = flags;
      const options = {
        ...others,
        ...(workload !== undefined && { workload }),
        workloadFlags: workloadFlagsOf(flags),
        ...(config !== undefined && { serverFile: config }),
        targets: targetsOf(target),
        explain: explain === true,
        force: force === true,
        check: check === true,
      };
      done(await runDeploy(options, io));
    });
}

interface DeployFlags extends WorkloadFlags {
  readonly agent: string;
  readonly config?: string;
  readonly target?: readonly string[];
  readonly image?: string;
  readonly name?: string;
  readonly size?: string;
  readonly prometheus?: string;
  readonly output: string;
  readonly explain?: boolean;
  readonly force?: boolean;
  readonly check?: boolean;
}
