/**
 * The files that an agent file names: instructions, output schema, rehearsal script, function
 * modules. Works on what the file says before it is known to fit, so that a missing file and a
 * wrong key are reported in the same run.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { dirname, resolve } from "node:path";
import { KIB, MIB } from "../lib/byte-units.ts";
import type { Diagnostic } from "../lib/diagnostics.ts";
import { isObject } from "../lib/is-object.ts";
import { valueAt } from "../lib/schema-issues.ts";
import { readTextFile } from "../lib/text-file.ts";
import type { YamlDocument } from "../lib/yaml-document.ts";
import type { Path } from "../lib/yaml-parse.ts";

export interface Included {
  readonly instructions?: string;
  readonly outputSchema?: Readonly<Record<string, unknown>>;
  /** Absolute path. */
  readonly rehearsalScript?: string;
  /** Absolute paths, in the order of the agent file. */
  readonly functions: readonly string[];
  /** Everything that was read, for the version: name as written and content. */
  readonly contents: readonly (readonly [name: string, text: string])[];
}

const KINDS = {
  instructions: { what: "the instructions file", maxBytes: 256 * KIB },
  schema: { what: "the schema file", maxBytes: 256 * KIB },
  script: { what: "the rehearsal script", maxBytes: MIB },
  module: { what: "the module", maxBytes: 4 * MIB },
} as const;
type Kind = keyof typeof KINDS;

/** Reads all of them; what cannot be used is reported at the place that names it. */
export async function readIncluded(
  document: YamlDocument,
  agentFile: string,
): Promise<{ included: Included; diagnostics: readonly Diagnostic[] }> {
  const included: { -readonly [Key in keyof Included]: Included[Key] } = {
    functions: [],
    contents: [],
  };
  const diagnostics: Diagnostic[] = [];
  for (const { path, kind, name } of referencesOf(document)) {
    const file = resolve(dirname(agentFile), name);
    const { what, maxBytes } = KINDS[kind];
    const read = await readTextFile(file, maxBytes);
    const complain = (message: string, remedy: string) => {
      // As written, because a variable may have been put into it.
      const written = document.asWritten(path) ?? "";
      diagnostics.push(document.diagnosticAt(path, `${what} ${written} ${message}`, remedy));
    };
    if (!read.ok) {
      complain(read.message, `${read.remedy}; it is relative to the agent file`);
      continue;
    }
    included.contents = [...included.contents, [name, read.text]];
    if (kind === "script") included.rehearsalScript = file;
    else if (kind === "module") {
      included.functions = [...included.functions, file];
      if (!MODULE.test(file)) complain("is not a module", "Name a .js, .mjs, .ts or .mts file");
    } else if (kind === "instructions") {
      included.instructions = read.text;
      if (read.text.trim() === "") complain("is empty", "Say what the agent does");
    } else {
      const schema = objectSchemaOf(read.text);
      if (typeof schema === "string") complain(schema, "It must be JSON with `type` `object`");
      else included.outputSchema = schema;
    }
  }
  return { included, diagnostics };
}

const MODULE = /\.[cm]?[jt]s$/u;

/** Changes when the agent file or a file it names does. Lengths keep neighbours apart. */
export function versionOf(agentText: string, { contents }: Included): string {
  const hash = createHash("sha256");
  for (const text of [agentText, ...contents.flat()]) {
    hash.update(`${Buffer.byteLength(text)}\n`).update(text);
  }
  return hash.digest("hex");
}

interface Reference {
  readonly path: Path;
  readonly kind: Kind;
  /** As in the agent file, with variables put in. */
  readonly name: string;
}

function referencesOf({ value, unreadable }: YamlDocument): Reference[] {
  const modules = valueAt(value, ["tools", "functions"]);
  const candidates: readonly (readonly [kind: Kind, path: Path])[] = [
    ["instructions", ["instructions", "file"]],
    // A JSON Schema may have a property named `file`, but then it has a type as well.
    ...(valueAt(value, ["output", "schema", "type"]) === undefined
      ? [["schema", ["output", "schema", "file"]] as const]
      : []),
    ["script", ["model", "rehearsalScript"]],
    ...(Array.isArray(modules)
      ? modules.slice(0, 100).map((_, index) => ["module", ["tools", "functions", index]] as const)
      : []),
  ];
  return candidates.flatMap(([kind, path]) => {
    const name = valueAt(value, path);
    const isRead = !unreadable.some((bad) => bad.join("\n") === path.join("\n"));
    return typeof name === "string" && name !== "" && isRead ? [{ kind, path, name }] : [];
  });
}

/** The schema, or what is wrong with it. */
function objectSchemaOf(text: string): Readonly<Record<string, unknown>> | string {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return "is not JSON"; // The parser's own message quotes the file.
  }
  return isObject(parsed) && parsed["type"] === "object" ? parsed : "is not of type `object`";
}
