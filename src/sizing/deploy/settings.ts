/**
 * What an artefact says to the server: settings as variables of the environment, which go before the
 * server file, and the command. Pure.
 *
 * @module
 */

import { SETTINGS } from "../../config/settings.ts";
import { formatDuration } from "../../lib/duration.ts";
import { said, type Said } from "./artefact.ts";
import type { Drain } from "./drain.ts";
import type { Premises } from "./premises.ts";
import type { ReplicaRoom } from "./room.ts";

/** Where the sessions are, within a container. */
export const DATA_DIRECTORY = "/data";
/** Where the folder with the agents is, within a container. */
export const APP_DIRECTORY = "/app";
/** The program, below the folder with the agents. */
export const PROGRAM = "node_modules/plimsoll/build/main.js";
/** User and group, the same in both images: that of `nonroot` in distroless ones. */
export const USER = 65_532;

export interface Variable {
  readonly name: string;
  readonly value: string;
  readonly why: string;
}

/** A variable as a value of a tree. */
export function saidOf({ value, why }: Variable): Said {
  return said(value, why);
}

/** The variable of a setting, e.g. `PLIMSOLL_DRAIN_GRACE`. */
export function variableOf(setting: string): string {
  const found = SETTINGS.find(({ name }) => name === setting);
  if (found === undefined) throw new TypeError(`There is no setting ${setting}`);
  return found.variable;
}

/** Settings of every replica. */
export function variablesOf(room: ReplicaRoom, drain: Drain): readonly Variable[] {
  const { replica } = room.fleet;
  const ofSetting = (setting: string, value: string, why: string) => ({
    name: variableOf(setting),
    value,
    why,
  });
  return [
    ofSetting("drain.grace", formatDuration(drain.graceMs), drain.why),
    ...(replica.binds === "cpu"
      ? [
          ofSetting(
            "capacity.maxTurns",
            String(replica.turns),
            `turns by CPU; by memory ${replica.memoryTurns} would fit, and start late`,
          ),
        ]
      : []),
    { name: "NODE_OPTIONS", ...nodeOptions(room) },
  ];
}

/** In every container: where it listens, and where the one place is that can be written to. */
export function containerVariables({ port }: Premises): readonly Variable[] {
  return [
    {
      name: variableOf("listen.host"),
      value: "0.0.0.0",
      why: "a container is called from outside; who may is in auth.keys",
    },
    {
      name: variableOf("listen.port"),
      value: String(port),
      why: "listen.port of the server file; the probes ask there too",
    },
    {
      name: variableOf("data.directory"),
      value: DATA_DIRECTORY,
      why: "HOME, CLAUDE_CONFIG_DIR and TMPDIR of each session are below it",
    },
  ];
}

function nodeOptions({ size }: ReplicaRoom): Omit<Variable, "name"> {
  const why = "--use-largepages=silent keeps the text of the memory guard in memory";
  if (size.cpus > 2) return { value: "--use-largepages=silent", why };
  return {
    value: "--use-largepages=silent --v8-pool-size=1",
    why: `${why}; up to 2 CPUs fewer threads of V8 wait for them`,
  };
}

/** After `node` and the program: what is served. */
export function serveArguments({ agentPath, serverFile }: Premises): readonly string[] {
  return ["serve", agentPath, ...(serverFile === null ? [] : ["--config", serverFile])];
}

/** The first lines of an artefact. */
export function headOf({ name }: Premises, { fleet }: ReplicaRoom, what: string): string[] {
  const replicas = `${fleet.replicas} replica${fleet.replicas === 1 ? "" : "s"}`;
  return [
    `${name}: ${what}. Made by \`plimsoll deploy\` for ${replicas} of ${fleet.size.name}.`,
    "Yours to edit: `plimsoll deploy --check` tells whether it still fits the plan.",
  ];
}
