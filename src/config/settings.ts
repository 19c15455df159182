/**
 * The settings that can be given without a file: their environment variables and their flags.
 *
 * @module
 */

import { formatBytes } from "../lib/bytes.ts";
import { formatDuration } from "../lib/duration.ts";
import { schemaKeys, type SchemaKey } from "../lib/schema-tree.ts";
import { ServerFile } from "./schema.ts";

export interface Setting extends SchemaKey {
  /** Dotted, e.g. `listen.port`: the name in flags, sources and docs. */
  readonly name: string;
  /** E.g. `PLIMSOLL_LISTEN_PORT`. */
  readonly variable: string;
  /** A variable of another standard that is read when there is nothing else. */
  readonly fallbackVariable?: string;
}

const FALLBACKS: Readonly<Record<string, string>> = {
  "telemetry.otlpEndpoint": "OTEL_EXPORTER_OTLP_ENDPOINT",
  "telemetry.otlpHeaders": "OTEL_EXPORTER_OTLP_HEADERS",
};

/** Every setting of the server file, but not what is inside of lists and maps. */
export const SETTINGS: readonly Setting[] = schemaKeys(ServerFile)
  .filter(({ kind, path }) => kind !== "section" && path.length === 2)
  .map((key) => {
    const name = key.path.join(".");
    const fallbackVariable = FALLBACKS[name];
    return {
      ...key,
      name,
      variable: variableOf(key.path),
      ...(fallbackVariable !== undefined && { fallbackVariable }),
    };
  });

/** The settings that fit into one line of text. */
export const PLAIN_SETTINGS: readonly Setting[] = SETTINGS.filter(({ kind }) => kind !== "none");

function variableOf(path: readonly string[]): string {
  const words = path.map((part) => part.replaceAll(/[A-Z]/gu, "_$&").toUpperCase());
  return ["PLIMSOLL", ...words].join("_");
}

/** Text of a variable or a flag as the value a file would have; as it is if it does not fit. */
export function valueOf(text: string, kind: Setting["kind"]): unknown {
  switch (kind) {
    case "number":
      return /^-?\d+(\.\d+)?$/u.test(text) ? Number(text) : text;
    case "boolean":
      return text === "true" ? true : text === "false" ? false : text;
    case "list":
      return entriesOf(text);
    case "map": {
      const pairs = entriesOf(text).map((entry) => {
        const at = entry.indexOf("=");
        return at < 1
          ? undefined
          : ([entry.slice(0, at).trim(), decoded(entry.slice(at + 1))] as const);
      });
      return pairs.some((pair) => pair === undefined)
        ? text
        : Object.fromEntries(pairs.filter((pair) => pair !== undefined));
    }
    default:
      return text;
  }
}

/** The checked value of a setting as a person would write it; secrets as `***`, nothing as `none`. */
export function settingText({ type, isSecret }: Setting, value: unknown): string {
  const isEmpty = typeof value === "object" && value !== null && Object.keys(value).length === 0;
  if (value === undefined || isEmpty) return "none";
  if (isSecret) return SECRET;
  if (typeof value === "number" && type.startsWith("duration")) return formatDuration(value);
  if (typeof value === "number" && type.startsWith("size")) return formatBytes(value);
  if (typeof value === "string") return value;
  return JSON.stringify(value, (key, inner: unknown) => (INNER_SECRETS.has(key) ? SECRET : inner));
}

/** Names of secret keys in the entries of lists, such as `sha256`. */
const INNER_SECRETS: ReadonlySet<string> = new Set(
  schemaKeys(ServerFile)
    .filter(({ isSecret, path }) => isSecret && path.length > 2)
    .map(({ path }) => path.at(-1) ?? ""),
);

const SECRET = "***";

function entriesOf(text: string): string[] {
  return text
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
}

/** OpenTelemetry has header values percent-encoded. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text.trim());
  } catch {
    return text.trim(); // A lone `%` is meant as it stands.
  }
}
