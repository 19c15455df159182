/**
 * The schemas as documents: a table for the docs and a JSON Schema for editors. Pure.
 *
 * @module
 */

import { z } from "zod";
import { isObject } from "../lib/is-object.ts";
import { schemaKeys, type SchemaKey } from "../lib/schema-tree.ts";
import { SETTINGS } from "./settings.ts";

/** One row a key; a row without a default says whether the key is required. */
export function keyTable(schema: z.ZodType): string {
  return table(
    ["Key", "Type", "Default", "Meaning"],
    schemaKeys(schema).map((key) => [
      `\`${key.path.join(".")}\``,
      key.type,
      defaultOf(key),
      key.description,
    ]),
  );
}

/** The variable of each setting that fits into one. */
export function variableTable(): string {
  return table(
    ["Setting", "Variable", "Written as"],
    SETTINGS.filter(({ kind }) => kind !== "none").map(({ name, variable, kind }) => [
      `\`${name}\``,
      `\`${variable}\``,
      WRITTEN[kind] ?? kind,
    ]),
  );
}

const WRITTEN: Readonly<Partial<Record<SchemaKey["kind"], string>>> = {
  text: "text as in the file",
  boolean: "`true` or `false`",
  list: "`a,b`",
  map: "`a=b,c=d`",
};

const MARKER = /(<!-- generated: (\w+) -->\n)[^]*?(<!-- end -->)/gu;

/** A page with everything between its `generated` marks made anew. */
export function withTables(page: string, tables: Readonly<Record<string, string>>): string {
  return page.replaceAll(MARKER, (whole, begin: string, name: string, end: string) => {
    const made = tables[name];
    return made === undefined ? whole : `${begin}\n${made}\n${end}`;
  });
}

/** A Markdown table; bars in the cells are escaped. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return `${[line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n")}\n`;
}

function defaultOf({ kind, defaultValue, isRequired }: SchemaKey): string {
  if (isRequired) return "required";
  if (kind === "section" || defaultValue === undefined || defaultValue === "") return "";
  return `\`${typeof defaultValue === "string" ? defaultValue : JSON.stringify(defaultValue)}\``;
}

/** JSON Schema of what a user may write, ending in a newline. */
export function jsonSchemaText(schema: z.ZodType, title: string): string {
  const made = z.toJSONSchema(schema, {
    target: "draft-7",
    io: "input",
    override: ({ jsonSchema }) => {
      delete jsonSchema["unit"];
      delete jsonSchema["secret"];
    },
  });
  const { $schema, ...rest } = made;
  const whole = { $schema, title, ...withVariables(rest), definitions: { variable: VARIABLE } };
  return `${JSON.stringify(whole, null, 2)}\n`;
}

const VARIABLE = { type: "string", pattern: "\\$\\{", description: "A variable: `${NAME}`" };

/** Where a number or a certain word belongs, `${VAR}` may stand as well. */
function withVariables(node: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { description, default: defaultValue, ...rest } = node;
  const isNarrow =
    ["number", "integer", "boolean"].includes(String(node["type"])) ||
    ["enum", "pattern"].some((word) => word in node);
  const inner = isNarrow
    ? { anyOf: [rest, { $ref: "#/definitions/variable" }] }
    : Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, within(key, value)]));
  return {
    ...(description !== undefined && { description }),
    ...(defaultValue !== undefined && { default: defaultValue }),
    ...inner,
  };
}

/** Only where schemas are: the names of keys are no place for a variable. */
function within(key: string, value: unknown): unknown {
  if (!isObject(value)) {
    return Array.isArray(value) && key === "anyOf"
      ? value.map((each) => within("items", each))
      : value;
  }
  if (key === "properties") {
    return Object.fromEntries(
      Object.entries(value).map(([name, each]) => [name, within("items", each)]),
    );
  }
  return key === "items" || key === "additionalProperties" ? withVariables(value) : value;
}
