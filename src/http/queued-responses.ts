/**
 * Responses that wait behind others of their connection, to requests that were sent without waiting
 * for an answer (pipelining). Node tells a response that its connection is closed only once its turn
 * has come: whoever listens for `close` would wait for ever. So these are told here.
 *
 * @module
 */

import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";

export class QueuedResponses {
  readonly #queued = new WeakMap<Socket, Set<ServerResponse>>();

  /** To be told of every request. */
  track(response: ServerResponse): void {
    if (response.socket !== null) return;
    const { socket } = response.req;
    const queued = this.#queued.get(socket) ?? this.#watch(socket);
    queued.add(response);
    response.once("socket", () => queued.delete(response));
  }

  #watch(socket: Socket): Set<ServerResponse> {
    const queued = new Set<ServerResponse>();
    this.#queued.set(socket, queued);
    // Each of its requests may listen to it: many of them are no leak.
    socket.setMaxListeners(0);
    socket.once("close", () => {
      for (const response of queued) {
        // As Node does it for the one whose turn it is.
        response.destroyed = true;
        response.emit("close");
      }
    });
    return queued;
  }
}
