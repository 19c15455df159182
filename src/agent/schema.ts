/**
 * agent.yaml: every key with its meaning, range and default. The reference and the schema for
 * editors read the descriptions here. {@link AgentDefinition} is what the rest of the server sees.
 *
 * @module
 */

import { z } from "zod";
import { bytesSchema } from "../lib/bytes.ts";
import { durationSchema } from "../lib/duration.ts";
import { headersSchema } from "../lib/http-headers.ts";
import { needs } from "../lib/schema-issues.ts";
import { AGENT_NAME, MODEL_PROVIDERS } from "./definition.ts";
import { BUDGET_NEEDS_ONE_TURN, hosting, stayMsOf } from "./hosting.ts";
import { FUNCTION_TOOLS_SERVER } from "./sdk-options.ts";

/** The built-in tools that Claude Code offers without a person at its terminal. */
export const BUILTIN_TOOLS = [
  "Bash",
  "Edit",
  "Glob",
  "Grep",
  "NotebookEdit",
  "Read",
  "Task",
  "TaskCreate",
  "TaskGet",
  "TaskList",
  "TaskUpdate",
  "WebFetch",
  "WebSearch",
  "Write",
] as const;

const path = z.string().min(1).max(4096);
const modelId = z.string().min(1).max(200);

const model = z.strictObject({
  provider: z
    .enum(MODEL_PROVIDERS)
    .default("anthropic")
    .describe(
      "Who serves the model. `rehearsal` is the built-in scripted model: it needs no key and no " +
        "network, and is not Claude.",
    ),
  id: modelId.default("claude-sonnet-5").describe("Model, as its provider names it."),
  effort: z
    .enum(["low", "medium", "high", "xhigh", "max"])
    .optional()
    .describe("How much work the model puts into an answer; the model's own default without it."),
  thinking: z
    .union([
      z.enum(["adaptive", "disabled"]),
      z.strictObject({
        budgetTokens: z
          .int()
          .min(1024)
          .max(1_000_000)
          .describe("Most tokens of one stretch of thinking."),
      }),
    ])
    .optional()
    .describe("Thinking before the answer; the model's own default without it."),
  fallback: z
    .array(modelId)
    .max(5)
    .default([])
    .describe("Models tried in order when the first is overloaded."),
  rehearsalScript: path
    .optional()
    .describe("Script of the `rehearsal` provider, beside this file; the built-in one without it."),
});

const text = z.record(
  z.string().min(1).max(256),
  z.string().max(32_768, { error: "needs at most 32768 characters" }),
);

const required = z
  .boolean()
  .default(true)
  .describe("Whether a turn is refused when the server cannot be reached, or goes on without it.");

const mcpServer = z.discriminatedUnion("type", [
  z.strictObject({
    type: z
      .literal("stdio")
      .describe(
        "`stdio`: a program started for each turn; `http` or `sse`: a server on the network.",
      ),
    command: z
      .string()
      .min(1)
      .max(4096)
      .describe("The program of a `stdio` server; `./` and `../` begin a path from this file."),
    args: z
      .array(z.string().max(4096))
      .max(256)
      .default([])
      .describe("Its arguments; `./` and `../` begin a path from this file."),
    env: text
      .default({})
      .describe("Its environment, beside that of the agent process.")
      .meta({ secret: true }),
    required,
  }),
  z.strictObject({
    type: z.enum(["http", "sse"]),
    url: z
      .string()
      .refine((url) => URL.canParse(url) && /^https?:$/u.test(new URL(url).protocol), {
        error: needs("an http or https URL", "Write for example `https://mcp.example.com/mcp`"),
      })
      .describe("Address of an `http` or `sse` server."),
    headers: headersSchema(32_768)
      .default({})
      .describe("Headers of every request to an `http` or `sse` server.")
      .meta({ secret: true }),
    required,
  }),
]);

const mcpName = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/u, {
    error: needs("a server name of letters, digits, `_` and `-`", "Choose another name"),
    abort: true,
  })
  .refine((name) => !RESERVED.has(name) && !name.includes("__"), {
    error: needs(
      "another name: `plimsoll`, `tools` and names with `__` are reserved",
      "Choose another name",
    ),
  });

