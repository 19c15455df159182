/**
 * A model that answers with far more than a process can hold, since no scripted one does.
 *
 * @module
 */

import { once } from "node:events";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";

const MIB = 2 ** 20;

export interface FloodingModel extends AsyncDisposable {
  readonly url: string;
  readonly asked: readonly string[];
}

/** Answers whoever says "Flood" last with far more than a process can hold. */
export async function floodingModel(): Promise<FloodingModel> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      if (!request.url?.startsWith("/v1/messages?")) {
        response.writeHead(404).end("{}");
        return undefined;
      }
      asked.push(body);
      const { messages } = JSON.parse(body) as { readonly messages: readonly unknown[] };
      const isFlood = JSON.stringify(messages.at(-1)).includes("Flood");
      response.writeHead(200, { "content-type": "text/event-stream" });
      // The flood ends with a broken pipe.
      return pipeline(answer(isFlood ? 600 : 0), response).catch(() => {});
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

function* answer(floodMib: number): Generator<string> {
  const event = (type: string, data: object): string =>
    `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;
  const usage = { input_tokens: 1, output_tokens: 1 };
  const message = { id: "msg_1", type: "message", role: "assistant", model: "m", content: [] };
  yield event("message_start", {
    message: { ...message, stop_reason: null, stop_sequence: null, usage },
  });
  yield event("content_block_start", { index: 0, content_block: { type: "text", text: "" } });
  const delta = (said: string) =>
    event("content_block_delta", { index: 0, delta: { type: "text_delta", text: said } });
  const flood = delta("x".repeat(MIB));
  for (let sent = 0; sent < floodMib; sent += 1) yield flood;
  yield delta("Short.");
  yield event("content_block_stop", { index: 0 });
  yield event("message_delta", { delta: { stop_reason: "end_turn", stop_sequence: null }, usage });
  yield event("message_stop", {});
}
