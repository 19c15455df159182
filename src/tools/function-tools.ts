/**
 * Function tools: exports of a user's module that the model can call, run inside the server.
 *
 * Modules are loaded once a process, so what they hold (an index, a connection pool) is paid once
 * and shared by all turns; only the small MCP server in front of them is made for each process,
 * because the SDK's protocol connects one process to one server.
 *
 * @module
 */

import { pathToFileURL } from "node:url";
import {
  createSdkMcpServer,
  tool,
  type McpSdkServerConfigWithInstance,
} from "@anthropic-ai/claude-agent-sdk";
import { z } from "zod";
import { FUNCTION_TOOLS_SERVER } from "../agent/sdk-options.ts";
import { AppError } from "../lib/errors.ts";
import { isObject } from "../lib/is-object.ts";
import { runAsCall } from "./tool-call.ts";

/** Longest result that is handed to the model. */
const MAX_RESULT_CHARACTERS = 400_000;

/** What a module exports; the name of the export is the name of the tool. */
export interface FunctionTool<Input = Record<string, unknown>> {
  /** For the model: what the tool does and when to use it. */
  readonly description: string;
  /** A zod object or a JSON Schema of type object; the input is checked before `run` sees it. */
  readonly input: z.ZodObject | Readonly<Record<string, unknown>>;
  /** A string is given to the model as it is, anything else as JSON. A throw is told as an error. */
  run(input: Input, context: ToolContext): unknown;
}

export interface ToolContext {
  readonly agentName: string;
  readonly tenant: string;
  readonly sessionId: string;
  readonly turnId: string;
  /** Aborts when the turn is cancelled, and when it has ended while the tool still runs. */
  readonly signal: AbortSignal;
}

export interface LoadedFunctionTools {
  readonly names: readonly string[];
  /**
   * The server for one process; undefined when there are no tools.
   * @param contextNow Of the turn that the process works for when a tool is called.
   */
  serverFor(
    contextNow: () => ToolContext,
    onError: (toolName: string, error: unknown) => void,
  ): McpSdkServerConfigWithInstance | undefined;
}

/** Types a tool's input from its zod schema; for modules written in TypeScript. */
export function defineTool<Shape extends z.ZodRawShape>(definition: {
  readonly description: string;
  readonly input: z.ZodObject<Shape>;
  run(input: z.output<z.ZodObject<Shape>>, context: ToolContext): unknown;
}): FunctionTool {
  return definition;
}

/**
 * Loads the modules of an agent, in the order of its file.
 *
 * @throws {AppError} `agent_invalid` if a module cannot be loaded, exports something that is not a
 *   tool, or a name is there twice.
 */
export async function loadFunctionTools(files: readonly string[]): Promise<LoadedFunctionTools> {
  const tools = new Map<string, { spec: FunctionTool; schema: z.ZodObject }>();
  for (const file of files) {
    for (const [name, exported] of Object.entries(await importModule(file))) {
      if (name === "default") throw invalid(file, name, "tools are named exports");
      if (!/^[a-zA-Z0-9_-]{1,64}$/.test(name)) throw invalid(file, name, "not a usable tool name");
      if (tools.has(name)) throw invalid(file, name, "another module exports a tool of this name");
      tools.set(name, { spec: exported as FunctionTool, schema: schemaOf(file, name, exported) });
    }
  }
  return {
    names: [...tools.keys()],
    serverFor(contextNow, onError) {
      if (tools.size === 0) return undefined;
      const definitions = [...tools].map(([name, { spec, schema }]) =>
        tool(name, spec.description, whole(schema), (input) =>
          call(name, spec, input, contextNow(), onError),
        ),
      );
      return createSdkMcpServer({
        name: FUNCTION_TOOLS_SERVER,
        version: "1",
        tools: definitions,
        alwaysLoad: true,
      });
    },
  };
}

