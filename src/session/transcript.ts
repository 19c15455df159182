/**
 * The messages of a session, read from the lines of its transcript. Changes nothing.
 *
 * A transcript is a tree: every entry names its parent, and a turn that was lost is a dead branch.
 * The conversation is the way from the last message back to the root, with two additions: the
 * blocks of one message, and the results of tools called side by side, may hang beside that way.
 *
 * @module
 */

import { setImmediate as nextTick } from "node:timers/promises";
import { isObject } from "../lib/is-object.ts";
import { parseToolName } from "../lib/tool-name.ts";
import type { MessagePart, SessionMessage } from "./message.ts";
import { parseObject } from "./transcript-file.ts";

export interface Transcript {
  /** Oldest first. */
  readonly messages: readonly SessionMessage[];
  /** Lines that could not be read. */
  readonly skippedLines: number;
  /** False when older messages were left out or could not be reached. */
  readonly isComplete: boolean;
}

export interface TranscriptLimits {
  /** Longest text of one part, in UTF-16 code units; beyond it the part is cut. */
  readonly maxPartLength: number;
  /** Size of all messages together, about, in UTF-16 code units; the newest are kept. */
  readonly maxTotalLength: number;
}

export const TRANSCRIPT_LIMITS: TranscriptLimits = {
  maxPartLength: 256 * 1024,
  maxTotalLength: 4 * 1024 * 1024,
};

/** UTF-16 code units that are read at a stretch, in a few milliseconds; then others have their turn. */
const STRETCH_LENGTH = 256 * 1024;

/** An object of a line, of which nothing is known. */
type Fields = Readonly<Record<string, unknown>>;

interface Entry {
  readonly uuid: string;
  readonly parent: string | null;
  /** Undefined for entries that are only links of the chain. */
  readonly message: SessionMessage | undefined;
}

/** Read with pauses, as a long one takes many times as long as anything else does. */
export async function transcriptOf(
  lines: Iterable<string> | AsyncIterable<string>,
  limits: TranscriptLimits,
): Promise<Transcript> {
  const entries = new Map<string, Entry>();
  let skippedLines = 0;
  let readLength = 0;
  let leaf: Entry | undefined;
  for await (const line of lines) {
    readLength += line.length;
    if (readLength > STRETCH_LENGTH) {
      readLength = 0;
      await nextTick();
    }
    if (line.trim() === "") continue;
    const fields = parseObject(line);
    if (fields === undefined) skippedLines += 1;
    const entry = fields && entryOf(fields, limits.maxPartLength);
    if (entry === undefined) continue;
    entries.set(entry.uuid, entry);
    if (entry.message !== undefined) leaf = entry;
  }
  const { chain, reachesRoot } = chainOf(entries, leaf);
  const messages = joinBlocks(conversationOf(entries, chain));
  const kept = newest(messages, limits.maxTotalLength);
  return {
    messages: kept,
    skippedLines,
    isComplete: reachesRoot && kept.length === messages.length,
  };
}

function entryOf(fields: Fields, maxPartLength: number): Entry | undefined {
  const { uuid, parentUuid, logicalParentUuid } = fields;
  if (typeof uuid !== "string" || fields["isSidechain"] === true) return undefined;
  // A compaction starts a new root, and remembers what it continues.
  const parent = parentUuid ?? logicalParentUuid;
  return {
    uuid,
    parent: typeof parent === "string" ? parent : null,
    message: messageOf(fields, uuid, maxPartLength),
  };
}

function messageOf(
  fields: Fields,
  uuid: string,
  maxPartLength: number,
): SessionMessage | undefined {
  const role = fields["type"];
  const message = asObject(fields["message"]);
  if ((role !== "user" && role !== "assistant") || message === undefined) return undefined;
  // Claude Code's own words, not those of the user or the model.
  if (fields["isMeta"] === true || fields["isCompactSummary"] === true) return undefined;
  if (message["model"] === "<synthetic>") return undefined;

  const parts = blocksOf(message["content"]).flatMap((block) => partsOf(block, maxPartLength));
  if (parts.length === 0) return undefined;
  const at = Date.parse(asText(fields["timestamp"]));
  const id = role === "assistant" && typeof message["id"] === "string" ? message["id"] : uuid;
  return { id, role, atMs: Number.isNaN(at) ? null : at, parts };
}

