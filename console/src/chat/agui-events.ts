/**
 * The events of AG-UI 1.0 as far as this page reads them. Others, and other keys, are passed over.
 *
 * @module
 */

export type AguiEvent =
  | {
      readonly type: "RUN_STARTED";
      readonly threadId: string;
      readonly runId: string;
      readonly metadata?: { readonly turnId?: string; readonly sessionId?: string };
    }
  | { readonly type: "MESSAGES_SNAPSHOT"; readonly messages: readonly AguiMessage[] }
  | { readonly type: "TEXT_MESSAGE_START" | "TEXT_MESSAGE_END"; readonly messageId: string }
  | { readonly type: "TEXT_MESSAGE_CONTENT"; readonly messageId: string; readonly delta: string }
  | {
      readonly type: "REASONING_MESSAGE_START" | "REASONING_MESSAGE_END";
      readonly messageId: string;
    }
  | {
      readonly type: "REASONING_MESSAGE_CONTENT";
      readonly messageId: string;
      readonly delta: string;
    }
  | {
      readonly type: "TOOL_CALL_START";
      readonly toolCallId: string;
      readonly toolCallName: string;
      readonly metadata?: { readonly serverName?: string };
    }
  | { readonly type: "TOOL_CALL_ARGS"; readonly toolCallId: string; readonly delta: string }
  | { readonly type: "TOOL_CALL_END"; readonly toolCallId: string }
  | {
      readonly type: "TOOL_CALL_RESULT";
      readonly toolCallId: string;
      readonly content: string;
      readonly metadata?: { readonly isError?: boolean };
    }
  | { readonly type: "CUSTOM"; readonly name: string; readonly value: unknown }
  | RunFinished
  | RunError;

export interface RunFinished {
  readonly type: "RUN_FINISHED";
  readonly runId: string;
  readonly outcome?: { readonly type: string };
  /** Of an agent whose answers have a form. */
  readonly result?: unknown;
  readonly usage?: readonly AguiUsage[];
  readonly metadata?: EndFigures & { readonly cause?: string; readonly stopReason?: string };
}

export interface RunError {
  readonly type: "RUN_ERROR";
  readonly message: string;
  readonly code?: string;
  readonly usage?: readonly AguiUsage[];
  readonly metadata?: EndFigures & { readonly remedy?: string };
}

export interface AguiUsage {
  readonly inputTokens?: number;
  readonly outputTokens?: number;
}

export interface EndFigures {
  readonly costUsd?: number;
  readonly steps?: number;
  readonly durationMs?: number;
  readonly firstTokenMs?: number | null;
}

export type AguiMessage =
  | { readonly id: string; readonly role: "user"; readonly content: string }
  | {
      readonly id: string;
      readonly role: "assistant";
      readonly content?: string;
      readonly toolCalls?: readonly {
        readonly id: string;
        readonly function: { readonly name: string; readonly arguments: string };
      }[];
    }
  | {
      readonly id: string;
      readonly role: "tool";
      readonly toolCallId: string;
      readonly content: string;
    }
  | { readonly id: string; readonly role: "reasoning"; readonly content: string };

/** An event with the id of its frame, by which a stream that broke goes on. */
export interface NumberedAguiEvent {
  readonly id: string | null;
  readonly event: AguiEvent;
}
