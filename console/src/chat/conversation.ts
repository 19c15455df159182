/**
 * A conversation as it is shown: what was said, thought and called in it, one after the other, and
 * how each run of it ended. Made of events by `reduce-events.ts`, and of a stored session by
 * `sessions/transcript.ts`. Plain data, never changed in place.
 *
 * @module
 */

export type Item = UserItem | TextItem | ReasoningItem | ToolItem | NoticeItem | EndItem;

export interface UserItem {
  readonly kind: "user";
  readonly id: string;
  readonly text: string;
  readonly files: readonly ShownFile[];
  readonly at: string | null;
}

/** A file of which there may be no more than its type: a session keeps no names. */
export interface ShownFile {
  readonly mediaType: string;
  readonly name: string | null;
  readonly base64: string | null;
}

/** Of what a stored session is too long to be shown whole; live it never is. */
interface Cuttable {
  readonly isCut?: true;
}

export interface TextItem extends Cuttable {
  readonly kind: "text";
  readonly id: string;
  readonly text: string;
  /** More of it may come. */
  readonly isOpen: boolean;
}

export interface ReasoningItem extends Cuttable {
  readonly kind: "reasoning";
  readonly id: string;
  readonly text: string;
  readonly isOpen: boolean;
}

/** Cut is one without its input. */
export interface ToolItem extends Cuttable {
  readonly kind: "tool";
  readonly id: string;
  readonly name: string;
  readonly server: string | null;
  /** JSON text, which is not whole while it is open. */
  readonly input: string;
  readonly isOpen: boolean;
  readonly result: ToolResult | null;
}

export interface ToolResult extends Cuttable {
  readonly content: string;
  readonly isError: boolean;
}

export interface NoticeItem {
  readonly kind: "notice";
  readonly id: string;
  /** As in the event `notice` of a turn, e.g. `model_retry`. */
  readonly name: string;
  readonly data: unknown;
}

export interface EndItem {
  readonly kind: "end";
  readonly id: string;
  readonly turnId: string | null;
  readonly ending: Ending;
  readonly usage: RunUsage | null;
}

export type Ending =
  | {
      readonly is: "completed";
      /** In the model's words; null where it is not told. */
      readonly stopReason: string | null;
      /** The answer of an agent whose answers have a form, as JSON; null for others. */
      readonly result: string | null;
    }
  | { readonly is: "cancelled"; readonly cause: string | null }
  | {
      readonly is: "failed";
      readonly code: string;
      readonly message: string;
      readonly remedy: string | null;
    };

export interface RunUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly costUsd: number | null;
  readonly steps: number | null;
  readonly durationMs: number | null;
  readonly firstTokenMs: number | null;
}

/** The run that the events are of. */
export interface Run {
  readonly runId: string;
  /** Null for a run in which nothing happens but that what is stored is sent. */
  readonly turnId: string | null;
  readonly sessionId: string | null;
  readonly isEnded: boolean;
}

export interface Conversation {
  readonly items: readonly Item[];
  /** Null before the first. */
  readonly run: Run | null;
}

export const NOTHING_SAID: Conversation = { items: [], run: null };

/** Of one conversation; the oldest go, which the view of its session still has. */
export const MOST_ITEMS = 2_000;

/** Puts an item in the place of the one with its id and kind, or behind all others. */
export function withItem({ items, run }: Conversation, item: Item): Conversation {
  const index = placeOf(items, item.kind, item.id);
  return { run, items: index < 0 ? [...items, item].slice(-MOST_ITEMS) : items.with(index, item) };
}

/** From the end, where things happen; -1 for none. */
export function placeOf(items: readonly Item[], kind: Item["kind"], id: string): number {
  return items.findLastIndex((item) => item.kind === kind && item.id === id);
}