function partsOf(block: Fields, maxLength: number): MessagePart[] {
  switch (block["type"]) {
    case "text": {
      const [text, mark] = cut(asText(block["text"]), maxLength);
      return INTERRUPT_MARKS.has(text) ? [] : [{ type: "text", text, ...mark }];
    }
    case "thinking": {
      const [text, mark] = cut(asText(block["thinking"]), maxLength);
      return text === "" ? [] : [{ type: "reasoning", text, ...mark }];
    }
    case "image":
    case "document": {
      const mediaType = asText(asObject(block["source"])?.["media_type"]);
      return [{ type: block["type"], mediaType }];
    }
    case "tool_use":
      return [toolCallOf(block, maxLength)];
    case "tool_result":
      return [toolResultOf(block, maxLength)];
    default:
      return [];
  }
}

/** What Claude Code writes in the user's name when a turn is interrupted. */
const INTERRUPT_MARKS = new Set([
  "[Request interrupted by user]",
  "[Request interrupted by user for tool use]",
]);

function toolCallOf(block: Fields, maxLength: number): MessagePart {
  const isTooLarge = (JSON.stringify(block["input"]) ?? "").length > maxLength;
  return {
    type: "tool_call",
    toolCallId: asText(block["id"]),
    ...parseToolName(asText(block["name"])),
    input: isTooLarge ? null : (block["input"] ?? null),
    ...(isTooLarge ? { isCut: true } : {}),
  };
}

function toolResultOf(block: Fields, maxLength: number): MessagePart {
  const texts = blocksOf(block["content"]).map((inner) => asText(inner["text"]));
  const [content, mark] = cut(texts.join("\n"), maxLength);
  return {
    type: "tool_result",
    toolCallId: asText(block["tool_use_id"]),
    content,
    isError: block["is_error"] === true,
    ...mark,
  };
}

/** The entries from the last message back to the root. */
function chainOf(
  entries: ReadonlyMap<string, Entry>,
  leaf: Entry | undefined,
): { readonly chain: ReadonlySet<string>; readonly reachesRoot: boolean } {
  const chain = new Set<string>();
  let uuid = leaf?.uuid ?? null;
  while (uuid !== null) {
    const entry = entries.get(uuid);
    // A parent that is missing was on a line that could not be read; one seen before is a ring.
    if (entry === undefined || chain.has(uuid)) return { chain, reachesRoot: false };
    chain.add(uuid);
    uuid = entry.parent;
  }
  return { chain, reachesRoot: true };
}

/** In the order of the file, which is the order in which it happened. */
function conversationOf(
  entries: ReadonlyMap<string, Entry>,
  chain: ReadonlySet<string>,
): SessionMessage[] {
  const messageIds = new Set<string>();
  for (const uuid of chain) {
    const message = entries.get(uuid)?.message;
    if (message?.role === "assistant") messageIds.add(message.id);
  }
  const callIds = new Set<string>();
  const conversation: SessionMessage[] = [];
  for (const { uuid, message } of entries.values()) {
    if (message === undefined) continue;
    const isOfChain =
      chain.has(uuid) ||
      messageIds.has(message.id) ||
      message.parts.some((part) => part.type === "tool_result" && callIds.has(part.toolCallId));
    if (!isOfChain) continue;
    conversation.push(message);
    for (const part of message.parts) {
      if (part.type === "tool_call") callIds.add(part.toolCallId);
    }
  }
  return conversation;
}

/** One entry holds one block: the blocks of one message become one message again. */
function joinBlocks(conversation: readonly SessionMessage[]): SessionMessage[] {
  const joined = new Map<string, SessionMessage>();
  for (const message of conversation) {
    const first = joined.get(message.id);
    const parts = first === undefined ? message.parts : [...first.parts, ...message.parts];
    joined.set(message.id, { ...(first ?? message), parts });
  }
  return [...joined.values()];
}

function newest(messages: readonly SessionMessage[], maxLength: number): SessionMessage[] {
  let start = messages.length;
  let length = 0;
  for (const message of messages.toReversed()) {
    length += JSON.stringify(message).length;
    if (length > maxLength) break;
    start -= 1;
  }
  return messages.slice(start);
}

/** At most so much of a text, and the mark to set beside it when that is not all. */
function cut(text: string, maxLength: number): [shown: string, mark: { readonly isCut?: true }] {
  return text.length > maxLength ? [text.slice(0, maxLength), { isCut: true }] : [text, {}];
}

/** Content is either text or blocks. */
function blocksOf(content: unknown): Fields[] {
  if (typeof content === "string") return [{ type: "text", text: content }];
  return Array.isArray(content) ? content.filter(isObject) : [];
}

function asObject(value: unknown): Fields | undefined {
  return isObject(value) ? value : undefined;
}

function asText(value: unknown): string {
  return typeof value === "string" ? value : "";
}
