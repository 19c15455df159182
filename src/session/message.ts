/**
 * What was said in a session, as it is shown: over HTTP, in a terminal and in the console. Pure types.
 *
 * @module
 */

export type MessagePart =
  | { readonly type: "text"; readonly text: string; readonly isCut?: true }
  | { readonly type: "reasoning"; readonly text: string; readonly isCut?: true }
  | { readonly type: "image" | "document"; readonly mediaType: string }
  | {
      readonly type: "tool_call";
      readonly toolCallId: string;
      /** The tool as the agent file names it, without the `mcp__server__` prefix. */
      readonly toolName: string;
      readonly serverName?: string;
      /** Null when it was too large to show. */
      readonly input: unknown;
      readonly isCut?: true;
    }
  | {
      readonly type: "tool_result";
      readonly toolCallId: string;
      readonly content: string;
      readonly isError: boolean;
      readonly isCut?: true;
    };

export interface SessionMessage {
  /** The model provider's id for what the assistant said, so the same as in the turn's events. */
  readonly id: string;
  readonly role: "user" | "assistant";
  readonly atMs: number | null;
  readonly parts: readonly MessagePart[];
}