const RESERVED = new Set(["plimsoll", FUNCTION_TOOLS_SERVER]);

const tools = z.strictObject({
  builtin: z
    .array(z.enum(BUILTIN_TOOLS))
    .refine((names) => new Set(names).size === names.length, {
      error: needs("every tool once", "Remove the repetition"),
    })
    .default([])
    .describe("Tools of Claude Code; none unless named."),
  functions: z
    .array(path)
    .max(100)
    .refine((paths) => new Set(paths).size === paths.length, {
      error: needs("every module once", "Remove the repetition"),
    })
    .default([])
    .describe("JavaScript or TypeScript modules whose exports are tools, run within the server."),
  mcp: z
    .record(mcpName, mcpServer)
    .refine((servers) => Object.keys(servers).length <= 32, {
      error: needs("at most 32 servers", "Remove some"),
    })
    .default({})
    .describe("MCP servers by name."),
});

const limits = z.strictObject({
  steps: z.int().min(1).max(1000).default(20).describe("Model calls of one turn."),
  budgetUsd: z
    .number()
    .positive()
    .max(10_000)
    .optional()
    .describe("Most that one turn may cost, in US dollars; checked between steps."),
  turnTime: durationSchema("1s", "24h")
    .prefault("10m")
    .describe("Longest time of a turn, with what it waits for its start."),
  stallTime: durationSchema("1s", "24h")
    .prefault("5m")
    .describe("Longest silence of the agent process within a turn; `turnTime` if that is less."),
  turnMemory: bytesSchema("192MiB", "1TiB")
    .optional()
    .describe(
      "Most memory that a turn may hold with all its tools; beyond it the tool that grew is " +
        "ended, or the turn. Without it, half of what the replica has for turns.",
    ),
  transcript: bytesSchema("64KiB", "1GiB")
    .prefault("16MiB")
    .describe(
      "Largest transcript that a turn resumes: each MiB of it takes about 12 MiB of memory, and " +
        "time at the start.",
    ),
  whenTranscriptFull: z
    .enum(["shorten", "refuse"])
    .default("shorten")
    .describe(
      "What becomes of a larger one: it is cut to its last part, at Claude Code's last summary or " +
        "else at a question of the user, which the stream says; or the turn is refused with " +
        "`transcript_too_large`.",
    ),
});

export const AgentFile = z
  .strictObject({
    name: z
      .string()
      .regex(AGENT_NAME, {
        error: needs(
          "1 to 63 lower-case letters, digits and `-`, not beginning with `-`",
          "Choose a name such as `support-agent`",
        ),
      })
      .describe("Name in addresses and metrics; unique in a server."),
    description: z.string().max(2000).default("").describe("What it is for, to show to people."),
    model: model.prefault({}).describe("The model and how it is asked."),
    instructions: z
      .union([
        z
          .string()
          .regex(/\S/u, { error: needs("text that is not empty", "Say what the agent does") }),
        z.strictObject({ file: path.describe("File with the instructions, beside this file.") }),
      ])
      .describe("The whole system prompt, as text or as `{ file: ... }`."),
    tools: tools.prefault({}).describe("What the agent may do; nothing unless named."),
    output: z
      .strictObject({
        schema: z
          .union([
            z.strictObject({ file: path.describe("File with the JSON Schema, beside this file.") }),
            z.looseObject({ type: z.literal("object").describe("A turn's output is an object.") }),
          ])
          .describe("JSON Schema that the answer must fit, or `{ file: ... }`."),
      })
      .optional()
      .describe("Structured output; text without it."),
    limits: limits.prefault({}).describe("Limits of one turn."),
    hosting: hosting.prefault({}).describe("What is kept between turns, and started ahead."),
  })
  .superRefine((file, context) => {
    if (file.limits.budgetUsd === undefined || stayMsOf(file.hosting) === 0) return;
    const at = { path: ["limits", "budgetUsd"], message: BUDGET_NEEDS_ONE_TURN };
    context.addIssue({ code: "custom", ...at });
  });

export type AgentSettings = z.output<typeof AgentFile>;
