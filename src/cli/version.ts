/**
 * The version of this package, and the Node that it needs, as its package.json has them. Imports
 * nothing but what every Node has: `main.ts` asks here before it loads the rest, which an older
 * one could not even parse.
 *
 * @module
 */

import { readFileSync } from "node:fs";

interface PackageFile {
  readonly version: string;
  readonly engines: { readonly node: string };
}

export function packageVersion(): string {
  return packageFile().version;
}

/** What to tell whoever runs it on this version of Node, on one line; undefined if it will do. */
export function nodeProblem(version: string): string | undefined {
  const least = packageFile().engines.node.replace(">=", "");
  const [leastMajor = 0, leastMinor = 0] = least.split(".").map(Number);
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > leastMajor || (major === leastMajor && minor >= leastMinor)) return undefined;
  return `Node ${least} or newer is needed, this is ${version}: install a newer one, e.g. from https://nodejs.org`;
}

function packageFile(): PackageFile {
  const file = new URL("../../package.json", import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")) as PackageFile;
}
