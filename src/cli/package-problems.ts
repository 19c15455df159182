/**
 * Whether the folder of which an image is made has the packages that the server needs.
 *
 * @module
 */

import { resolve } from "node:path";
import { MIB } from "../lib/byte-units.ts";
import { isObject } from "../lib/is-object.ts";
import { readTextFile } from "../lib/text-file.ts";
import type { DeployInput } from "../sizing/deploy/premises.ts";
import type { DeployOptions } from "./deploy.ts";
import type { Io } from "./io.ts";
import { packageVersion } from "./version.ts";

const MAX_FILE_BYTES = MIB;
const MAX_LOCK_BYTES = 64 * MAX_FILE_BYTES;

/** By the scheme of the session store. */
const DRIVERS: Readonly<Record<string, string>> = {
  "redis:": "ioredis",
  "rediss:": "ioredis",
  "postgres:": "pg",
  "postgresql:": "pg",
  "s3:": "@aws-sdk/client-s3",
};

/** A sentence for what is missing; none where no image is made here. */
export async function packageProblems(
  { config }: DeployInput,
  { targets }: Pick<DeployOptions, "targets">,
  { workingDirectory }: Pick<Io, "workingDirectory">,
): Promise<readonly string[]> {
  if (!targets.includes("docker")) return [];
  const driver = DRIVERS[config.sessions.store?.protocol ?? ""];
  const needed = ["plimsoll", ...(driver === undefined ? [] : [driver])];
  const read = await readTextFile(resolve(workingDirectory, "package.json"), MAX_FILE_BYTES);
  const lock = await readTextFile(resolve(workingDirectory, "package-lock.json"), MAX_LOCK_BYTES);
  const missing = read.ok ? needed.filter((name) => !dependsOn(read.text, name)) : needed;
  if (missing.length === 0) {
    return lock.ok ? [] : ["docker: package-lock.json is not there: npm install makes it"];
  }
  const packages = missing.map((name) =>
    name === "plimsoll" ? `plimsoll@${packageVersion()}` : name,
  );
  return [
    `docker: package.json ${read.ok ? "does not name" : "is not there, to name"} ` +
      `${missing.join(" and ")}: npm install ${packages.join(" ")}`,
  ];
}

function dependsOn(text: string, name: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    const dependencies = isObject(value) ? value["dependencies"] : undefined;
    return isObject(dependencies) && dependencies[name] !== undefined;
  } catch {
    return false;
  }
}
