/**
 * A Redis of a test's own, with a password, which keeps what it has said to have.
 *
 * @module
 */

import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import {
  type Certificate,
  endProgram,
  freePort,
  hasService,
  type Service,
  startProgram,
} from "./service.ts";

const REDIS_PASSWORD = "p@ss/w:rd";

export interface RedisServer extends Service {
  /** With the password, and without a database. */
  readonly url: string;
}

export function hasRedis(): boolean {
  return hasService("redis-server", "redis-server (Debian: apt-get install redis-server)");
}

export interface RedisServerOptions {
  /** Further arguments, e.g. `--maxmemory-policy`, `allkeys-lru`. */
  readonly args?: readonly string[];
  /** Files of a certificate; TLS is then all that it speaks. */
  readonly tls?: Certificate;
}

export async function startRedis({
  args = [],
  tls,
}: RedisServerOptions = {}): Promise<RedisServer> {
  const directory = await mkdtemp(join(tmpdir(), "plimsoll-redis-"));
  const port = await freePort();
  const ports = tls === undefined ? ["--port", `${port}`] : tlsArgs(port, tls);
  const program = {
    command: "redis-server",
    args: [
      ...ports,
      ..."--bind 127.0.0.1 --appendonly yes --dir".split(" "),
      directory,
      "--requirepass",
      REDIS_PASSWORD,
      "--save",
      "",
      ...args,
    ],
    cwd: directory,
    readyText: "Ready to accept connections",
  };
  let child: ChildProcess = await startProgram(program);
  const end = (signal: NodeJS.Signals) => endProgram(child, signal);
  const scheme = tls === undefined ? "redis" : "rediss";
  return {
    port,
    url: `${scheme}://:${encodeURIComponent(REDIS_PASSWORD)}@127.0.0.1:${port}`,
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
    freeze: (isFrozen) => void child.kill(isFrozen ? "SIGSTOP" : "SIGCONT"),
    async restart() {
      child = await startProgram(program);
    },
    async [Symbol.asyncDispose]() {
      await end("SIGKILL");
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function tlsArgs(port: number, tls: Certificate): string[] {
  const files = ["--tls-cert-file", tls.certificate, "--tls-key-file", tls.key];
  return ["--port", "0", "--tls-port", `${port}`, ...files, "--tls-auth-clients", "no"];
}
