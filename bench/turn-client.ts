/**
 * A client of the server's event stream that notes when each piece of text arrives, and how the
 * turn ended.
 *
 * @module
 */

import { Agent, request, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import { createParser } from "eventsource-parser";

export interface TurnCall {
  readonly url: string;
  readonly agentName: string;
  readonly input: string;
  /** Who asks, where a server has keys. */
  readonly key?: string;
  /** The session to go on with; a new one without it. */
  readonly threadId?: string;
  /** Called with the ids of the turn and of its session when it is admitted. */
  readonly onStart?: (turnId: string, sessionId: string) => void;
  /** Called with the time of each piece of text. */
  readonly onText?: (atMs: number) => void;
  /** Leaves without a word when it aborts. */
  readonly signal?: AbortSignal;
}

/** What became of a request for a turn. All times are of the clock of `performance.now()`. */
export interface TurnAnswer {
  readonly askedAtMs: number;
  /** HTTP status; 0 when the connection broke before one. */
  readonly status: number;
  /** Of the response; empty when the connection broke before one. */
  readonly headers: IncomingHttpHeaders;
  /** Why the gate refused it; null if it did not. */
  readonly shed: string | null;
  readonly turnId: string;
  readonly startedAtMs: number | null;
  readonly textAtMs: readonly number[];
  /** What it said, as far as it came. */
  readonly text: string;
  readonly toolResults: readonly ToolResult[];
  readonly endedAtMs: number;
  /** Of the turn, or `failed: <code>`, `shed`, `broken` (no end came), `left` (we did). */
  readonly outcome: string;
}

export interface ToolResult {
  readonly content: string;
  readonly isError: boolean;
}

export interface TimedTurn {
  readonly turnId: string;
  /** From the sending of the request to the first text. */
  readonly firstTextMs: number;
  readonly textAtMs: readonly number[];
  readonly status: string;
}

/** Keeps its connections, as a client in production does. */
export const connections = new Agent({ keepAlive: true });

/**
 * Runs a turn that is expected to be admitted; resolves when its stream has ended.
 *
 * @throws {Error} When it was refused, or the connection broke.
 */
export async function timeTurn(call: TurnCall): Promise<TimedTurn> {
  const { askedAtMs, status, outcome, turnId, textAtMs } = await askTurn(call);
  if (status !== 200) throw new Error(`the turn was answered with ${status}`);
  const firstTextMs = (textAtMs[0] ?? Number.NaN) - askedAtMs;
  return { turnId, firstTextMs, textAtMs, status: outcome };
}

/** Asks for a turn; resolves when there is no more to come. Never rejects. */
export async function askTurn(call: TurnCall): Promise<TurnAnswer> {
  const heard: Heard = {
    turnId: "",
    startedAtMs: null,
    textAtMs: [],
    text: "",
    toolResults: [],
    end: null,
  };
  const askedAtMs = performance.now();
  let headers: IncomingHttpHeaders = {};
  const answer = (status: number, outcome: string, shed: string | null = null): TurnAnswer => {
    const { end: _end, ...rest } = heard;
    return { askedAtMs, endedAtMs: performance.now(), status, headers, shed, outcome, ...rest };
  };
  const broken = () => (call.signal?.aborted === true ? "left" : "broken");
  try {
    const response = await send(call);
    const status = response.statusCode ?? 0;
    ({ headers } = response);
    if (status !== 200) {
      const { reason, code } = JSON.parse(await textOf(response)) as ProblemPart;
      return answer(status, reason === undefined ? `refused: ${code}` : "shed", reason ?? null);
    }
    await listen(response, heard, call).catch(() => {});
    return answer(status, heard.end ?? broken());
  } catch {
    return answer(0, broken());
  }
}

interface ProblemPart {
  readonly code: string;
  readonly reason?: string;
}

interface Heard {
  turnId: string;
  startedAtMs: number | null;
  readonly textAtMs: number[];
  text: string;
  readonly toolResults: ToolResult[];
  end: string | null;
}

function send({
  url,
  agentName,
  input,
  threadId,
  key,
  signal,
}: TurnCall): Promise<IncomingMessage> {
  const body = JSON.stringify({ input, ...(threadId !== undefined && { threadId }) });
  return new Promise((resolve, reject) => {
    const sending = request(`${url}/v1/agents/${agentName}/turns`, {
      method: "POST",
      agent: connections,
      headers: {
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
        accept: "text/event-stream",
        ...(key !== undefined && { authorization: `Bearer ${key}` }),
      },
      ...(signal !== undefined && { signal }),
    });
    sending.on("error", reject);
    sending.once("response", resolve);
    sending.end(body);
  });
}

async function textOf(response: IncomingMessage): Promise<string> {
  response.setEncoding("utf8");
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return text;
}

async function listen(response: IncomingMessage, heard: Heard, call: TurnCall): Promise<void> {
  const parser = createParser({
    onEvent({ event, data }) {
      if (event === "text_delta") {
        const atMs = performance.now();
        heard.textAtMs.push(atMs);
        heard.text += (JSON.parse(data) as { delta: string }).delta;
        call.onText?.(atMs);
      } else if (event === "turn_started") {
        heard.startedAtMs = performance.now();
        const { turnId, sessionId } = JSON.parse(data) as { turnId: string; sessionId: string };
        heard.turnId = turnId;
        call.onStart?.(turnId, sessionId);
      } else if (event === "tool_result") {
        const { content, isError } = JSON.parse(data) as ToolResult;
        heard.toolResults.push({ content: content.slice(0, 200), isError });
      } else if (event === "turn_ended") {
        const { outcome } = JSON.parse(data) as { outcome: { status: string; code?: string } };
        const { status, code } = outcome;
        heard.end = code === undefined ? status : `${status}: ${code}`;
      }
    },
  });
  response.setEncoding("utf8");
  for await (const chunk of response) parser.feed(String(chunk));
}
