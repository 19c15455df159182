/**
 * Makes a value that fits a JSON Schema, so that a script can call a tool without spelling out
 * its input. It knows the keywords that tool schemas use in practice; `pattern` it does not.
 *
 * @module
 */

/** How deep a schema is followed: enough for real tools, and an end for recursive ones. */
const MAX_DEPTH = 8;

/** Strings for formats that a plain text would not satisfy. */
const FORMATS: Readonly<Record<string, string>> = {
  date: "2026-01-01",
  "date-time": "2026-01-01T00:00:00Z",
  time: "00:00:00Z",
  email: "rehearsal@example.com",
  uri: "https://example.com/",
  url: "https://example.com/",
  uuid: "00000000-0000-4000-8000-000000000000",
};

type Schema = Readonly<Record<string, unknown>>;

/** An example for `schema`: required properties only, free strings hold `text`. */
export function exampleValue(schema: unknown, text: string): unknown {
  const root = asSchema(schema);
  return exampleOf(root, { root, text, depth: 0 });
}

interface Place {
  readonly root: Schema;
  readonly text: string;
  readonly depth: number;
}

function exampleOf(schema: Schema, place: Place): unknown {
  if (place.depth > MAX_DEPTH) return null;
  const inside = { ...place, depth: place.depth + 1 };
  if ("const" in schema) return schema["const"];
  if ("default" in schema) return schema["default"];
  for (const choices of [schema["enum"], schema["examples"]]) {
    if (Array.isArray(choices) && choices.length > 0) return choices[0];
  }
  if (typeof schema["$ref"] === "string") {
    return exampleOf(resolve(place.root, schema["$ref"]), inside);
  }
  for (const branches of [schema["anyOf"], schema["oneOf"], schema["allOf"]]) {
    if (Array.isArray(branches)) return exampleOf(asSchema(branches[0]), inside);
  }
  switch (typeOf(schema)) {
    case "string":
      return exampleText(schema, place.text);
    case "integer":
    case "number":
      return exampleNumber(schema);
    case "boolean":
      return true;
    case "null":
      return null;
    case "array":
      return exampleList(schema, inside);
    default:
      return exampleObject(schema, inside);
  }
}

function exampleText(schema: Schema, text: string): string {
  const byFormat = FORMATS[String(schema["format"])];
  if (byFormat !== undefined) return byFormat;
  const minLength = numberOf(schema["minLength"]) ?? 0;
  return text.padEnd(minLength, ".").slice(0, numberOf(schema["maxLength"]));
}

function exampleNumber(schema: Schema): number {
  const least = numberOf(schema["minimum"]);
  if (least !== undefined) return least;
  const above = numberOf(schema["exclusiveMinimum"]);
  if (above !== undefined) return Math.floor(above) + 1;
  return Math.min(1, numberOf(schema["maximum"]) ?? 1);
}

function exampleList(schema: Schema, inside: Place): unknown[] {
  // One item shows the shape better than none does.
  const length = Math.min(Math.max(1, numberOf(schema["minItems"]) ?? 1), 8);
  const item = exampleOf(asSchema(schema["items"]), inside);
  return Array.from({ length }, () => item);
}

function exampleObject(schema: Schema, inside: Place): Record<string, unknown> {
  const required = Array.isArray(schema["required"]) ? schema["required"].map(String) : [];
  const properties = asSchema(schema["properties"]);
  return Object.fromEntries(
    required.map((name) => [name, exampleOf(asSchema(properties[name]), inside)]),
  );
}

function typeOf(schema: Schema): string {
  const type = schema["type"];
  const first: unknown = Array.isArray(type) ? type.find((name) => name !== "null") : type;
  return typeof first === "string" ? first : "object";
}

/** Follows a reference within the schema, such as `#/$defs/city`. */
function resolve(root: Schema, reference: string): Schema {
  return reference
    .split("/")
    .slice(1)
    .reduce(
      (schema, key) => asSchema(schema[key.replaceAll("~1", "/").replaceAll("~0", "~")]),
      root,
    );
}

function asSchema(value: unknown): Schema {
  return isSchema(value) ? value : {};
}

function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null;
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}
