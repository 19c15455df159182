/**
 * The version of the Agent SDK, and with it of Claude Code: another one holds another amount of
 * memory.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

interface SdkPackage {
  readonly version?: string;
  readonly claudeCodeVersion?: string;
}

/** `unknown` where the package does not say. */
export function sdkVersion(): string {
  return sdkPackage().version ?? "unknown";
}

/** The version of Claude Code that comes with the SDK; `unknown` where the package does not say. */
export function claudeCodeVersion(): string {
  return sdkPackage().claudeCodeVersion ?? "unknown";
}

function sdkPackage(): SdkPackage {
  try {
    // Its package.json is not among what it exports.
    const entry = createRequire(import.meta.url).resolve("@anthropic-ai/claude-agent-sdk");
    const text = readFileSync(join(dirname(entry), "package.json"), "utf8");
    return JSON.parse(text) as SdkPackage;
  } catch {
    return {};
  }
}
