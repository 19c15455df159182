/**
 * HTTP by hand: bytes on a socket and what comes back, for requests that no client would send.
 *
 * @module
 */

import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { LIVENESS_LIMIT_MS } from "../helpers/leaks.ts";

export interface RawAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** A connection that keeps all it receives. */
export class RawConnection implements Disposable {
  readonly socket: Socket;
  received = "";
  /** Resolves when the server has ended or reset the connection. */
  readonly closed: Promise<void>;
  isReset = false;

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    this.socket.setEncoding("latin1");
    this.socket.on("data", (text: string) => (this.received += text));
    this.socket.on("error", () => (this.isReset = true));
    this.closed = new Promise((resolve) => {
      this.socket.once("end", resolve).once("close", () => resolve());
    });
  }

  /** Resolves when the bytes have been handed over, or the connection is broken. */
  async send(bytes: string | Uint8Array): Promise<void> {
    if (this.socket.destroyed) return;
    if (this.socket.write(bytes)) return;
    await Promise.race([once(this.socket, "drain").catch(() => undefined), this.closed]);
  }

  /** Waits until `count` whole answers are there. */
  async answers(count = 1, timeoutMs = LIVENESS_LIMIT_MS): Promise<RawAnswer[]> {
    const deadline = Date.now() + timeoutMs;
    while (Date.now() < deadline) {
      const answers = parseAnswers(this.received);
      if (answers.length >= count) return answers;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw new Error(
      `No ${count} answers within ${timeoutMs} ms; got: ${this.received.slice(0, 500)}`,
    );
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

/** Sends the bytes on a connection of their own and returns the first answer. */
export async function rawRequest(url: string, bytes: string | Uint8Array): Promise<RawAnswer> {
  using connection = new RawConnection(url);
  await connection.send(bytes);
  const [answer] = await connection.answers();
  if (answer === undefined) throw new Error("There is no answer");
  return answer;
}

/** All whole answers in the text; interim ones (1xx) are passed over. */
export function parseAnswers(text: string): RawAnswer[] {
  const answers: RawAnswer[] = [];
  let rest = text;
  while (rest !== "") {
    const end = rest.indexOf("\r\n\r\n");
    if (end < 0) break;
    const [statusLine = "", ...lines] = rest.slice(0, end).split("\r\n");
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(`${statusLine} `)?.[1]);
    if (Number.isNaN(status)) throw new Error(`Not an answer: ${rest.slice(0, 200)}`);
    const headers = Object.fromEntries(
      lines.map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    rest = rest.slice(end + 4);
    if (status < 200) continue;
    const read = readBody(rest, status, headers);
    if (read === null) break;
    answers.push({ status, headers, body: Buffer.from(read.body, "latin1").toString("utf8") });
    rest = read.rest;
  }
  return answers;
}

function readBody(
  text: string,
  status: number,
  headers: Readonly<Record<string, string>>,
): { body: string; rest: string } | null {
  if (status === 204) return { body: "", rest: text };
  if (headers["transfer-encoding"] === "chunked") return readChunks(text);
  const length = Number(headers["content-length"] ?? 0);
  if (text.length < length) return null;
  return { body: text.slice(0, length), rest: text.slice(length) };
}

function readChunks(text: string): { body: string; rest: string } | null {
  let body = "";
  let rest = text;
  while (true) {
    const line = rest.indexOf("\r\n");
    if (line < 0) return null;
    const size = Number.parseInt(rest.slice(0, line), 16);
    if (rest.length < line + 4 + size) return null;
    body += rest.slice(line + 2, line + 2 + size);
    rest = rest.slice(line + 4 + size);
    if (size === 0) return { body, rest };
  }
}
