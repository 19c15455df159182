/**
 * Reads a rehearsal script from a file.
 *
 * @module
 */
import { readFile } from "node:fs/promises";

import { DiagnosticsError } from "../lib/diagnostics.ts";
import { readYaml } from "../lib/yaml-file.ts";
import type { RehearsalScript } from "./script.ts";
import { RehearsalScriptSchema } from "./script.ts";

/**
 * Reads and checks a script.
 *
 * @throws {DiagnosticsError} `agent_invalid` with every problem and its place in the file.
 */
export async function loadRehearsalScript(
  file: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<RehearsalScript> {
  const text = await readText(file);
  const result = readYaml({ file, text }, RehearsalScriptSchema, environment);
  if (!result.ok) throw new DiagnosticsError("agent_invalid", result.diagnostics);
  return result.value;
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (thrown) {
    const reason = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "unknown";
    const message = `cannot be read: ${reason}`;
    const place = { file, line: 1, column: 1, path: "", frame: "" };
    throw new DiagnosticsError("agent_invalid", [
      { ...place, message, remedy: "Correct the path of the rehearsal script" },
    ]);
  }
}
