/**
 * Placeholders of a rehearsal script: `{{userText}}` and its kind, filled with what the request
 * says. There is no logic in a template; choosing is what rules are for.
 *
 * @module
 */

/** What a template may name, and what it stands for. */
export const PLACEHOLDERS = {
  userText: "the last text of the user",
  firstUserText: "the text that began the conversation",
  turnCount: "how many texts of the user the conversation holds",
  toolResult: "what the tools called last answered",
  toolName: "the name of the tool whose answer came last",
  mentionedTool: "the declared tool that the last text of the user names",
  toolNames: "all declared tools",
  model: "the model that was asked for",
} as const;

export type Placeholder = keyof typeof PLACEHOLDERS;
export type PlaceholderValues = Readonly<Record<Placeholder, string>>;

const PLACEHOLDER = /\{\{\s*(\w+)\s*\}\}/g;

/** The names in double braces that are no placeholders: mistakes of the script's author. */
export function unknownPlaceholders(template: string): string[] {
  return [...template.matchAll(PLACEHOLDER)]
    .map((match) => match[1] ?? "")
    .filter((name) => !isPlaceholder(name));
}

export function fillTemplate(template: string, values: PlaceholderValues): string {
  return template.replace(PLACEHOLDER, (whole, name: string) =>
    isPlaceholder(name) ? values[name] : whole,
  );
}

/** Fills every string within a JSON value; keys stay as they are. */
export function fillTemplates(value: unknown, values: PlaceholderValues): unknown {
  if (typeof value === "string") return fillTemplate(value, values);
  if (Array.isArray(value)) return value.map((item) => fillTemplates(item, values));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, fillTemplates(item, values)]),
  );
}

function isPlaceholder(name: string): name is Placeholder {
  return Object.hasOwn(PLACEHOLDERS, name);
}