async function call(
  name: string,
  spec: FunctionTool,
  input: Record<string, unknown>,
  context: ToolContext,
  onError: (toolName: string, error: unknown) => void,
): Promise<{ content: { type: "text"; text: string }[]; isError?: boolean }> {
  try {
    const { turnId } = context;
    const result = await runAsCall({ toolName: name, turnId }, () => spec.run(input, context));
    const text = typeof result === "string" ? result : (JSON.stringify(result) ?? "");
    if (text.length > MAX_RESULT_CHARACTERS) {
      throw new RangeError(
        `the result has ${text.length} characters, at most ${MAX_RESULT_CHARACTERS} are passed on`,
      );
    }
    return { content: [{ type: "text", text }] };
  } catch (error) {
    onError(name, error);
    // The model, and with it the caller, reads this: the tool's author decides what it says.
    const message = error instanceof Error ? error.message : "The tool failed";
    const text = message.slice(0, MAX_RESULT_CHARACTERS);
    return { content: [{ type: "text", text }], isError: true };
  }
}

/**
 * TypeScript is loaded by jiti, also where Node could strip the types: that takes neither an enum nor
 * `./db.js` for a `db.ts`, so what a module may say would depend on who runs it.
 */
async function importModule(file: string): Promise<Record<string, unknown>> {
  try {
    if (/\.[cm]?ts$/.test(file)) {
      const { createJiti } = await import("jiti");
      // Its cache would be in a folder of all users, from which it runs what any of them puts there.
      return await createJiti(import.meta.url, { fsCache: false }).import(file);
    }
    return (await import(pathToFileURL(file).href)) as Record<string, unknown>;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new AppError("agent_invalid", `Cannot load the tools of "${file}": ${reason}`, { cause });
  }
}

/**
 * The SDK takes a whole schema as well as the shape of one, which its types do not say. A shape knows
 * nothing of what goes beyond single properties: others that are allowed or not, and refinements.
 */
function whole(schema: z.ZodObject): z.ZodRawShape {
  return schema as unknown as z.ZodRawShape;
}

function schemaOf(file: string, name: string, exported: unknown): z.ZodObject {
  const spec = exported as Partial<FunctionTool> | null | undefined;
  if (typeof spec !== "object" || spec === null || typeof spec.run !== "function") {
    throw invalid(file, name, "a tool is an object with description, input and run");
  }
  if (typeof spec.description !== "string" || spec.description === "") {
    throw invalid(file, name, "description is missing");
  }
  const { input } = spec;
  if (isZodObject(input)) return input;
  const unchecked = UNCHECKED_KEYWORDS.filter((keyword) => isObject(input) && keyword in input);
  if (unchecked.length > 0) {
    const words = unchecked.map((keyword) => `"${keyword}"`).join(", ");
    throw invalid(file, name, `input has ${words}, which cannot be checked at its top level`);
  }
  const schema = fromJsonSchema(input);
  if (schema instanceof z.ZodObject) return schema;
  const reason = schema instanceof Error ? ` (${schema.message})` : "";
  throw invalid(file, name, `input must be a zod object or a JSON Schema of type object${reason}`);
}

/** Of any copy of zod: that of the user's module is often another one. */
function isZodObject(input: unknown): input is z.ZodObject {
  return (
    (input as { _zod?: { def?: { type?: unknown } } } | undefined)?._zod?.def?.type === "object"
  );
}

/** What a JSON Schema may say of an object as a whole, and a zod object does not. */
const UNCHECKED_KEYWORDS = [
  "allOf",
  "anyOf",
  "const",
  "dependencies",
  "dependentRequired",
  "dependentSchemas",
  "else",
  "enum",
  "if",
  "maxProperties",
  "minProperties",
  "not",
  "oneOf",
  "patternProperties",
  "propertyNames",
  "then",
  "unevaluatedProperties",
] as const;

function fromJsonSchema(input: unknown): z.ZodType | Error | null {
  if (!isObject(input) || "_zod" in input) return null;
  try {
    return z.fromJSONSchema(input);
  } catch (thrown) {
    return thrown instanceof Error ? thrown : null;
  }
}

function invalid(file: string, name: string, reason: string): AppError {
  return new AppError("agent_invalid", `Cannot use the tool "${name}" of "${file}": ${reason}`);
}
