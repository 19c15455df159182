/**
 * AG-UI's `RunAgentInput` to our words.
 *
 * The client sends the whole conversation each time, but the conversation is ours: only the user
 * messages after the last answer are taken. State, context, tools, forwarded properties and
 * messages of any other role are not even looked at, so that a client cannot steer the agent with
 * them or put words into its mouth.
 *
 * @module
 */

import type { UserMessageSchema as UserMessage } from "@ag-ui/core/schemas";
import { z } from "zod";
import { isObject } from "../lib/is-object.ts";
import { turnKeyOf } from "../turn/turn-key.ts";
import type { InputPart, SessionTarget, TurnKey } from "../turn/turn.ts";
import { isBefore1, upgradeContent } from "./agui-0-0-59.ts";
import {
  type BodyError,
  checkInput,
  clientIdSchema,
  INPUT_LIMITS,
  inputPartSchema,
  invalidBody,
  textSchema,
} from "./input.ts";

const AGUI_LIMITS = {
  /** Messages of the whole conversation. */
  messages: 10_000,
  /** User messages after the last answer: failed runs leave theirs behind. */
  newMessages: 100,
} as const;

/** What the answer must repeat, and how the client wants to be spoken to. */
export interface AguiRun {
  readonly threadId: string;
  readonly runId: string;
  /** Absent for clients older than 1.0. */
  readonly protocolVersion?: string;
}

export interface AguiTurn {
  readonly session: SessionTarget;
  readonly input: readonly InputPart[];
  readonly run: AguiRun;
  readonly key: TurnKey;
}

/**
 * What is read of a message, and of its parts below. Nothing else is passed on: the schemas of AG-UI
 * would copy each of ten thousands of other keys, and nothing else runs meanwhile.
 */
const messageSchema = z.object({
  id: z.unknown().optional(),
  role: z.string(),
  content: z.unknown().optional(),
  name: z.unknown().optional(),
  metadata: z.unknown().optional(),
  encryptedValue: z.unknown().optional(),
  subagentRunId: z.unknown().optional(),
});
const PART_KEYS = ["type", "id", "text", "source", "metadata"] as const;
const SOURCE_KEYS = ["type", "value", "mimeType", "provider"] as const;

/** Clients in other languages write null for what is absent. */
const envelopeSchema = z.object({
  threadId: clientIdSchema,
  runId: clientIdSchema,
  protocolVersion: z.string().max(32).nullish(),
  messages: z.array(messageSchema).max(AGUI_LIMITS.messages),
  resume: z.array(z.unknown()).max(0, "is not supported: agents here never interrupt").nullish(),
});

type Message = z.output<typeof envelopeSchema>["messages"][number];

/**
 * @param body The parsed JSON of the request.
 * @throws {AppError} `invalid_request`, with the places that do not fit.
 */
export async function decodeAguiRun(body: unknown): Promise<AguiTurn> {
  const envelope = checkInput(envelopeSchema, body);
  if (!envelope.ok) throw invalidBody(envelope.errors);
  const { threadId, runId, protocolVersion, messages } = envelope.value;

  const { input, errors } = await readNewMessages(messages);
  if (errors.length > 0) throw invalidBody(errors);
  const run = { threadId, runId, ...(typeof protocolVersion === "string" && { protocolVersion }) };
  return {
    session: { by: "thread", threadId, expectsHistory: hasAnswer(messages) },
    input,
    run,
    key: keyOf(run, messages, input),
  };
}

/**
 * The run's id names the request. The same words said again later are another request, which the
 * messages before them tell.
 */
function keyOf(run: AguiRun, messages: readonly Message[], input: readonly InputPart[]): TurnKey {
  const asked = { messages: messages.length, lastId: messages.at(-1)?.id, input };
  const key = turnKeyOf(["runId", run.runId], asked);
  // Before 1.0 nothing says that a run's id is its own, and there are clients that always send the
  // same one: so what is asked is part of the name.
  const { hash, inputHash } = key;
  return isBefore1(run.protocolVersion) ? turnKeyOf(["runId", hash, inputHash], asked) : key;
}

/** A greeting that a user interface puts first is no answer: nobody has asked anything yet. */
function hasAnswer(messages: readonly Message[]): boolean {
  const firstQuestion = messages.findIndex(({ role }) => role === "user");
  const lastAnswer = messages.findLastIndex(({ role }) => role === "assistant");
  return firstQuestion >= 0 && firstQuestion < lastAnswer;
}

interface NewMessages {
  readonly input: InputPart[];
  readonly errors: BodyError[];
}

