/**
 * A copy of the program with all that it runs, Node and Claude Code included, as the file system of
 * a container has: pages of these files belong to the group whose process reads them first, as in
 * a container, and not to whoever has run the originals on this machine before.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Unavailable } from "./result.ts";

export interface ReplicaImage {
  readonly node: string;
  /** The built program. */
  readonly main: string;
  /** Where its packages are found, for programs beside it. */
  readonly directory: string;
  /**
   * Drops the pages of the large files from memory, so that the next group pays for its own.
   * Without effect on a page that a process still has mapped.
   */
  forget(): void;
}

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SCOPE = "@anthropic-ai";

/** Takes a second or two, and half a gigabyte of disk. */
export function makeReplicaImage(directory: string): ReplicaImage {
  const node = join(directory, "node");
  const modules = join(directory, "node_modules");
  mkdirSync(join(modules, SCOPE), { recursive: true });
  cpSync(process.execPath, node);
  for (const name of ["build", "package.json"]) {
    cpSync(join(ROOT, name), join(directory, name), { recursive: true });
  }
  const large = [node];
  const installed = installedModules();
  for (const name of readdirSync(installed)) {
    if (name !== SCOPE && !name.startsWith(".")) {
      symlinkSync(join(installed, name), join(modules, name));
    }
  }
  // The SDK finds the program of Claude Code beside itself, so that both have to be real copies.
  for (const name of readdirSync(join(installed, SCOPE))) {
    const copy = join(modules, SCOPE, name);
    cpSync(join(installed, SCOPE, name), copy, { recursive: true });
    if (name.startsWith("claude-agent-sdk-")) large.push(join(copy, "claude"));
  }
  const image = {
    node,
    main: join(directory, "build/main.js"),
    directory,
    forget: () => large.forEach(dropPages),
  };
  image.forget();
  return image;
}

/** The `node_modules` that has the SDK: where the program is installed, it is the parent's. */
function installedModules(): string {
  const sdk = createRequire(import.meta.url).resolve(`${SCOPE}/claude-agent-sdk`);
  return sdk.slice(0, sdk.lastIndexOf(`/${SCOPE}/`));
}

/** posix_fadvise(POSIX_FADV_DONTNEED), by the one program that everyone has for it. */
function dropPages(file: string): void {
  try {
    // What is not on the disk yet cannot be dropped.
    execFileSync("sync", [file]);
    execFileSync("dd", [`if=${file}`, "iflag=nocache", "count=0"], { stdio: "ignore" });
  } catch (cause) {
    throw new Unavailable("this benchmark needs `sync` and `dd` of GNU coreutils", { cause });
  }
}
