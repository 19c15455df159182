/**
 * Asks a server for a turn as any caller does, reads its stream to the end, and notes the time of
 * the first token.
 *
 * @module
 */

import { monotonicMs } from "../../lib/monotonic-clock.ts";

/** What became of a request for a turn. */
export interface AskedTurn {
  readonly turnId: string;
  readonly sessionId: string;
  /** From the request to the first text, thought or call of a tool; null if there was none. */
  readonly firstTokenMs: number | null;
  /** From the request to the end of the stream. */
  readonly durationMs: number;
  /** The status of the turn, or `refused`. */
  readonly status: string;
  /** Why it did not complete, in words; empty if it did. */
  readonly reason: string;
  /** The code of the error, if there was one. */
  readonly code: string | null;
  /** Why the gate refused it; null if it did not. */
  readonly shed: string | null;
  /** How often the model had to be asked again. */
  readonly modelRetries: number;
}

export interface TurnCall {
  readonly url: string;
  readonly agentName: string;
  readonly input: string;
  /** To go on with; a new session without it. */
  readonly sessionId?: string;
  readonly signal: AbortSignal;
}

/** Beginnings of an answer, whatever it is made of. */
const FIRST_TOKENS = new Set(["text_delta", "reasoning_delta", "tool_call_started"]);

interface Frame {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Resolves when there is no more to come. @throws When the connection breaks, or `signal` aborts. */
export async function askTurn(call: TurnCall): Promise<AskedTurn> {
  const { url, agentName, input, sessionId, signal } = call;
  const askedAtMs = monotonicMs();
  const response = await fetch(`${url}/v1/agents/${agentName}/turns`, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream" },
    body: JSON.stringify({ input, ...(sessionId !== undefined && { sessionId }) }),
    signal,
  });
  const heard = { turnId: "", sessionId: "", firstTokenMs: null as number | null, modelRetries: 0 };
  const end = (outcome: Partial<AskedTurn>): AskedTurn => ({
    ...heard,
    durationMs: monotonicMs() - askedAtMs,
    status: "broken",
    reason: "the stream ended before the turn",
    code: null,
    shed: null,
    ...outcome,
  });
  if (response.status !== 200 || response.body === null) {
    return end(refusalOf((await response.json()) as Record<string, unknown>));
  }
  for await (const { event, data } of framesOf(response.body)) {
    if (FIRST_TOKENS.has(event)) heard.firstTokenMs ??= monotonicMs() - askedAtMs;
    else if (event === "turn_started") {
      heard.turnId = textIn(data, "turnId");
      heard.sessionId = textIn(data, "sessionId");
    } else if (event === "notice" && data["name"] === "model_retry") heard.modelRetries += 1;
    else if (event === "turn_ended") return end(outcomeOf(data["outcome"] as Frame["data"]));
  }
  return end({});
}

function refusalOf(problem: Readonly<Record<string, unknown>>): Partial<AskedTurn> {
  const { reason } = problem;
  const shed = typeof reason === "string" ? reason : null;
  const code = textIn(problem, "code");
  return { status: "refused", reason: textIn(problem, "detail"), code, shed };
}

function outcomeOf(outcome: Readonly<Record<string, unknown>>): Partial<AskedTurn> {
  const status = textIn(outcome, "status");
  const code = "code" in outcome ? textIn(outcome, "code") : null;
  return { status, reason: textIn(outcome, "message"), code };
}

function textIn(data: Readonly<Record<string, unknown>>, name: string): string {
  const value = data[name];
  return typeof value === "string" ? value : "";
}

/** The events of a stream in the form that our server writes: one line of data each. */
async function* framesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Frame> {
  let text = "";
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const frame = text.slice(0, end);
      text = text.slice(end + 2);
      const event = /^event: (.*)$/m.exec(frame)?.[1];
      const data = /^data: (.*)$/m.exec(frame)?.[1];
      if (event === undefined || data === undefined) continue;
      yield { event, data: JSON.parse(data) as Frame["data"] };
    }
  }
}
