/**
 * `plimsoll deploy`: files for the platforms that run a fleet, made from its plan; and whether such
 * files still fit it. Starts nothing and talks to no platform.
 *
 * @module
 */

import { readdir, readFile } from "node:fs/promises";
import { join, relative, resolve, sep } from "node:path";
import type { AgentDefinition } from "../agent/definition.ts";
import type { Config } from "../config/config.ts";
import { MIB } from "../lib/byte-units.ts";
import { type Diagnostic, DiagnosticsError, placeless } from "../lib/diagnostics.ts";
import { AppError } from "../lib/errors.ts";
import { readTextFile } from "../lib/text-file.ts";
import { checkArtefacts } from "../sizing/deploy/check-artefacts.ts";
import { makeDeployment } from "../sizing/deploy/deploy.ts";
import { namedVariables } from "../sizing/deploy/named-variables.ts";
import {
  type DeployInput,
  premisesOf,
  deployProblemsOf,
  profileWarnings,
} from "../sizing/deploy/premises.ts";
import { type Target, TARGETS } from "../sizing/deploy/targets.ts";
import { loadWorkload, type WorkloadInput } from "../sizing/load-workload.ts";
import { type PlannedFleet, makePlan } from "../sizing/plan.ts";
import { deployedText, explanation, mindText } from "./deploy-text.ts";
import { EXIT } from "./exit-codes.ts";
import type { Io } from "./io.ts";
import { loadAll } from "./load.ts";
import { packageProblems } from "./package-problems.ts";
import { type NamedText, writeFiles } from "./write-files.ts";

export interface DeployOptions {
  /** workload.yaml of the working directory without it. */
  readonly workload?: string;
  /** Keys of the workload file, as text; they win over it, as those of `plan` do. */
  readonly workloadFlags?: WorkloadInput["flags"];
  /** Agent file or folder. */
  readonly agent: string;
  readonly serverFile?: string;
  readonly targets: readonly Target[];
  readonly image?: string;
  /** The name of the service; the agent's without it. */
  readonly name?: string;
  /** One of the sizes of the plan; the advised one without it. */
  readonly size?: string;
  readonly prometheus?: string;
  readonly output: string;
  readonly force: boolean;
  readonly explain: boolean;
  /** Look at what is there instead of writing it. */
  readonly check: boolean;
}

const MAX_FILE_BYTES = MIB;
const MAX_FILES = 1_000;

/**
 * The exit code: 0 if files were written, or fit.
 *
 * @throws {DiagnosticsError} `config_invalid` with what does not fit together, or in the files.
 */
export async function runDeploy(options: DeployOptions, io: Io): Promise<number> {
  const { input, warnings: ofProfile } = await inputOf(options, io);
  const problems = deployProblemsOf(input);
  if (problems.length > 0) throw new DiagnosticsError("config_invalid", problems);
  const premises = premisesOf(input);
  const deployment = makeDeployment(premises, options.targets);
  refuse(deployment.problems);
  const directory = resolve(io.workingDirectory, options.output);
  const files = options.check ? await readFiles(directory, io) : deployment.artefacts;
  const unfit = checkArtefacts(premises, deployment.rooms, files);
  refuse(unfit.map((one) => ({ ...one, file: shownPath(join(directory, one.file), io) })));

  const shown = shownPath(directory, io);
  const ofInput = [...ofProfile, ...profileWarnings(input)];
  if (options.check) {
    io.stdout(`${files.length} files in ${shown}: no problems\n${mindText(ofInput)}`);
    return EXIT.ok;
  }
  await writeFiles(directory, deployment.artefacts, options.force, io);
  const ofFiles = [...deployment.warnings, ...(await packageProblems(input, options, io))];
  const warnings = [...ofInput, ...ofFiles];
  io.stdout(deployedText({ ...deployment, warnings }, premises, shown));
  if (options.explain) io.stdout(explanation(deployment.artefacts));
  return EXIT.ok;
}

function refuse(problems: readonly Diagnostic[]): void {
  if (problems.length > 0) throw new DiagnosticsError("config_invalid", problems);
}

/** What is given twice is meant once; none is all. */
export function targetsOf(names: readonly string[]): readonly Target[] {
  if (names.length === 0 || names.includes("all")) return TARGETS;
  return TARGETS.filter((target) => names.includes(target));
}

