/**
 * Compose: all replicas on one machine, each with a port of its own for a proxy in front. Pure.
 *
 * @module
 */

import { formatDuration } from "../../lib/duration.ts";
import { type Artefact, said, type Tree } from "./artefact.ts";
import { drainOf, ENDING_MS } from "./drain.ts";
import type { Premises } from "./premises.ts";
import { cpuWhy, filesWhy, memoryWhy, replicasWhy, type ReplicaRoom, sizeText } from "./room.ts";
import {
  containerVariables,
  DATA_DIRECTORY,
  headOf,
  saidOf,
  serveArguments,
  USER,
  variablesOf,
} from "./settings.ts";
import { writeYaml } from "./write-yaml.ts";

/** Threads and processes: of the server, and of a turn with its tools. */
const SERVER_TASKS = 64;
const TURN_TASKS = 64;

export function composeArtefacts(premises: Premises, room: ReplicaRoom): readonly Artefact[] {
  const { name, isShared } = premises;
  const tree: Tree = {
    services: { [name]: serviceOf(premises, room) },
    volumes: isShared ? undefined : { data: {} },
  };
  const several =
    room.fleet.replicas === 1
      ? []
      : [
          "All replicas on one machine: it needs the memory and the CPUs of them together, and dies as one.",
          "A proxy in front spreads the turns over the ports; it must not buffer event streams.",
        ];
  return [
    writeYaml(
      "compose/compose.yaml",
      [
        ...headOf(premises, room, "a Compose file"),
        `docker compose -p ${name} -f ${premises.folder}/compose/compose.yaml up`,
        ...several,
      ],
      [tree],
    ),
  ];
}

function serviceOf(premises: Premises, room: ReplicaRoom): Tree {
  const { image, isShared, variables } = premises;
  const drain = drainOf(premises);
  const memory = sizeText(room.size.memoryBytes).replace(/iB$/u, "").toLowerCase();
  const files = sizeText(room.filesBytes).replace(/iB$/u, "").toLowerCase();
  const { turns } = room.fleet.replica;
  const settings = [...containerVariables(premises), ...variablesOf(room, drain)];
  return {
    image: said(image, "of --image; a digest (@sha256:…) cannot change under you"),
    command: serveArguments(premises).map(escaped),
    user: said(`${USER}:${USER}`, "the user of the image: not root"),
    environment: {
      ...Object.fromEntries(
        variables.map((variable) => [
          variable,
          said(`\${${variable}:?}`, "of yours: it has to be set"),
        ]),
      ),
      ...Object.fromEntries(settings.map((one) => [one.name, saidOf(one)])),
    },
    ports: [portsOf(premises, room)],
    deploy: { replicas: said(room.fleet.replicas, replicasWhy(premises, room)) },
    mem_limit: said(memory, memoryWhy(premises, room)),
    memswap_limit: said(memory, "as mem_limit: swap is no room for turns"),
    cpus: said(room.size.cpus, cpuWhy(premises, room)),
    pids_limit: said(
      SERVER_TASKS + TURN_TASKS * turns,
      `threads count too: ${SERVER_TASKS} for the server, ${TURN_TASKS} for each of ${turns} turns`,
    ),
    read_only: true,
    tmpfs: [said(`/tmp:size=${files},mode=1777`, filesWhy(room))],
    volumes: [volumeOf(isShared)],
    cap_drop: ["ALL"],
    security_opt: ["no-new-privileges:true"],
    stop_grace_period: said(
      formatDuration(drain.graceMs + ENDING_MS),
      `${formatDuration(drain.graceMs)} of drain.grace (${drain.why}), ` +
        `${formatDuration(ENDING_MS)} to end what is left`,
    ),
    restart: "unless-stopped",
    logging: {
      driver: "local",
      options: {
        "max-size": said("20m", "logs are rotated: a full disk fails turns"),
        "max-file": said("5", "likewise"),
      },
    },
  };
}

function portsOf({ port }: Premises, { fleet }: ReplicaRoom): Tree {
  const { replicas } = fleet;
  const published = replicas === 1 ? String(port) : `${port}-${port + replicas - 1}`;
  const each = replicas === 1 ? "" : `, a port for each of ${replicas} replicas`;
  const why = `listen.port${each}; reached by a proxy on this machine, which has TLS`;
  return said(`127.0.0.1:${published}:${port}`, why);
}

function volumeOf(isShared: boolean): Tree {
  return isShared
    ? {
        type: "volume",
        target: said(
          DATA_DIRECTORY,
          "of no name: each replica has its own, as one server at a time may use a data directory",
        ),
      }
    : {
        type: "volume",
        source: said("data", "sessions outlive the container"),
        target: DATA_DIRECTORY,
      };
}

/** Compose replaces `$NAME`, also in a command. */
function escaped(word: string): string {
  return word.replaceAll("$", "$$$$");
}