async function readNewMessages(messages: readonly Message[]): Promise<NewMessages> {
  const start = messages.findLastIndex(({ role }) => role === "assistant") + 1;
  const fresh = messages
    .map((message, index) => ({ message, pointer: `/messages/${index}` }))
    .slice(start)
    .filter(({ message }) => message.role === "user");
  if (fresh.length === 0) {
    return refused("/messages", "needs a user message after the last assistant message");
  }
  if (fresh.length > AGUI_LIMITS.newMessages) {
    const most = `at most ${AGUI_LIMITS.newMessages} user messages`;
    return refused("/messages", `needs ${most} after the last assistant message`);
  }

  // The schemas cost 3 MiB, so a server that never meets AG-UI does without.
  const { UserMessageSchema } = await import("@ag-ui/core/schemas");
  const read: NewMessages = { input: [], errors: [] };
  for (const { message, pointer } of fresh) {
    // Before each part is looked at: a body may hold ten thousands, and nothing else runs meanwhile.
    if (Array.isArray(message.content) && message.content.length > INPUT_LIMITS.parts) {
      read.errors.push({ pointer: `${pointer}/content`, detail: NEEDS_PARTS });
      continue;
    }
    const content = readOf(upgradeContent(message.content));
    const checked = checkInput(UserMessageSchema, { ...message, content }, pointer);
    if (checked.ok) readContent(checked.value.content, `${pointer}/content`, read);
    else read.errors.push(...checked.errors);
  }
  return read;
}

function readOf(content: unknown): unknown {
  if (!Array.isArray(content)) return content;
  return content.map((part: unknown) => {
    const read = only(part, PART_KEYS);
    return isObject(read) && "source" in read
      ? { ...read, source: only(read["source"], SOURCE_KEYS) }
      : read;
  });
}

/** An object with these of its keys; anything else is left as it is, for the check that follows. */
function only(value: unknown, keys: readonly string[]): unknown {
  if (!isObject(value)) return value;
  return Object.fromEntries(
    keys.filter((key) => Object.hasOwn(value, key)).map((key) => [key, value[key]]),
  );
}

const NEEDS_PARTS = `needs 1 to ${INPUT_LIMITS.parts} parts`;

function refused(pointer: string, detail: string): NewMessages {
  return { input: [], errors: [{ pointer, detail }] };
}

type Content = z.output<typeof UserMessage>["content"];
type Part = Exclude<Content, string>[number];

function readContent(content: Content, pointer: string, read: NewMessages): void {
  if (typeof content === "string") {
    const checked = checkInput(textSchema, content, pointer);
    if (checked.ok) read.input.push({ type: "text", text: checked.value });
    else read.errors.push(...checked.errors);
    return;
  }
  if (content.length === 0) {
    read.errors.push({ pointer, detail: NEEDS_PARTS });
    return;
  }
  // An image sent without words comes with an empty text beside it.
  if (content.every(isBlank)) read.errors.push({ pointer, detail: "needs text that is not blank" });
  for (const [index, part] of content.entries()) {
    if (!isBlank(part)) readPart(part, `${pointer}/${index}`, read);
  }
}

function isBlank(part: Part): boolean {
  return part.type === "text" && part.text.trim() === "";
}

function readPart(part: Part, pointer: string, read: NewMessages): void {
  if (part.type === "audio" || part.type === "video") {
    read.errors.push({ pointer: `${pointer}/type`, detail: "needs `text`, `image` or `document`" });
    return;
  }
  if (part.type !== "text" && part.source.type !== "data") {
    const detail = "needs `data`: the server fetches nothing and holds no files of a provider";
    read.errors.push({ pointer: `${pointer}/source/type`, detail });
    return;
  }
  const checked = checkInput(inputPartSchema, toInputPart(part));
  if (checked.ok) {
    read.input.push(checked.value);
    return;
  }
  for (const { pointer: place, detail } of checked.errors) {
    read.errors.push({ pointer: pointer + (AGUI_POINTERS[place] ?? place), detail });
  }
}

function toInputPart(part: Exclude<Part, { type: "audio" | "video" }>): unknown {
  if (part.type === "text") return { type: "text", text: part.text };
  const { source } = part;
  return { type: part.type, mediaType: source.mimeType, base64: source.value };
}

/** Where AG-UI has what our parts have. */
const AGUI_POINTERS: Readonly<Record<string, string>> = {
  "/mediaType": "/source/mimeType",
  "/base64": "/source/value",
};
