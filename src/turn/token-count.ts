/**
 * How many tokens a turn has used so far, for whoever watches it. The process tells its totals only
 * at the end of a turn; until then they are added up from what the model says of each message.
 *
 * @module
 */

import type { SDKMessage } from "@anthropic-ai/claude-agent-sdk";
import { promptTokens } from "../lib/tokens.ts";

export interface Tokens {
  /** Of all prompts, what went through the cache too. */
  readonly promptTokens: number;
  readonly outputTokens: number;
}

/** As the Messages API tells it; null and missing are nothing new. */
interface MessageUsage {
  readonly input_tokens?: number | null;
  readonly cache_creation_input_tokens?: number | null;
  readonly cache_read_input_tokens?: number | null;
  readonly output_tokens?: number | null;
}

const NONE: Tokens = { promptTokens: 0, outputTokens: 0 };

export class TokenCount {
  /** By the call of a subagent, or empty: the message that is being streamed there. */
  readonly #streamed = new Map<string, string>();
  /** By the id of the message: the most that was said of it. */
  readonly #messages = new Map<string, Tokens>();
  #soFar = NONE;

  get soFar(): Tokens {
    return this.#soFar;
  }

  /** Takes in a message, and says whether it has changed the count. */
  heard(message: SDKMessage): boolean {
    if (message.type === "assistant") {
      const { id, usage } = message.message;
      return message.error === undefined && this.#used(id, usage);
    }
    if (message.type !== "stream_event") return false;
    const { event } = message;
    const stream = message.parent_tool_use_id ?? "";
    if (event.type === "message_start") {
      this.#streamed.set(stream, event.message.id);
      return this.#used(event.message.id, event.message.usage);
    }
    if (event.type !== "message_delta") return false;
    return this.#used(this.#streamed.get(stream) ?? "", event.usage);
  }

  /** What is said of a message only grows: its usage is cumulative, and comes more than once. */
  #used(messageId: string, usage: MessageUsage | null | undefined): boolean {
    const before = this.#messages.get(messageId) ?? NONE;
    const now = {
      promptTokens: Math.max(before.promptTokens, promptTokensOf(usage ?? {})),
      outputTokens: Math.max(before.outputTokens, usage?.output_tokens ?? 0),
    };
    const more = {
      promptTokens: now.promptTokens - before.promptTokens,
      outputTokens: now.outputTokens - before.outputTokens,
    };
    if (more.promptTokens === 0 && more.outputTokens === 0) return false;
    this.#messages.set(messageId, now);
    this.#soFar = {
      promptTokens: this.#soFar.promptTokens + more.promptTokens,
      outputTokens: this.#soFar.outputTokens + more.outputTokens,
    };
    return true;
  }
}

function promptTokensOf(usage: MessageUsage): number {
  return promptTokens({
    inputTokens: usage.input_tokens ?? 0,
    cacheReadTokens: usage.cache_read_input_tokens ?? 0,
    cacheWriteTokens: usage.cache_creation_input_tokens ?? 0,
  });
}
