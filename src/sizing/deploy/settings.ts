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
import type { Room } from "./room.ts";

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
  readonly value: Said;
}

/** The variable of a setting, e.g. `PLIMSOLL_DRAIN_GRACE`. */
export function variableOf(setting: string): string {
  const found = SETTINGS.find(({ name }) => name === setting);
  if (found === undefined) throw new TypeError(`There is no setting ${setting}`);
  return found.variable;
}

/** Settings of every replica. */
export function variablesOf(room: Room, drain: Drain): readonly Variable[] {
  const { replica } = room.fleet;
  const ofSetting = (setting: string, value: string, why: string) => ({
    name: variableOf(setting),
    value: said(value, why),
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
    { name: "NODE_OPTIONS", value: nodeOptions(room) },
  ];
}

/** In every container: where it listens, and where the one place is that can be written to. */
export function containerVariables({ port }: Premises): readonly Variable[] {
  return [
    {
      name: variableOf("listen.host"),
      value: said("0.0.0.0", "a container is called from outside; who may is in auth.keys"),
    },
    {
      name: variableOf("listen.port"),
      value: said(String(port), "listen.port of the server file; the probes ask there too"),
    },
    {
      name: variableOf("data.directory"),
      value: said(DATA_DIRECTORY, "HOME, CLAUDE_CONFIG_DIR and TMPDIR of each session are below it"),
    },
  ];
}

function nodeOptions({ size }: Room): Said {
  const isSmall = size.cpus <= 2;
  const text = "--use-largepages=silent keeps the text of the memory guard in memory";
  return said(
    isSmall ? "--use-largepages=silent --v8-pool-size=1" : "--use-largepages=silent",
    isSmall ? `${text}; up to 2 CPUs one thread of V8 less waits for them` : text,
  );
}

/** After `node` and the program: what is served. */
export function serveArguments({ agentPath, serverFile }: Premises): readonly string[] {
  return ["serve", agentPath, ...(serverFile === null ? [] : ["--config", serverFile])];
}

/** The first lines of an artefact. */
export function headOf({ name, image }: Premises, { fleet }: Room, what: string): string[] {
  const replicas = `${fleet.replicas} replica${fleet.replicas === 1 ? "" : "s"}`;
  return [
    `${what} of ${name} (${image}), made by \`plimsoll deploy\` for ${replicas} of ${fleet.size.name}.`,
    "Yours to edit: `plimsoll deploy --check` tells whether it still fits the plan.",
  ];
}
