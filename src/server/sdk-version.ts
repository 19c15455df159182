/**
 * The version of the Agent SDK, and with it of Claude Code: another one holds another amount of
 * memory.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** `unknown` where the package does not say. */
export function sdkVersion(): string {
  try {
    // Its package.json is not among what it exports.
    const entry = createRequire(import.meta.url).resolve("@anthropic-ai/claude-agent-sdk");
    const text = readFileSync(join(dirname(entry), "package.json"), "utf8");
    return (JSON.parse(text) as { version?: string }).version ?? "unknown";
  } catch {
    return "unknown";
  }
}
