/**
 * Goal: what became of a turn is told, however its stream comes in pieces, and whatever ends it.
 * Method: a server that answers as ours does, byte by byte where it matters.
 */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { askTurn } from "../../../src/sizing/measure/turn-client.ts";

let close = (): void => {};
afterEach(() => close());

/** @returns Its address. */
async function answering(answer: (response: ServerResponse) => void): Promise<string> {
  const server = createServer((_request, response) => answer(response)).listen(0, "127.0.0.1");
  await once(server, "listening");
  close = () => {
    server.closeAllConnections();
    server.close();
  };
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function frame(event: string, data: object): string {
  return `id: 1-1\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}

const STARTED = frame("turn_started", { turnId: "turn", sessionId: "session" });
const TEXT = frame("text_delta", { delta: "Moin, schöne Grüße 🚢" });
const RETRY = frame("notice", { name: "model_retry", data: {} });
const ENDED = frame("turn_ended", { outcome: { status: "completed" } });

const CALL = { agentName: "hello", input: "Hello", signal: new AbortController().signal };

function streaming(pieces: Iterable<Uint8Array | string>) {
  return (response: ServerResponse) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const piece of pieces) response.write(piece);
    response.end();
  };
}

describe("a turn that is asked for", () => {
  it("is told with its ids and times, also in pieces of one byte", async () => {
    const bytes = Buffer.from(`: ping\n\n${STARTED}${RETRY}${TEXT}${ENDED}`);
    const url = await answering(streaming([...bytes].map((byte) => Uint8Array.of(byte))));
    const answer = await askTurn({ ...CALL, url });
    expect(answer).toMatchObject({
      turnId: "turn",
      sessionId: "session",
      status: "completed",
      shed: null,
      modelRetries: 1,
    });
    expect(answer.firstTokenMs).toBeLessThanOrEqual(answer.durationMs);
  });

  it("has no first token where it said nothing", async () => {
    const url = await answering(streaming([STARTED, ENDED]));
    expect((await askTurn({ ...CALL, url })).firstTokenMs).toBeNull();
  });

  it("is broken where its stream ends before it", async () => {
    const url = await answering(streaming([STARTED, TEXT]));
    expect(await askTurn({ ...CALL, url })).toMatchObject({ status: "broken", turnId: "turn" });
  });

  it("has the code and the words of a failure", async () => {
    const outcome = { status: "failed", code: "model_overloaded", message: "Busy" };
    const url = await answering(streaming([STARTED, frame("turn_ended", { outcome })]));
    expect(await askTurn({ ...CALL, url })).toMatchObject({
      status: "failed",
      code: "model_overloaded",
      reason: "Busy",
    });
  });

  it("is refused with the reason of the gate, or with the code of whatever else", async () => {
    const refusing = (problem: object) => (response: ServerResponse) => {
      response.writeHead(429, { "content-type": "application/problem+json" });
      response.end(JSON.stringify(problem));
    };
    const shed = { code: "at_capacity", reason: "memory", detail: "It does not fit" };
    const full = await answering(refusing(shed));
    expect(await askTurn({ ...CALL, url: full })).toMatchObject({
      status: "refused",
      shed: "memory",
      code: "at_capacity",
      turnId: "",
    });
    close();
    const other = await answering(refusing({ code: "too_many_streams", detail: "Too many" }));
    expect(await askTurn({ ...CALL, url: other })).toMatchObject({
      shed: null,
      reason: "Too many",
    });
  });
});
