/**
 * The stores that replicas can share sessions by, each real and of the benchmark's own, but for S3:
 * there is none to install, so it is the one of our tests, in a process of its own.
 *
 * @module
 */

import { fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { hasPostgres, startPostgres } from "../test/helpers/postgres-server.ts";
import { hasRedis, startRedis } from "../test/helpers/redis-server.ts";
import { S3_KEYS } from "../test/helpers/s3-server.ts";
import type { Service } from "../test/helpers/service.ts";
import { Unavailable } from "./result.ts";

export const STORE_NAMES = ["redis", "postgres", "s3"] as const;
export type StoreName = (typeof STORE_NAMES)[number];

export interface SessionStore extends AsyncDisposable {
  readonly name: StoreName;
  readonly url: string;
  /** What makes a server use it. */
  readonly environment: Readonly<Record<string, string>>;
  /** Ends it as a crash does, and starts it again on the same data after so long. */
  restart(awayMs: number): Promise<void>;
}

export function hasStore(name: StoreName): boolean {
  if (name === "redis") return hasRedis();
  return name === "postgres" ? hasPostgres() : true;
}

/** @throws {Unavailable} When its program is not installed. */
export async function startStore(name: StoreName): Promise<SessionStore> {
  if (!hasStore(name)) throw new Unavailable(`${name} is not installed`);
  if (name === "s3") return startS3Process();
  if (name === "redis") {
    const server = await startRedis();
    return storeOf(name, server.url, server);
  }
  const server = await startPostgres();
  return storeOf(name, `${server.url}/postgres`, server);
}

type Restartable = Pick<Service, "kill" | "restart"> & AsyncDisposable;

function storeOf(
  name: StoreName,
  url: string,
  server: Restartable,
  environment: Readonly<Record<string, string>> = {},
): SessionStore {
  return {
    name,
    url,
    environment: { PLIMSOLL_SESSIONS_STORE: url, ...environment },
    async restart(awayMs) {
      await server.kill();
      await delay(awayMs);
      await server.restart();
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

const S3_PROCESS = fileURLToPath(new URL("s3-process.ts", import.meta.url));

/** Its objects are in memory, so that a crash of it is that of all its connections. */
async function startS3Process(): Promise<SessionStore> {
  const child = fork(S3_PROCESS, { execArgv: ["--import", "jiti/register"] });
  const [endpoint] = (await once(child, "message")) as [string];
  const tell = async (word: string): Promise<void> => {
    const done = once(child, "message");
    child.send(word);
    await done;
  };
  const url = `s3://sessions/here?region=eu-central-1&endpoint=${encodeURIComponent(endpoint)}&pathStyle=true`;
  const server = {
    kill: () => tell("stop"),
    restart: () => tell("restart"),
    async [Symbol.asyncDispose]() {
      const exit = once(child, "exit");
      child.disconnect();
      await exit;
    },
  };
  return storeOf("s3", url, server, {
    AWS_ACCESS_KEY_ID: S3_KEYS.accessKeyId,
    AWS_SECRET_ACCESS_KEY: S3_KEYS.secretAccessKey,
  });
}