async function inputOf(
  options: DeployOptions,
  io: Io,
): Promise<{ readonly input: DeployInput; readonly warnings: readonly string[] }> {
  const { agent, serverFile, targets } = options;
  const isContained = targets.some((target) => target !== "systemd");
  const { agents, config } = await loadAll(
    {
      path: agent,
      ...(serverFile !== undefined && { serverFile }),
      // Held to what it means for keys that a container is reached from outside.
      flags: isContained ? { "listen.host": "0.0.0.0" } : {},
      flagNames: { "listen.host": "listen.host of a container" },
    },
    io,
  );
  const { workload: path, workloadFlags = {} } = options;
  const loaded = await loadWorkload({
    ...(path !== undefined && { path }),
    flags: workloadFlags,
    ...io,
  });
  const serverPath = await serverFileOf(options, io);
  const { profile, workload } = loaded;
  const agentPath = within(agent, io, "the agents");
  const input: DeployInput = {
    name: options.name ?? (agents.length === 1 ? (agents[0]?.name ?? "agents") : "agents"),
    image: imageOf(options),
    folder: options.output,
    agentPath,
    serverFile: serverPath === null ? null : within(serverPath, io, "the server file"),
    prometheus: prometheusOf(options),
    variables: await variablesOf(agents, serverPath, config, io),
    agents,
    config,
    profile,
    workload,
    fleet: fleetOf(makePlan(profile, workload, loaded.sizes), options.size),
  };
  return { input, warnings: loaded.warnings };
}

function imageOf({ image, check }: DeployOptions): string {
  if (image === undefined && check) return "image:of-check";
  if (image === undefined) {
    const hint = "name it by --image, e.g. registry.example.com/agents:1.0.0";
    throw new AppError("usage", `Cannot deploy without an image: ${hint}`);
  }
  if (IMAGE.test(image)) return image;
  const form = "it is [registry/]name:tag, or [registry/]name@sha256:digest";
  throw new AppError("usage", `Cannot use the image ${JSON.stringify(image)}: ${form}`);
}

const IMAGE = /^[a-z0-9][a-z0-9._:/-]{0,250}(:[\w][\w.-]{0,127}|@sha256:[0-9a-f]{64})$/u;

function prometheusOf({ prometheus }: DeployOptions): string | null {
  if (prometheus === undefined) return null;
  const isUrl = URL.canParse(prometheus) && /^https?:$/u.test(new URL(prometheus).protocol);
  if (isUrl) return prometheus;
  const shown = JSON.stringify(prometheus);
  throw new AppError("usage", `Cannot ask Prometheus at ${shown}: an http or https URL is needed`);
}

function fleetOf(
  { advised, options }: ReturnType<typeof makePlan>,
  size: string | undefined,
): PlannedFleet {
  const possible = options.filter((option) => option.isPossible);
  const found = size === undefined ? advised : possible.find((one) => one.size.name === size);
  if (found !== null && found !== undefined) return found;
  const names = possible.map((one) => `"${one.size.name}"`).join(", ");
  const [message, remedy] =
    size === undefined
      ? ["no size of replica can carry it", "See `plimsoll plan`, which says why"]
      : [`there is no size ${JSON.stringify(size)} in the plan`, `Name one of ${names}`];
  const place = size === undefined ? "the workload" : "--size";
  throw new DiagnosticsError("config_invalid", [placeless(place, message, remedy)]);
}

/**
 * A path as the image has it: relative to the folder that it is made of, which is the working
 * directory.
 */
function within(path: string, { workingDirectory }: Io, what: string): string {
  const inside = relative(workingDirectory, resolve(workingDirectory, path));
  if (inside === ".." || inside.startsWith(`..${sep}`)) {
    const place = `Cannot put ${what} into an image: ${path} is outside of this folder`;
    throw new AppError("usage", `${place}; run it in the folder of which the image is made`);
  }
  return inside === "" ? "." : inside.split(sep).join("/");
}

async function serverFileOf({ serverFile }: DeployOptions, io: Io): Promise<string | null> {
  if (serverFile !== undefined) return serverFile;
  const usual = "plimsoll.yaml";
  const read = await readTextFile(resolve(io.workingDirectory, usual), MAX_FILE_BYTES);
  return read.ok ? usual : null;
}

/** The variables that the files name; and the store, where it came from the environment. */
async function variablesOf(
  agents: readonly AgentDefinition[],
  serverFile: string | null,
  config: Config,
  io: Io,
): Promise<readonly string[]> {
  const files = [...agents.map(({ file }) => file), ...(serverFile === null ? [] : [serverFile])];
  const names: string[] = [];
  for (const file of files) {
    const read = await readTextFile(resolve(io.workingDirectory, file), MAX_FILE_BYTES);
    if (read.ok) names.push(...namedVariables(read.text));
  }
  const store = "PLIMSOLL_SESSIONS_STORE";
  const isGiven = config.sessions.store !== null && io.environment[store] !== undefined;
  return [...new Set([...names, ...(isGiven ? [store] : [])])];
}

async function readFiles(directory: string, io: Io): Promise<readonly NamedText[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(
    (cause: unknown) => {
      const shown = shownPath(directory, io);
      throw new AppError("usage", `Cannot check ${shown}: it cannot be read`, { cause });
    },
  );
  const files: NamedText[] = [];
  for (const entry of entries.filter((one) => one.isFile()).slice(0, MAX_FILES)) {
    const path = join(entry.parentPath, entry.name);
    files.push({ path: relative(directory, path), text: await readFile(path, "utf8") });
  }
  return files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

function shownPath(path: string, { workingDirectory }: Io): string {
  return relative(workingDirectory, path) || ".";
}
