/**
 * The agents of a benchmark whose hosting is all that differs.
 *
 * @module
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A directory with an agent file for each name. */
export function writeAgents(directory: string, hostings: Readonly<Record<string, string>>): string {
  mkdirSync(directory, { recursive: true });
  for (const [name, hosting] of Object.entries(hostings)) {
    const text = `name: ${name}\ninstructions: Be brief.\nhosting: ${hosting}\n`;
    writeFileSync(join(directory, `${name}.yaml`), text);
  }
  return directory;
}
