/**
 * Flags that stand for keys of the workload file: the same for `plan` and for `deploy`, so that the
 * plan that was looked at is the one that is deployed.
 *
 * @module
 */

import { type Command, Option } from "commander";
import type { WorkloadInput } from "../sizing/load-workload.ts";
import { BALANCING } from "../sizing/workload.ts";

const FLAGS = {
  profile: ["--profile <file>", "what `plimsoll measure` wrote for the agent"],
  prices: ["--prices <file>", "price file"],
  users: ["--users <number>", "users in the busiest hour"],
  turnsPerUserHour: [
    "--turns-per-user-hour <number>",
    "turns that each of them asks for in that hour",
  ],
  trace: ["--trace <file>", "table of turns that came, in place of turns an hour and duration"],
  turnDuration: ["--turn-duration <duration>", "how long a turn lasts on average"],
  turnsPerSession: ["--turns-per-session <number>", "turns of a conversation"],
  shedTarget: ["--shed-target <percentage>", "part of the attempts that may be refused"],
  retryShare: ["--retry-share <percentage>", "part of the refused that try again at once"],
  minReplicas: ["--min-replicas <number>", "fewest replicas"],
  modelRequests: ["--model-requests <rate>", "requests that the model takes, e.g. 4000/min"],
  modelTokens: ["--model-tokens <rate>", "tokens that the model takes, e.g. 400000/min"],
} as const;

/** The flags as commander has them: any of the keys, and no other. */
export type WorkloadFlags = { readonly [Key in keyof typeof FLAGS | "balancing"]?: string };

export function withWorkloadFlags(command: Command): Command {
  for (const [flag, meaning] of Object.values(FLAGS)) command.option(flag, meaning);
  return command.addOption(
    new Option("--balancing <kind>", "whether a refused turn finds room elsewhere").choices(
      BALANCING,
    ),
  );
}

/** The keys that were given; what else a command has is left out. */
export function workloadFlagsOf(flags: WorkloadFlags): WorkloadInput["flags"] {
  const keys = [...Object.keys(FLAGS), "balancing"] as readonly (keyof WorkloadFlags)[];
  return Object.fromEntries(keys.map((key) => [key, flags[key]]));
}
