/**
 * A client of the server's event stream that notes when each piece of text arrives.
 *
 * @module
 */

import { Agent, request } from "node:http";
import { createParser } from "eventsource-parser";

export interface TimedTurn {
  readonly turnId: string;
  /** From the sending of the request to the first text. */
  readonly firstTextMs: number;
  /** When each piece of text arrived, on the clock of `performance.now()`. */
  readonly textAtMs: readonly number[];
  readonly status: string;
}

/** Keeps its connections, as a client in production does. */
export const connections = new Agent({ keepAlive: true });

export interface TurnCall {
  readonly url: string;
  readonly agentName: string;
  readonly input: string;
  /** Called with the turn's id when it is admitted. */
  readonly onStart?: (turnId: string) => void;
  /** Called with the time of each piece of text. */
  readonly onText?: (atMs: number) => void;
}

/** Runs a turn; resolves when its stream has ended. */
export async function timeTurn(call: TurnCall): Promise<TimedTurn> {
  const body = JSON.stringify({ input: call.input });
  const textAtMs: number[] = [];
  let turnId = "";
  let status = "without end";
  const sentAtMs = performance.now();
  await new Promise<void>((resolve, reject) => {
    const sending = request(`${call.url}/v1/agents/${call.agentName}/turns`, {
      method: "POST",
      agent: connections,
      headers: {
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
        accept: "text/event-stream",
      },
    });
    sending.once("error", reject);
    sending.once("response", (response) => {
      if (response.statusCode !== 200) {
        response.resume();
        reject(new Error(`the turn was answered with ${response.statusCode}`));
        return;
      }
      const parser = createParser({
        onEvent({ event, data }) {
          if (event === "text_delta") {
            const atMs = performance.now();
            textAtMs.push(atMs);
            call.onText?.(atMs);
          } else if (event === "turn_started") {
            turnId = (JSON.parse(data) as { turnId: string }).turnId;
            call.onStart?.(turnId);
          } else if (event === "turn_ended") {
            status = (JSON.parse(data) as { outcome: { status: string } }).outcome.status;
          }
        },
      });
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => parser.feed(chunk));
      response.once("end", resolve);
      response.once("error", reject);
    });
    sending.end(body);
  });
  return { turnId, firstTextMs: (textAtMs[0] ?? Number.NaN) - sentAtMs, textAtMs, status };
}
