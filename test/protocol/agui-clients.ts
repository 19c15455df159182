/**
 * The two official AG-UI clients as judges of what we send: 1.0, and 0.0.59, which CopilotKit pins.
 *
 * @module
 */

import * as client1 from "@ag-ui/client";
import * as client0059 from "agui-client-0-0-59";

/** What the client under test is asked to send, in both versions. */
export interface ClientRun {
  readonly events: readonly { readonly type: string }[];
  /** Of `onRunFailed` or of the run itself. */
  readonly failure: string | undefined;
  readonly messages: readonly { readonly role: string; readonly content?: unknown }[];
}

/** Told of each event when the client has taken it. */
type WatchEvent = (type: string) => void;

interface Observable<Value> {
  subscribe(observer: {
    next: (value: Value) => void;
    error: (error: unknown) => void;
    complete: () => void;
  }): unknown;
}

function toArray<Value>(observable: Observable<Value>): Promise<Value[]> {
  const values: Value[] = [];
  return new Promise((resolve, reject) => {
    observable.subscribe({
      next: (value) => values.push(value),
      error: reject,
      complete: () => resolve(values),
    });
  });
}

/** Each reads an answer with everything its client checks, and fails where the client would. */
export const READERS = {
  "1.0": (response: Response) =>
    toArray<{ type: string }>(
      client1
        .transformHttpEventStream(client1.runHttpRequest(() => Promise.resolve(response)))
        .pipe(client1.enforceEvents(), client1.transformChunks(), client1.verifyEvents()),
    ),
  "0.0.59": (response: Response) =>
    toArray<{ type: string }>(
      client0059
        .transformHttpEventStream(client0059.runHttpRequest(() => Promise.resolve(response)))
        .pipe(client0059.transformChunks(false), client0059.verifyEvents(false)),
    ),
} as const;

/** Each asks as its whole client does, over HTTP. */
export const AGENTS = {
  "1.0": (url: string, threadId: string, watch?: WatchEvent) =>
    runAgent(new client1.HttpAgent({ url, threadId }), watch),
  "0.0.59": (url: string, threadId: string, watch?: WatchEvent) =>
    runAgent(new client0059.HttpAgent({ url, threadId }), watch),
} as const;

async function runAgent(
  agent: client1.HttpAgent | client0059.HttpAgent,
  watch?: WatchEvent,
): Promise<ClientRun> {
  const events: { type: string }[] = [];
  let failure: string | undefined;
  const subscriber = {
    onEvent: ({ event }: { event: { type: string } }) => {
      events.push(event);
      watch?.(event.type);
    },
    onRunErrorEvent: ({ event }: { event: { code?: string | undefined } }) => {
      failure = event.code;
    },
    onRunFailed: ({ error }: { error: Error }) => {
      failure ??= error.message;
    },
  };
  agent.addMessage({ id: "u1", role: "user", content: "Hi" });
  try {
    await agent.runAgent({}, subscriber);
  } catch (thrown) {
    failure ??= String(thrown);
  }
  return { events, failure, messages: agent.messages };
}
