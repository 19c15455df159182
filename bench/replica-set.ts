/**
 * Several replicas that share their sessions by a store, behind a load balancer, each with a data
 * directory of its own; any of them can be killed and started again on what it has left.
 *
 * @module
 */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../test/helpers/service.ts";
import { startLoadBalancer } from "./nginx.ts";
import { startServer, type RunningServer } from "./processes.ts";

export interface ReplicaSet extends AsyncDisposable {
  /** Of the load balancer. */
  readonly url: string;
  /** The replica at an address as the load balancer names it; -1 if there is none. */
  indexOf(address: string): number;
  /** SIGKILL, and a start on the same data at once; resolves when it is ready. */
  kill(index: number): Promise<void>;
  /** The same with SIGTERM, as a rolling deploy does it. */
  drain(index: number): Promise<void>;
  /** Turns that wait on a disk for the store to hear of them. */
  waiting(): number;
  /** How often the logs of all runs so far have each of these messages. */
  count<Name extends string>(messages: Readonly<Record<Name, string>>): Record<Name, number>;
}

export interface ReplicaSetOptions {
  readonly directory: string;
  readonly count: number;
  readonly agentFile: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly args: readonly string[];
}

const POLL_MS = 5;

export async function startReplicaSet(options: ReplicaSetOptions): Promise<ReplicaSet> {
  const { directory, count, agentFile, environment, args } = options;
  const indexes = Array.from({ length: count }, (_, index) => index);
  const dataOf = (index: number) => join(directory, `${index}`);
  const logOf = (index: number) => join(directory, `${index}.log`);
  const ports: number[] = [];
  for (const _ of indexes) ports.push(await freePort());
  const servers: RunningServer[] = [];
  const balancer = await startLoadBalancer(join(directory, "nginx"), ports);
  const end = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
    await balancer[Symbol.asyncDispose]();
  };
  const start = (index: number): Promise<RunningServer> =>
    startServer({
      agentFile,
      dataDirectory: dataOf(index),
      environment,
      args,
      logFile: logOf(index),
      ...(ports[index] !== undefined && { port: ports[index] }),
    });
  try {
    for (const index of indexes) servers.push(await start(index));
  } catch (thrown) {
    await end();
    throw thrown;
  }
  const renew = async (index: number, signal: "SIGKILL" | "SIGTERM"): Promise<void> => {
    const server = servers[index];
    if (server === undefined || server.exit() !== null) throw new Error("the replica is gone");
    process.kill(server.pid, signal);
    while (server.exit() === null) await delay(POLL_MS);
    servers[index] = await start(index);
  };
  return {
    url: balancer.url,
    indexOf: (address) => ports.findIndex((port) => address.endsWith(`:${port}`)),
    kill: (index) => renew(index, "SIGKILL"),
    drain: (index) => renew(index, "SIGTERM"),
    waiting: () => indexes.reduce((sum, index) => sum + lettersIn(dataOf(index)), 0),
    count: (messages) => countIn(indexes.map(logOf), messages),
    [Symbol.asyncDispose]: end,
  };
}

function lettersIn(dataDirectory: string): number {
  const outbox = join(dataDirectory, "outbox");
  return existsSync(outbox) ? readdirSync(outbox).length : 0;
}

export function countIn<Name extends string>(
  logFiles: readonly string[],
  messages: Readonly<Record<Name, string>>,
): Record<Name, number> {
  const text = logFiles.map((file) => readFileSync(file, "utf8")).join("");
  const entries = Object.entries<string>(messages).map(
    ([name, message]) => [name, text.split(`"msg":${JSON.stringify(message)}`).length - 1] as const,
  );
  return Object.fromEntries(entries) as Record<Name, number>;
}
