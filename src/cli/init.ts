/**
 * `plimsoll init`: a folder with an agent that works at once, from the package's templates.
 *
 * @module
 */

import { readdir, readFile } from "node:fs/promises";
import { basename, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { AGENT_NAME } from "../agent/definition.ts";
import { AppError } from "../lib/errors.ts";
import { EXIT } from "./exit-codes.ts";
import type { Io } from "./io.ts";
import { programName, quoted } from "./shell-command.ts";
import { type NamedText, writeFiles } from "./write-files.ts";

const TEMPLATE = fileURLToPath(new URL("../../templates/agent/", import.meta.url));

export interface InitOptions {
  readonly folder: string;
  /** The name of the agent; made from the folder's without it. */
  readonly name?: string;
  /** Replaces files that are there. */
  readonly force: boolean;
}

/** @throws {AppError} `usage` for a name that does not fit, or a file that is there already. */
export async function runInit({ folder, name, force }: InitOptions, io: Io): Promise<number> {
  const directory = resolve(io.workingDirectory, folder);
  const agentName = checkedName(name ?? nameOf(directory), name === undefined);
  const files = await filesOfTemplate();
  const texts: NamedText[] = [];
  for (const { from, to } of files) {
    const text = await readFile(join(TEMPLATE, from), "utf8");
    texts.push({ path: to, text: text.replaceAll("{{name}}", agentName) });
  }
  await writeFiles(directory, texts, force, io);
  io.stdout(nextSteps(agentName, directory, files, io));
  return EXIT.ok;
}

/** `My Agent` as `my-agent`. */
function nameOf(directory: string): string {
  return basename(directory)
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/gu, "-")
    .replaceAll(/^-+|-+$/gu, "");
}

function checkedName(name: string, isDerived: boolean): string {
  if (AGENT_NAME.test(name)) return name;
  const from = isDerived ? " of the folder's name; say --name" : "";
  throw new AppError(
    "usage",
    `Cannot name the agent ${JSON.stringify(name)}${from}: ` +
      "a name has 1 to 63 small letters, digits and `-`, and begins with a letter or digit",
  );
}

interface TemplateFile {
  readonly from: string;
  readonly to: string;
}

async function filesOfTemplate(): Promise<readonly TemplateFile[]> {
  const entries = await readdir(TEMPLATE, { recursive: true, withFileTypes: true });
  return (
    entries
      .filter((entry) => entry.isFile())
      .map((entry) => relative(TEMPLATE, join(entry.parentPath, entry.name)))
      .sort()
      // npm leaves a .gitignore out of a package.
      .map((from) => ({ from, to: from === "gitignore" ? ".gitignore" : from }))
  );
}

function nextSteps(
  name: string,
  directory: string,
  files: readonly TemplateFile[],
  { workingDirectory, environment }: Io,
): string {
  const place = relative(workingDirectory, directory);
  const program = programName(environment);
  const enter = place === "" ? [] : [`  cd ${quoted(place)}`];
  return [
    `The agent ${name} is in ${place === "" ? "this folder" : place}:`,
    ...files.map(({ to }) => `  ${to}`),
    "",
    "Next:",
    ...enter,
    `  ${program} chat     a conversation here`,
    `  ${program} serve    an HTTP service on http://127.0.0.1:8080`,
    "",
    "A script answers in place of Claude until agent.yaml says `provider: anthropic`.",
    "",
  ].join("\n");
}
