/**
 * What zod found, in our words: what is needed, and the cure. Where it stands is not known here.
 *
 * A schema's own message wins over these. It has one line, or two: message, then remedy
 * (see {@link needs}). It must not contain the value, which may be secret.
 *
 * @module
 */

import { z } from "zod";
import { didYouMean } from "./did-you-mean.ts";

export interface SchemaIssue {
  readonly path: readonly PropertyKey[];
  /** `key`: the key itself is wrong; `value`: the value is; `missing`: it is not there. */
  readonly at: "key" | "value" | "missing";
  readonly message: string;
  readonly remedy: string;
  /** Words that are allowed here, for a "did you mean" on the value. */
  readonly words: readonly string[];
}

/** A message for a schema's `error` option: what is needed, and what to write. */
export function needs(message: string, remedy: string): string {
  return `needs ${message}\n${remedy}`;
}

/** The value as the schema gives it, or all that is wrong with it. */
export function checkValue<S extends z.ZodType>(
  schema: S,
  value: unknown,
): { ok: true; value: z.output<S> } | { ok: false; issues: readonly SchemaIssue[] } {
  const result = schema.safeParse(value, { error: say });
  if (result.success) return { ok: true, value: result.data };
  return { ok: false, issues: result.error.issues.flatMap((issue) => explain(issue, value)) };
}

type Issue = z.core.$ZodIssue;

/** Unknown keys of one map that are told: each is compared with the keys there are. */
const MAX_EXPLAINED_KEYS = 1_000;

function explain(issue: Issue, root: unknown): SchemaIssue[] {
  const { path } = issue;
  if (issue.code === "unrecognized_keys") {
    const known = issue.message.split(" ").filter((key) => key !== "");
    return issue.keys.slice(0, MAX_EXPLAINED_KEYS).map((key) => ({
      path: [...path, key],
      at: "key",
      message: "is not a key that is known here",
      remedy: didYouMean(key, known),
      words: [],
    }));
  }
  if (issue.code === "invalid_union" && issue.errors.length > 0) {
    const branch = meantBranch(issue.errors);
    if (branch !== undefined) {
      return branch.flatMap((inner) => explain({ ...inner, path: [...path, ...inner.path] }, root));
    }
  }
  const key = issue.code === "invalid_key" ? issue.issues[0]?.message : undefined;
  const [message = "", remedy = ""] = (key ?? issue.message).split("\n", 2);
  const words =
    issue.code === "invalid_value"
      ? issue.values.filter((value) => typeof value === "string")
      : discriminants(issue);
  if (key !== undefined) return [{ path, at: "key", message, remedy, words: [] }];
  const at = valueAt(root, path) === undefined ? "missing" : "value";
  return [{ path, at, message, remedy, words }];
}

/** The alternative whose type fits, and that with the fewest problems: it is what was meant. */
function meantBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  const fitting = branches.filter((issues) =>
    issues.every((issue) => issue.path.length > 0 || issue.code !== "invalid_type"),
  );
  return fitting.toSorted((a, b) => a.length - b.length)[0];
}

function discriminants(issue: Issue): string[] {
  return issue.code === "invalid_union" && "options" in issue ? issue.options.map(String) : [];
}

/** The value at a path of own keys; undefined if there is none. */
export function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let value = root;
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = Reflect.get(value, key);
  }
  return value;
}

function say(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return `needs ${typeWord(issue)}`;
    case "unrecognized_keys":
      // Not to be read by people: the keys there are, for `explain`.
      return Object.keys(shapeOf(issue.inst)).join(" ");
    case "invalid_value":
      return `needs ${list(issue.values.map(String))}`;
    case "invalid_union": {
      if (Array.isArray(issue.options)) return `needs ${list(issue.options.map(String))}`;
      const asked = (issue.errors ?? []).map((errors) => errors[0]?.message.split("\n")[0] ?? "");
      return [...new Set(asked)].join(" or ").replaceAll(" or needs ", " or ");
    }
    case "too_small":
      return `needs ${issue.inclusive === false ? "more than" : "at least"} ${size(issue, issue.minimum)}`;
    case "too_big":
      return `needs ${issue.inclusive === false ? "less than" : "at most"} ${size(issue, issue.maximum)}`;
    case "invalid_format":
      return issue.format === "url" ? "needs a URL" : `needs text that fits ${issue.pattern}`;
    case "not_multiple_of":
      return `needs a multiple of ${issue.divisor}`;
    default:
      return "does not fit";
  }
}

function typeWord({ expected, inst }: z.core.$ZodRawIssue<z.core.$ZodIssueInvalidType>): string {
  const isInt = inst instanceof z.ZodNumber && inst.isInt;
  return TYPES[isInt ? "int" : expected] ?? expected;
}

const TYPES: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  object: "a map of keys",
  record: "a map of keys",
  array: "a list",
};

function shapeOf(schema: unknown): object {
  return schema instanceof z.ZodObject ? schema.shape : {};
}

function list(words: readonly string[]): string {
  const quoted = words.map((word) => `\`${word}\``);
  if (quoted.length < 3) return quoted.join(" or ");
  return `one of ${quoted.join(", ")}`;
}

function size(issue: { readonly origin: string }, limit: number | bigint): string {
  const unit = { string: "character", array: "entry", map: "entry" }[issue.origin];
  if (unit === undefined) return String(limit);
  if (Number(limit) === 1) return `1 ${unit}`;
  return `${limit} ${unit === "entry" ? "entries" : `${unit}s`}`;
}
