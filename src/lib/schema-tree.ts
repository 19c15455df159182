/**
 * A zod schema as a list of the keys that a user can write: for environment variables, for the
 * reference pages and for the effective settings.
 *
 * @module
 */

import { z } from "zod";

export interface SchemaKey {
  readonly path: readonly string[];
  /** How the value is written as plain text, or `none` where it has a structure of its own. */
  readonly kind: "text" | "number" | "boolean" | "list" | "map" | "section" | "none";
  /** In words, e.g. `text`, `whole number`, `` `caller` or `operator` ``. */
  readonly type: string;
  readonly description: string;
  /** The default as a user would write it; undefined if there is none. */
  readonly defaultValue: unknown;
  readonly isRequired: boolean;
  readonly isSecret: boolean;
}

/** Every key from the top down; an entry of a list is `name[]`, one of a map `name.<name>`. */
export function schemaKeys(schema: z.ZodType, path: readonly string[] = []): SchemaKey[] {
  const { base } = peel(schema);
  if (base instanceof z.ZodObject) {
    return Object.entries(base.shape).flatMap(([name, child]) => keysOf(child, [...path, name]));
  }
  if (base instanceof z.ZodArray) return schemaKeys(typed(base.element), suffix(path, "[]"));
  if (base instanceof z.ZodRecord) return schemaKeys(typed(base.valueType), [...path, "<name>"]);
  if (base instanceof z.ZodUnion) {
    return mergeBranches(base.options.flatMap((option) => schemaKeys(typed(option), path)));
  }
  return [];
}

/** A key that several alternatives have is one key that takes what any of them takes. */
function mergeBranches(keys: readonly SchemaKey[]): SchemaKey[] {
  const merged = new Map<string, SchemaKey>();
  const types = new Map<string, Set<string>>();
  for (const key of keys) {
    const name = key.path.join(".");
    const taken = (types.get(name) ?? new Set()).add(key.type);
    types.set(name, taken);
    merged.set(name, { ...(merged.get(name) ?? key), type: [...taken].join(", ") });
  }
  return [...merged.values()];
}

function keysOf(schema: unknown, path: readonly string[]): SchemaKey[] {
  const { base, ...facts } = peel(typed(schema));
  const kind = kindOf(base);
  const key = { path, kind, type: typeOf(base), ...facts };
  return [key, ...schemaKeys(base, path)];
}

interface Peeled {
  readonly base: z.ZodType;
  readonly description: string;
  readonly defaultValue: unknown;
  readonly isRequired: boolean;
  readonly isSecret: boolean;
}

/** Without defaults, optionality and transformations: what the user writes. */
function peel(schema: z.ZodType): Peeled {
  let base = schema;
  let description: string | undefined;
  let isSecret = false;
  let isRequired = true;
  let defaultValue: unknown;
  for (;;) {
    const meta = base.meta();
    description ??= meta?.description;
    isSecret ||= meta?.["secret"] === true;
    if (base instanceof z.ZodDefault || base instanceof z.ZodPrefault) {
      defaultValue ??= base.def.defaultValue;
      isRequired = false;
      base = typed(base.def.innerType);
    } else if (base instanceof z.ZodOptional) {
      isRequired = false;
      base = typed(base.def.innerType);
    } else if (base instanceof z.ZodPipe) base = typed(base.def.in);
    else return { base, description: description ?? "", defaultValue, isRequired, isSecret };
  }
}

/** Zod's inner schemas are typed as its core; all of ours are of the classic kind. */
function typed(schema: unknown): z.ZodType {
  if (schema instanceof z.ZodType) return schema;
  throw new TypeError("Cannot read a schema that is not of zod's classic kind");
}

function kindOf(base: z.ZodType): SchemaKey["kind"] {
  if (base instanceof z.ZodObject) return "section";
  if (base instanceof z.ZodNumber) return "number";
  if (base instanceof z.ZodBoolean) return "boolean";
  if (base instanceof z.ZodString || base instanceof z.ZodEnum) return "text";
  if (base instanceof z.ZodLiteral) {
    return [...base.values].every((value) => typeof value === "number") ? "number" : "text";
  }
  if (base instanceof z.ZodArray) return base.element instanceof z.ZodString ? "list" : "none";
  if (base instanceof z.ZodRecord) return base.valueType instanceof z.ZodString ? "map" : "none";
  return "none";
}

function typeOf(base: z.ZodType): string {
  if (base instanceof z.ZodNumber) {
    const { minValue, maxValue, format } = base;
    const bounds = [minValue, maxValue].every(
      (bound) => bound !== null && Math.abs(bound) < 2 ** 53,
    );
    return `${format === null ? "number" : "whole number"}${bounds ? `, ${minValue} to ${maxValue}` : ""}`;
  }
  if (base instanceof z.ZodBoolean) return "`true` or `false`";
  if (base instanceof z.ZodEnum) return base.options.map((word) => `\`${word}\``).join(", ");
  if (base instanceof z.ZodLiteral) {
    return [...base.values].map((word) => `\`${String(word)}\``).join(", ");
  }
  if (base instanceof z.ZodArray) return `list of ${typeOf(peel(typed(base.element)).base)}`;
  if (base instanceof z.ZodRecord || base instanceof z.ZodObject) return "map";
  if (base instanceof z.ZodUnion) {
    const types = base.options.map((option) => typeOf(peel(typed(option)).base));
    return [...new Set(types)].join(" or ");
  }
  const unit = z.globalRegistry.get(base)?.["unit"];
  return typeof unit === "string" ? unit : "text";
}

function suffix(path: readonly string[], text: string): readonly string[] {
  return [...path.slice(0, -1), `${path.at(-1) ?? ""}${text}`];
}
