/**
 * Reads a rehearsal script from a file.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import { DiagnosticsError, placeless } from "../lib/diagnostics.ts";
import { errnoOf } from "../lib/errno.ts";
import type { Environment } from "../lib/substitute.ts";
import { readYaml } from "../lib/yaml-file.ts";
import { BUILT_IN_SCRIPT } from "./built-in-script.ts";
import { type RehearsalScript, RehearsalScriptSchema } from "./script.ts";

/**
 * Reads and checks a script; the built-in one where none is named.
 *
 * @throws {DiagnosticsError} `agent_invalid` with every problem and its place in the file.
 */
export async function loadRehearsalScript(
  file: string | undefined,
  environment: Environment,
): Promise<RehearsalScript> {
  if (file === undefined) return BUILT_IN_SCRIPT;
  const text = await readText(file);
  const result = readYaml({ file, text }, RehearsalScriptSchema, environment);
  if (!result.ok) throw new DiagnosticsError("agent_invalid", result.diagnostics);
  return result.value;
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (thrown) {
    const message = `cannot be read: ${errnoOf(thrown) ?? "unknown"}`;
    const remedy = "Correct the path of the rehearsal script";
    throw new DiagnosticsError("agent_invalid", [placeless(file, message, remedy)]);
  }
}
