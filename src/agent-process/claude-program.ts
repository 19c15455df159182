/**
 * Whether there is a Claude Code to start. It comes as a package for each system, beside the SDK
 * and optional to it: an install may have left it out without a word.
 *
 * @module
 */

import { createRequire } from "node:module";
import { AppError } from "../lib/errors.ts";

/**
 * Finds out without starting anything, for commands whose user is there to mend it. A server says
 * in its readiness what stands in its way, and tries again.
 *
 * @param sdkUrl Of any file at the top of the SDK's package.
 * @throws {AppError} `claude_missing`.
 */
export function requireClaude(
  sdkUrl: string = import.meta.resolve("@anthropic-ai/claude-agent-sdk"),
): void {
  const besideSdk = createRequire(sdkUrl);
  const { optionalDependencies = {} } = besideSdk("./package.json") as {
    readonly optionalDependencies?: Readonly<Record<string, string>>;
  };
  const isThere = (name: string): boolean => {
    try {
      return besideSdk.resolve(`${name}/package.json`) !== "";
    } catch {
      return false;
    }
  };
  // npm installs none but those that fit this system.
  if (Object.keys(optionalDependencies).some(isThere)) return;
  const system = `${process.platform}-${process.arch}`;
  throw new AppError(
    "claude_missing",
    `Cannot start agent processes: Claude Code for ${system} is not installed`,
  );
}
