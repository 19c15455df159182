/**
 * Two images: one with a shell, which tools need, and one without. Pure.
 *
 * @module
 */

import { inMebibytes } from "../../lib/bytes.ts";
import type { Artefact } from "./artefact.ts";
import type { Premises } from "./premises.ts";
import type { ReplicaRoom } from "./room.ts";
import {
  APP_DIRECTORY,
  containerVariables,
  DATA_DIRECTORY,
  headOf,
  PROGRAM,
  serveArguments,
  USER,
} from "./settings.ts";
import { type Line, saidInstruction, writeLines } from "./write-lines.ts";

const NODE_IMAGE = "node:24-bookworm-slim";
const DISTROLESS_IMAGE = "gcr.io/distroless/nodejs24-debian12:nonroot";

export function dockerArtefacts(premises: Premises, room: ReplicaRoom): readonly Artefact[] {
  return [
    withShell(premises, room),
    withoutShell(premises, room),
    ignored(premises, "docker/Dockerfile.dockerignore"),
    ignored(premises, "docker/Dockerfile.distroless.dockerignore"),
  ];
}

function withShell(premises: Premises, room: ReplicaRoom): Artefact {
  const needsGit = premises.shellAgents.length > 0;
  const packages = ["ca-certificates", ...(needsGit ? ["git"] : []), "tini", "util-linux"];
  const git = needsGit ? "; git, which agents with Bash ask for most" : "";
  return writeLines(
    "docker/Dockerfile",
    [
      ...headOf(premises, room, "an image"),
      `In the folder with package.json:`,
      `docker build -f ${premises.folder}/docker/Dockerfile -t ${premises.image} .`,
    ],
    [
      ...dependencies(),
      "",
      `FROM ${NODE_IMAGE}`,
      said(
        "RUN",
        `apt-get update && apt-get install -y --no-install-recommends ${packages.join(" ")} \\\n` +
          "    && rm -rf /var/lib/apt/lists/*",
        `tini reaps what tools leave behind; setpriv of util-linux ends agent processes with the ` +
          `server${git}. Beside tini there is no control group for each turn, and the memory guard ` +
          `does alone.`,
        packages.join(" "),
      ),
      said(
        "RUN",
        `groupadd --gid ${USER} plimsoll && useradd --uid ${USER} --gid ${USER} --no-create-home ` +
          `plimsoll \\\n    && install -d -o ${USER} -g ${USER} ${DATA_DIRECTORY}`,
        `the same user in both images, so that manifests and volumes fit either; a new volume takes ` +
          `its owner from the folder it is mounted on`,
        String(USER),
      ),
      `WORKDIR ${APP_DIRECTORY}`,
      `COPY --from=dependencies ${APP_DIRECTORY}/node_modules ./node_modules`,
      "COPY . .",
      ...settings(premises),
      ...health(premises, "node"),
      `ENTRYPOINT ${exec(["tini", "--", "node", PROGRAM])}`,
      `CMD ${exec(serveArguments(premises))}`,
    ],
  );
}

function withoutShell(premises: Premises, room: ReplicaRoom): Artefact {
  const { shellAgents } = premises;
  const node = "/nodejs/bin/node";
  const bash =
    shellAgents.length === 0
      ? ["No agent here names Bash, so none misses the shell."]
      : [`Not for ${shellAgents.join(", ")}: the tool Bash needs the shell that is not here.`];
  return writeLines(
    "docker/Dockerfile.distroless",
    [
      ...headOf(premises, room, "an image without a shell"),
      `In the folder with package.json:`,
      `docker build -f ${premises.folder}/docker/Dockerfile.distroless -t ${premises.image} .`,
      ...bash,
      "Without setpriv agent processes do not die with the server; here the kernel ends them, as the",
      "server is process 1. Without tini nobody reaps what tools leave behind: `docker run --init`,",
      "`init: true` in Compose, `shareProcessNamespace: true` in Kubernetes.",
    ],
    [
      ...dependencies(),
      said(
        "RUN",
        `install -d /empty`,
        `becomes ${DATA_DIRECTORY}, since there is no \`install\` below`,
        "/empty",
      ),
      "",
      `FROM ${DISTROLESS_IMAGE}`,
      `WORKDIR ${APP_DIRECTORY}`,
      `COPY --from=dependencies --chown=${USER}:${USER} /empty ${DATA_DIRECTORY}`,
      `COPY --from=dependencies ${APP_DIRECTORY}/node_modules ./node_modules`,
      "COPY . .",
      ...settings(premises),
      ...health(premises, node),
      `ENTRYPOINT ${exec([node, PROGRAM])}`,
      `CMD ${exec(serveArguments(premises))}`,
    ],
  );
}

