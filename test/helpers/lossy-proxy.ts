/**
 * A way to a service that can lose answers: what is asked arrives and is done, and the connection is
 * cut before whoever asked hears of it.
 *
 * @module
 */

import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

export interface LossyProxy extends AsyncDisposable {
  readonly port: number;
  /** How many of the next ones it loses. */
  answersToLose: number;
}

export async function startLossyProxy(servicePort: number): Promise<LossyProxy> {
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    // A cut connection is what this is for.
    return socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
  };
  const server = createServer((accepted) => {
    const client = keep(accepted);
    const service = keep(connect(servicePort, "127.0.0.1"));
    client.on("data", (bytes) => service.write(bytes)).on("close", () => service.destroy());
    service.on("close", () => client.destroy());
    service.on("data", (bytes) => {
      if (proxy.answersToLose === 0) return void client.write(bytes);
      proxy.answersToLose -= 1;
      client.destroy();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const proxy: LossyProxy = {
    port: address !== null && typeof address === "object" ? address.port : 0,
    answersToLose: 0,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
  return proxy;
}
