/**
 * A unit of systemd: one replica on a machine, with control groups of its own for turns. Pure.
 *
 * @module
 */

import { formatDuration } from "../../lib/duration.ts";
import type { Artefact } from "./artefact.ts";
import { drainOf, ENDING_MS, wholeSeconds } from "./drain.ts";
import type { Premises } from "./premises.ts";
import { cpuWhy, memoryWhy, type ReplicaRoom, sizeText } from "./room.ts";
import { headOf, PROGRAM, serveArguments, variableOf, variablesOf } from "./settings.ts";
import { type Line, saidKey, writeLines } from "./write-lines.ts";

/** Threads and processes: of the server, and of a turn, which may have 256. */
const SERVER_TASKS = 64;
const TURN_TASKS = 256;

export function systemdArtefacts(premises: Premises, room: ReplicaRoom): readonly Artefact[] {
  const { name } = premises;
  const several =
    room.fleet.replicas === 1
      ? []
      : [
          `A machine has one replica: the plan needs ${room.fleet.replicas} machines and a proxy in front.`,
        ];
  return [
    writeLines(
      `systemd/${name}.service`,
      [
        ...headOf(premises, room, "a unit of systemd"),
        ...several,
        `The folder with the agents, after \`npm ci --omit=dev\` on this machine, is /opt/${name}.`,
        `Secrets are in /etc/${name}.env, readable by root alone: NAME=value a line.`,
      ],
      [
        "",
        "[Unit]",
        `Description=Plimsoll: ${name}`,
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
        ...whatRuns(premises, room),
        "",
        ...resourcesOf(premises, room),
        "",
        ...hardening(name),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
      ],
    ),
  ];
}

function whatRuns(premises: Premises, room: ReplicaRoom): readonly Line[] {
  const { name, variables } = premises;
  const drain = drainOf(premises);
  const words = ["/usr/bin/node", programOf(name), ...serveArguments(premises)].map(quoted);
  const settings = variablesOf(room, drain).map(({ name: variable, value, why }) => ({
    ...saidKey("Environment", quoted(`${variable}=${value}`), why),
    place: variable,
    value,
  }));
  return [
    "Type=exec",
    saidKey(
      "ExecStart",
      words.join(" "),
      "the program itself, not npm or a shell: it must be alone in its group, and gets SIGTERM",
    ),
    `WorkingDirectory=/opt/${name}`,
    saidKey("StateDirectory", name, `/var/lib/${name}, of the user of the unit: sessions`),
    "StateDirectoryMode=0700",
    `Environment=${variableOf("data.directory")}=%S/${name}`,
    ...settings,
    ...(variables.length === 0
      ? []
      : [saidKey("EnvironmentFile", `/etc/${name}.env`, `has ${variables.join(", ")}`)]),
    saidKey("KillMode", "mixed", "SIGTERM to the server alone, which ends its turns in order"),
    saidKey(
      "TimeoutStopSec",
      String(wholeSeconds(drain.graceMs + ENDING_MS)),
      `${formatDuration(drain.graceMs)} of drain.grace (${drain.why}), ` +
        `${formatDuration(ENDING_MS)} to end what is left`,
    ),
    "Restart=on-failure",
    saidKey("RestartSec", "1", "a start takes a second or two"),
  ];
}

function resourcesOf(premises: Premises, room: ReplicaRoom): readonly Line[] {
  const memory = sizeText(room.size.memoryBytes).replace(/iB$/u, "");
  const { turns } = room.fleet.replica;
  return [
    saidKey("MemoryMax", memory, memoryWhy(premises, room)),
    saidKey("MemorySwapMax", "0", "swap is no room for turns"),
    saidKey("CPUQuota", `${Math.round(room.size.cpus * 100)}%`, cpuWhy(premises, room)),
    saidKey(
      "TasksMax",
      String(SERVER_TASKS + TURN_TASKS * turns),
      `threads count too: ${SERVER_TASKS} for the server, ${TURN_TASKS} for each of ${turns} turns`,
    ),
    saidKey(
      "Delegate",
      "yes",
      "the server makes a control group for each turn, with the ceiling limits.turnMemory",
    ),
    saidKey("OOMPolicy", "continue", "the end of a tool is not the end of the server"),
    saidKey(
      "OOMScoreAdjust",
      "0",
      "the server last; it ranks agent processes and tools above itself",
    ),
  ];
}

function hardening(name: string): readonly Line[] {
  return [
    saidKey("DynamicUser", "yes", `a user of its own, not root, that exists while ${name} runs`),
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    saidKey("ProtectSystem", "strict", "all is read-only but the state directory and /tmp"),
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    saidKey("ProtectControlGroups", "no", "or the groups of turns could not be made"),
    "RestrictSUIDSGID=yes",
    "RestrictRealtime=yes",
    "RestrictNamespaces=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "LockPersonality=yes",
    saidKey("MemoryDenyWriteExecute", "no", "Node and Claude Code compile as they run"),
    "SystemCallArchitectures=native",
    "UMask=0077",
    saidKey("LimitCORE", "0", "a dump would hold prompts and keys"),
  ];
}

function programOf(name: string): string {
  return `/opt/${name}/${PROGRAM}`;
}

/** A word as systemd reads it: no specifier, no variable, no end of a string. */
function quoted(word: string): string {
  const escaped = word.replaceAll("%", "%%").replaceAll("$", "$$$$");
  if (/^[\w@%+=:,./$-]+$/u.test(escaped)) return escaped;
  return `"${escaped.replaceAll(/["\\]/gu, "\\$&").replaceAll("\n", "\\n")}"`;
}