/** The stage in which packages are installed, on the libc of the image. */
function dependencies(): readonly Line[] {
  return [
    "",
    `FROM ${NODE_IMAGE} AS dependencies`,
    `WORKDIR ${APP_DIRECTORY}`,
    "COPY package.json package-lock.json ./",
    said(
      "RUN",
      "npm ci --omit=dev --ignore-scripts --no-audit --no-fund",
      "Claude Code is a binary for one libc, which npm picks for the system it runs on. Installed on " +
        "Alpine (musl) and copied here (glibc), or the other way, no turn starts: install in a stage " +
        "of the same base, and copy no node_modules from outside.",
      "npm ci",
    ),
  ];
}

function settings(premises: Premises): readonly Line[] {
  const lines = containerVariables(premises).map(({ name, value, why }) =>
    said("ENV", `${name}=${value}`, why, value, name),
  );
  return [
    "ENV NODE_ENV=production",
    ...lines,
    said(
      "ENV",
      "HOME=/tmp TMPDIR=/tmp",
      "of the server; with a read-only root a tmpfs is mounted there",
      "/tmp",
      "HOME",
    ),
    said("USER", `${USER}:${USER}`, "not root: a turn needs no right", `${USER}:${USER}`),
    `EXPOSE ${premises.port}`,
    said("STOPSIGNAL", "SIGTERM", "drains: running turns end, new ones are refused", "SIGTERM"),
  ];
}

/** Kubernetes and the clouds ask by themselves, and do not look at it. */
function health({ port, profile }: Premises, node: string): readonly Line[] {
  // What is thrown, and an error that nobody handles, ends Node with 1.
  const ask =
    `require("http").get({port:${port},path:"/livez",agent:false,timeout:4e3},` +
    "(r)=>{r.resume();if(r.statusCode!==200)throw r.statusCode})" +
    '.on("timeout",function(){this.destroy(Error("silent"))})';
  const options = "--interval=30s --timeout=5s --start-period=30s --retries=3";
  return [
    said(
      "HEALTHCHECK",
      `${options} \\\n    CMD ${exec([node, "-e", ask])}`,
      `no curl in the image. Each look is a Node of about 45 MiB for a moment, beside ` +
        `${inMebibytes(profile.server.idleBytes)} MiB of the server, so not more often than each 30 s. ` +
        `5 s, as /livez answers in milliseconds unless the loop is blocked; 3 times, so that one ` +
        `pause is no death; 30 s for a first start from a cold disk.`,
      options,
    ),
  ];
}

/** Beside each Dockerfile, so that a .dockerignore of yours stays as it is. */
function ignored({ folder }: Premises, path: string): Artefact {
  return writeLines(
    path,
    ["What stays out of the image: packages of another libc, secrets, sessions."],
    ["**/node_modules", ".git", "**/.env*", "**/.plimsoll", folder, "**/*.log"],
  );
}

function said(
  instruction: string,
  text: string,
  why: string,
  value: string,
  place = instruction,
): Line {
  return { ...saidInstruction(instruction, text, why), value, place };
}

function exec(words: readonly string[]): string {
  return `[${words.map((word) => JSON.stringify(word)).join(", ")}]`;
}
