/**
 * From a conversation and the next event of AG-UI to the conversation after it. Pure.
 *
 * A stream that broke may go on behind its last event, or begin again, with or without a snapshot
 * before it; in each case the end is the conversation that a stream without a cut makes:
 *
 * - a run that starts once more takes away what it has said, all that is behind the last question;
 * - what starts again under an id that is there begins empty, in its place;
 * - a snapshot keeps what has an id of it, appends what is new, and takes the rest away, but for
 *   what it cannot know of earlier runs: thoughts, notices and endings.
 *
 * @module
 */

import type {
  AguiEvent,
  AguiMessage,
  AguiUsage,
  NumberedAguiEvent,
  RunError,
  RunFinished,
} from "./agui-events.ts";
import {
  type Conversation,
  type Ending,
  type Item,
  placeOf,
  type Run,
  type RunUsage,
  type ShownFile,
  type ToolItem,
  type UserItem,
  withItem,
} from "./conversation.ts";

export function reduceEvent(before: Conversation, numbered: NumberedAguiEvent): Conversation {
  const { event } = numbered;
  switch (event.type) {
    case "RUN_STARTED":
      return started(before, runOf(event));
    case "MESSAGES_SNAPSHOT": {
      const isBeforeRun = before.run !== null && before.run.turnId !== null;
      return { ...before, items: merged(before.items, itemsOf(event.messages), isBeforeRun) };
    }
    case "CUSTOM":
      return withNotice(before, event, numbered.id);
    case "RUN_FINISHED":
    case "RUN_ERROR":
      return ended(before, event);
    default:
      return reduceContent(before, event);
  }
}

type ContentEvent = Exclude<
  AguiEvent,
  { type: "RUN_STARTED" | "MESSAGES_SNAPSHOT" | "CUSTOM" | "RUN_FINISHED" | "RUN_ERROR" }
>;

function reduceContent(before: Conversation, event: ContentEvent): Conversation {
  switch (event.type) {
    case "TEXT_MESSAGE_START":
      return withItem(before, { ...EMPTY_TEXT, id: event.messageId });
    case "TEXT_MESSAGE_CONTENT":
      return changed(before, "text", event.messageId, (item) => grown(item, event.delta));
    case "TEXT_MESSAGE_END":
      return changed(before, "text", event.messageId, closed);
    case "REASONING_MESSAGE_START":
      return withItem(before, { kind: "reasoning", id: event.messageId, text: "", isOpen: true });
    case "REASONING_MESSAGE_CONTENT":
      return changed(before, "reasoning", event.messageId, (item) => grown(item, event.delta));
    case "REASONING_MESSAGE_END":
      return changed(before, "reasoning", event.messageId, closed);
    case "TOOL_CALL_START":
      return withItem(before, {
        ...EMPTY_CALL,
        id: event.toolCallId,
        name: event.toolCallName,
        server: event.metadata?.serverName ?? null,
      });
    case "TOOL_CALL_ARGS":
      return changed(before, "tool", event.toolCallId, (item) => {
        return { ...item, input: item.input + event.delta };
      });
    case "TOOL_CALL_END":
      return changed(before, "tool", event.toolCallId, closed);
    case "TOOL_CALL_RESULT": {
      const { content, metadata } = event;
      const result = { content, isError: metadata?.isError === true };
      return changed(before, "tool", event.toolCallId, (item) => ({ ...item, result }));
    }
    default:
      return before; // A newer server may say more.
  }
}

const EMPTY_TEXT = { kind: "text", text: "", isOpen: true } as const;
const EMPTY_CALL = { kind: "tool", input: "", isOpen: true, result: null } as const;

function changed<Kind extends Item["kind"]>(
  before: Conversation,
  kind: Kind,
  id: string,
  change: (item: Extract<Item, { kind: Kind }>) => Item,
): Conversation {
  const index = placeOf(before.items, kind, id);
  const item = before.items[index];
  if (item === undefined) return before;
  const next = change(item as Extract<Item, { kind: Kind }>);
  return { ...before, items: before.items.with(index, next) };
}

function grown<Grows extends { readonly text: string }>(item: Grows, delta: string): Grows {
  return { ...item, text: item.text + delta };
}

function closed<Closes extends { readonly isOpen: boolean }>(item: Closes): Closes {
  return { ...item, isOpen: false };
}

function started({ items, run: last }: Conversation, run: Run): Conversation {
  const isAgain = run.turnId !== null && run.turnId === last?.turnId;
  return { run, items: isAgain ? items.slice(0, lastQuestion(items) + 1) : items };
}

function lastQuestion(items: readonly Item[]): number {
  return items.findLastIndex(({ kind }) => kind === "user");
}

function runOf({ runId, metadata }: Extract<AguiEvent, { type: "RUN_STARTED" }>): Run {
  return {
    runId,
    turnId: metadata?.turnId ?? null,
    sessionId: metadata?.sessionId ?? null,
    isEnded: false,
  };
}

const NOTICE_PREFIX = "plimsoll:";

function withNotice(
  before: Conversation,
  { name, value }: Extract<AguiEvent, { type: "CUSTOM" }>,
  frameId: string | null,
): Conversation {
  if (!name.startsWith(NOTICE_PREFIX) || frameId === null) return before;
  const notice = { name: name.slice(NOTICE_PREFIX.length), data: value };
  return withItem(before, { kind: "notice", id: frameId, ...notice });
}

