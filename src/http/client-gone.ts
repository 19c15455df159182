/**
 * Whether somebody still waits for the answer of a turn.
 *
 * A client that has left and one that has only ended its side of the connection look the same: both
 * send a FIN. Only an answer to something we send tells them apart, because the system of a client
 * that has left resets the connection. So after a FIN we send what every reader skips, until the
 * connection is reset or the answer is complete.
 *
 * @module
 */

import type { FastifyReply } from "fastify";

const PROBE_INTERVAL_MS = 500;

/**
 * Aborts when the client is gone before the response is complete.
 *
 * @param comment What readers of the body skip; null if there is nothing like that, and then a FIN
 *   counts as leaving once the response has begun.
 */
export function clientGone({ raw }: FastifyReply, comment: string | null): AbortSignal {
  const controller = new AbortController();
  const { socket } = raw.req;
  let timer: NodeJS.Timeout | undefined;
  const probe = () => {
    // While it waits behind others of its connection, what it writes would only pile up.
    if (raw.writableEnded || raw.socket === null) return;
    if (!raw.headersSent && raw.req.httpVersion === "1.1") raw.writeProcessing();
    else if (raw.headersSent && comment !== null) raw.write(comment);
    else controller.abort();
  };
  const onEnd = () => {
    probe();
    timer = setInterval(probe, PROBE_INTERVAL_MS);
  };
  raw.once("close", () => {
    clearInterval(timer);
    socket.off("end", onEnd);
    if (!raw.writableFinished) controller.abort();
  });
  if (raw.destroyed || socket.destroyed) controller.abort();
  else if (socket.readableEnded) onEnd();
  else socket.once("end", onEnd);
  return controller.signal;
}
