/**
 * A load balancer of the benchmark's own: nginx on a loopback port, with all its files in one
 * directory, that sends each request to a server drawn by lot, or as it is told.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../test/helpers/service.ts";
import { exitOf, spawnProgram, stop } from "./processes.ts";
import { Unavailable } from "./result.ts";

/** Says which server answered, as `127.0.0.1:port`; of several that were tried, all of them. */
export const SERVED_BY = "x-served-by";

/** How nginx is told of it, by our names. */
const DIRECTIVES = { random: "random;", "round-robin": "", "least-requests": "least_conn;" };
export type Balancing = keyof typeof DIRECTIVES;

export interface LoadBalancer extends AsyncDisposable {
  readonly url: string;
}

const START_LIMIT_MS = 10_000;
const POLL_MS = 20;

/** Takes no connection until there is a server. @throws {Unavailable} */
export async function startLoadBalancer(
  directory: string,
  serverPorts: readonly number[],
  balancing: Balancing = "random",
): Promise<LoadBalancer> {
  const program = findNginx();
  const port = await freePort();
  mkdirSync(join(directory, "temporary"), { recursive: true });
  const file = join(directory, "nginx.conf");
  writeFileSync(file, configurationOf(directory, port, serverPorts, balancing));
  const child = spawnProgram([program, "-p", directory, "-c", file, "-e", "stderr"], {
    stdout: "ignore",
    environment: {},
  });
  const url = `http://127.0.0.1:${port}`;
  const endAtMs = performance.now() + START_LIMIT_MS;
  while (!(await answers(`${url}/nginx`))) {
    if (exitOf(child) !== null || performance.now() > endAtMs) {
      await stop(child);
      throw new Error("nginx did not start");
    }
    await delay(POLL_MS);
  }
  return { url, [Symbol.asyncDispose]: () => stop(child) };
}

async function answers(url: string): Promise<boolean> {
  return fetch(url).then(
    ({ ok }) => ok,
    () => false,
  );
}

/** Debian keeps it where only root looks. */
const PROGRAMS = ["nginx", "/usr/sbin/nginx"];

function findNginx(): string {
  const find = () => PROGRAMS.find((name) => spawnSync(name, ["-v"]).error === undefined);
  const found = find();
  if (found !== undefined) return found;
  if (process.getuid?.() === 0) {
    spawnSync("apt-get", ["install", "-y", "nginx-light"], { stdio: "ignore" });
  }
  const installed = find();
  if (installed !== undefined) return installed;
  throw new Unavailable("nginx is not installed (Debian: apt-get install nginx-light)");
}

function configurationOf(
  directory: string,
  port: number,
  serverPorts: readonly number[],
  balancing: Balancing,
): string {
  const servers = serverPorts.map((each) => `    server 127.0.0.1:${each} fail_timeout=1s;`);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `  ${name}_temp_path ${join(directory, "temporary", name)};`,
  );
  // Started as root it would have its workers be somebody who cannot read the directory.
  const user = process.getuid?.() === 0 ? "user root;" : "";
  return `
daemon off;
${user}
worker_processes 1;
pid ${join(directory, "nginx.pid")};
error_log stderr crit;
events { worker_connections 1024; }
http {
  access_log off;
${temporary.join("\n")}
  upstream replicas {
    ${DIRECTIVES[balancing]}
${servers.join("\n")}
  }
  server {
    listen 127.0.0.1:${port};
    location = /nginx { return 200; }
    location / {
      proxy_pass http://replicas;
      proxy_http_version 1.1;
      proxy_set_header Host 127.0.0.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 120s;
      add_header ${SERVED_BY} $upstream_addr always;
    }
  }
}
`;
}