function ended(before: Conversation, event: RunFinished | RunError): Conversation {
  const { run } = before;
  const isStored = run === null || run.turnId === null;
  const after: Conversation = { ...before, run: run && { ...run, isEnded: true } };
  // Of a run that only sent what is stored there is nothing to tell, but why it was not more.
  if (isStored && event.type === "RUN_FINISHED") return after;
  const turnId = run?.turnId ?? null;
  const id = turnId ?? run?.runId ?? "";
  const end = { kind: "end", id, turnId, ending: endingOf(event), usage: usageOf(event) } as const;
  return withItem(withAllClosed(after), end);
}

/** A stream that failed by itself may leave things open. */
function withAllClosed({ items, run }: Conversation): Conversation {
  const isOpen = (item: Item) => "isOpen" in item && item.isOpen;
  if (!items.some(isOpen)) return { items, run };
  return { run, items: items.map((item) => (isOpen(item) ? { ...item, isOpen: false } : item)) };
}

function endingOf(event: RunFinished | RunError): Ending {
  if (event.type === "RUN_ERROR") {
    const { code = "internal", message, metadata } = event;
    return { is: "failed", code, message, remedy: metadata?.remedy ?? null };
  }
  if (event.outcome?.type !== "cancelled") {
    const { result, metadata } = event;
    return {
      is: "completed",
      stopReason: metadata?.stopReason ?? null,
      result: result === undefined ? null : JSON.stringify(result),
    };
  }
  return { is: "cancelled", cause: event.metadata?.cause ?? null };
}

/** Null where no model was asked. */
function usageOf({ usage, metadata }: RunFinished | RunError): RunUsage | null {
  if (usage === undefined) return null;
  return {
    inputTokens: sumOf(usage, "inputTokens"),
    outputTokens: sumOf(usage, "outputTokens"),
    costUsd: metadata?.costUsd ?? null,
    steps: metadata?.steps ?? null,
    durationMs: metadata?.durationMs ?? null,
    firstTokenMs: metadata?.firstTokenMs ?? null,
  };
}

function sumOf(usage: readonly AguiUsage[], key: keyof AguiUsage): number {
  return usage.reduce((sum, model) => sum + (model[key] ?? 0), 0);
}

/** The messages of a snapshot as items: calls have their results, which are messages of their own. */
function itemsOf(messages: readonly AguiMessage[]): Item[] {
  const results = new Map<string, string>();
  for (const message of messages) {
    if (message.role === "tool") results.set(message.toolCallId, message.content);
  }
  return messages.flatMap((message): Item[] => {
    if (message.role === "user") return [userItem(message.id, message.content)];
    if (message.role === "reasoning") {
      return [{ kind: "reasoning", id: message.id, text: message.content, isOpen: false }];
    }
    if (message.role !== "assistant") return [];
    const { id, content: text, toolCalls = [] } = message;
    const texts = text === undefined ? [] : [{ ...EMPTY_TEXT, id, text, isOpen: false }];
    return [
      ...texts,
      ...toolCalls.map((call): ToolItem => {
        const content = results.get(call.id);
        return {
          kind: "tool",
          id: call.id,
          name: call.function.name,
          server: null,
          input: call.function.arguments,
          isOpen: false,
          result: content === undefined ? null : { content, isError: false },
        };
      }),
    ];
  });
}

export function userItem(
  id: string,
  text: string,
  files: readonly ShownFile[] = [],
  at: string | null = null,
): UserItem {
  return { kind: "user", id, text, files, at };
}

/**
 * What a snapshot knows nothing of stays where it is.
 *
 * @param isBeforeRun The snapshot has all but what the run says that follows, up to its question.
 */
function merged(has: readonly Item[], snapshot: readonly Item[], isBeforeRun: boolean): Item[] {
  const fresh = new Map(namedAsIn(snapshot, has).map((item) => [keyOf(item), item]));
  const isThere = (item: Item) => fresh.has(keyOf(item));
  const lastKnown = has.findLastIndex((item) => item.kind === "user" && isThere(item));
  const hasThoughts = snapshot.some(({ kind }) => kind === "reasoning");
  const end = isBeforeRun ? lastQuestion(has) : has.length;
  const kept = has.filter((item, index) => {
    if (isThere(item)) return true;
    // A question that was only just asked, of which the server has not heard.
    if (item.kind === "user") return index > lastKnown;
    if (index > end) return false;
    return item.kind === "reasoning" ? !hasThoughts : item.kind === "notice" || item.kind === "end";
  });
  const joined = kept.map((item) => {
    const news = fresh.get(keyOf(item));
    fresh.delete(keyOf(item));
    return news === undefined ? item : joinedOf(item, news);
  });
  return [...joined, ...fresh.values()];
}

function keyOf({ kind, id }: Item): string {
  return `${kind} ${id}`;
}

/** The snapshot has the words; files, servers and the failures of tools only this page has seen. */
function joinedOf(item: Item, news: Item): Item {
  if (item.kind === "user" && news.kind === "user")
    return { ...news, files: item.files, at: item.at };
  if (item.kind !== "tool" || news.kind !== "tool") return news;
  const isError = item.result?.isError ?? false;
  const result = news.result && { ...news.result, isError };
  return { ...news, server: item.server, result };
}

/** The server gives names of its own to what the user said: the same words in the same order. */
function namedAsIn(snapshot: readonly Item[], has: readonly Item[]): Item[] {
  const said = has.filter((item) => item.kind === "user");
  let next = 0;
  return snapshot.map((item) => {
    if (item.kind !== "user") return item;
    const isThis = ({ id, text }: UserItem) => id === item.id || text === item.text;
    const at = said.findIndex((own, index) => index >= next && isThis(own));
    const known = said[at];
    if (known === undefined) return item;
    next = at + 1;
    return { ...item, id: known.id };
  });
}
