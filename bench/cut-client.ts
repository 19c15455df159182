/**
 * Clients whose connection breaks again and again, and that go on where they were: our own events by
 * their ids, and the real client of AG-UI over a connection that does the same for it.
 *
 * @module
 */

import {
  HttpAgent,
  type Message,
  type RunAgentInput,
  runHttpRequest,
  transformHttpEventStream,
} from "@ag-ui/client";

/** How a connection broke. */
export const FAULTS = ["before the answer", "between two events", "within an event"] as const;
export type Fault = (typeof FAULTS)[number];

export interface Cuts {
  /** Breaks that are left. */
  left: number;
  readonly random: () => number;
  readonly onCut: (fault: Fault) => void;
  /** Told how long a client that came back waited for something new. */
  readonly onResumed: (ms: number) => void;
}

/** Longest wait for an answer that will be cut off before it comes. */
const BEFORE_ANSWER_MS = 400;
/** Frames of one connection, at most. */
const FRAMES_A_CUT = 8;

type Open = (lastId: string | undefined, signal: AbortSignal) => Promise<Response>;

/**
 * The frames of a stream, each whole and once, over as many connections as it takes.
 *
 * @param isEnd Whether a frame is the last one.
 */
export async function* framesOverCuts(
  open: Open,
  isEnd: (frame: string) => boolean,
  cuts: Cuts,
): AsyncGenerator<string, void, undefined> {
  let lastId: string | undefined;
  for (let connection = 0; ; connection += 1) {
    const leave = new AbortController();
    const fault = cuts.left > 0 ? pick(cuts.random) : null;
    if (fault !== null) cuts.left -= 1;
    const askedAtMs = performance.now();
    let isNew = connection > 0;
    try {
      if (fault === "before the answer") {
        setTimeout(() => leave.abort(), cuts.random() * BEFORE_ANSWER_MS);
      }
      const response = await open(lastId, leave.signal);
      if (response.status === 204) return;
      if (!response.ok) throw new Refused(`${response.status}: ${await response.text()}`);
      let left = fault === null ? Infinity : 1 + Math.floor(cuts.random() * FRAMES_A_CUT);
      for await (const frame of framesOf(response)) {
        const id = /^id: (.*)$/m.exec(frame)?.[1];
        // A break within an event: what came of it is of no use to anybody.
        if (fault === "within an event" && left <= 1) break;
        if (id !== undefined) lastId = id;
        if (isNew && id !== undefined) cuts.onResumed(performance.now() - askedAtMs);
        if (id !== undefined) isNew = false;
        yield frame;
        if (isEnd(frame)) return;
        if (id !== undefined && (left -= 1) === 0) break;
      }
    } catch (error) {
      if (error instanceof Refused) throw error;
      if (!leave.signal.aborted) throw error;
    }
    leave.abort();
    if (fault !== null) cuts.onCut(fault);
  }
}

class Refused extends Error {
  override readonly name = "Refused";
}

function pick(random: () => number): Fault {
  return FAULTS[Math.floor(random() * FAULTS.length)] ?? "between two events";
}

/** Comments are frames as well, without an id. */
async function* framesOf(response: Response): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    const frames = text.split("\n\n");
    text = frames.pop() ?? "";
    yield* frames;
  }
}

/** The real client, over a connection that breaks. */
export class CutAgent extends HttpAgent {
  /** A client that has left and come back, by what the protocol calls connecting. */
  protected override connect(input: RunAgentInput): ReturnType<HttpAgent["run"]> {
    const asking = () => fetch(`${this.url}/connect`, this.requestInit(input));
    return transformHttpEventStream(runHttpRequest(asking));
  }
}

const isRunEnd = (frame: string): boolean => /"type":"RUN_(?:FINISHED|ERROR)"/.test(frame);

/** A `fetch` that hides the breaks from the client. */
export function hidingFetch(cuts: Cuts): HttpAgent["fetch"] {
  return (url, init) => {
    const open: Open = (lastId, signal) =>
      fetch(url, {
        ...init,
        headers: {
          ...(init.headers as Record<string, string>),
          ...(lastId !== undefined && { "last-event-id": lastId }),
        },
        signal,
      });
    return Promise.resolve(streamOf(framesOverCuts(open, isRunEnd, cuts)));
  };
}

/** A `fetch` whose answer ends after so many events, as the client sees it. */
export function leavingFetch(events: number, onCut: () => void): HttpAgent["fetch"] {
  return async (url, init) => {
    const leave = new AbortController();
    const response = await fetch(url, { ...init, signal: leave.signal });
    return streamOf(
      first(framesOf(response), events, () => {
        leave.abort();
        onCut();
      }),
    );
  };
}

async function* first(
  frames: AsyncIterable<string>,
  count: number,
  onCut: () => void,
): AsyncGenerator<string, void, undefined> {
  let left = count;
  for await (const frame of frames) {
    if (left === 0) return onCut();
    if (frame.startsWith("id")) left -= 1;
    yield frame;
  }
}

function streamOf(frames: AsyncGenerator<string, void, undefined>): Response {
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { value, done } = await frames.next();
        if (done === true) controller.close();
        else controller.enqueue(encoder.encode(`${value}\n\n`));
      } catch (error) {
        controller.error(error);
      }
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

/** What a person sees of messages, whatever their ids are: those are new with every run. */
export function shownOf(messages: readonly Message[]): string {
  const names = new Map<string, number>();
  const nameOf = (id: string): number => names.get(id) ?? names.set(id, names.size).size - 1;
  const shown = messages.map((message) => {
    const calls = message.role === "assistant" ? (message.toolCalls ?? []) : [];
    return {
      id: nameOf(message.id),
      role: message.role,
      content: message.content ?? "",
      calls: calls.map(({ id, function: call }) => ({ id: nameOf(id), ...call })),
      of: message.role === "tool" ? nameOf(message.toolCallId) : null,
    };
  });
  return JSON.stringify(shown);
}
