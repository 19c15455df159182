/**
 * The processes of a benchmark: the server under test and the rehearsal model, each the built
 * program as a user starts it, each alone in its process so that neither pays for the other.
 *
 * @module
 */

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { readProcessStat } from "../src/agent-process/proc.ts";
import type { CpuQuota } from "./cpu-quota.ts";
import type { MemoryGroup } from "./memory-group.ts";
import type { ReplicaImage } from "./replica-image.ts";

const MAIN = fileURLToPath(new URL("../build/main.js", import.meta.url));
/** Seconds on a quiet machine; the time itself is for a benchmark to judge. */
const START_LIMIT_MS = 120_000;
const STOP_LIMIT_MS = 40_000;

export const EXAMPLE_AGENT = fileURLToPath(
  new URL("../examples/hello-agent/agent.yaml", import.meta.url),
);

/** A directory that goes when the benchmark ends. */
export function scratchDirectory(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "plimsoll-bench-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** What an agent process needs to ask a model on this machine, beside its URL. */
export const MODEL_KEY = {
  ANTHROPIC_API_KEY: "bench-needs-no-key",
  NO_PROXY: "127.0.0.1",
  no_proxy: "127.0.0.1",
};

export interface RunningModel extends AsyncDisposable {
  /** What makes an agent process ask this model and no other. */
  readonly environment: Readonly<Record<string, string>>;
  readonly pid: number;
}

/** @param script A rehearsal script as an object, or as the text of its file. */
export async function startModel(directory: string, script: unknown): Promise<RunningModel> {
  const file = join(directory, "rehearsal.yaml");
  writeFileSync(file, typeof script === "string" ? script : JSON.stringify(script));
  const child = spawnProgram([process.execPath, MAIN, "rehearse", "--script", file], {
    stdout: "pipe",
    environment: {},
  });
  const url = await new Promise<string>((resolve, reject) => {
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      text += String(chunk);
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(text)?.[0];
      if (found !== undefined) resolve(found);
    });
    child.once("exit", () => reject(new Error("the rehearsal model ended before it was ready")));
  });
  return {
    environment: { ANTHROPIC_BASE_URL: url, ...MODEL_KEY },
    pid: pidOf(child),
    [Symbol.asyncDispose]: () => stop(child),
  };
}

export interface ServerOptions {
  readonly agentFile: string;
  readonly dataDirectory: string;
  /** A free one without it. */
  readonly port?: number;
  /** Beside the benchmark's own environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** Further arguments of `plimsoll serve`. */
  readonly args?: readonly string[];
  /** The only core that the server, and what it starts, may use. */
  readonly core?: number;
  /** Another program in the image that takes the same command line, in place of ours. */
  readonly program?: string;
  /** Where the server, and what it starts, lives; its programs are then those of the image. */
  readonly within?: { readonly group: MemoryGroup; readonly image: ReplicaImage };
  /** What it may use of the CPU, with what it starts. */
  readonly quota?: CpuQuota;
  /** Gets the server's log; nobody keeps it otherwise. */
  readonly logFile?: string;
}

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface RunningServer extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  readonly pid: number;
  /** From the spawn to the first 200 of /livez and of /readyz. */
  readonly aliveMs: number;
  readonly readyMs: number;
  /** How it has ended; null while it runs. */
  exit(): ProcessExit | null;
}

const POLL_MS = 5;
/** What is told of the log of a server that does not start. */
const LOG_TAIL = 2_000;

/** Resolves when /readyz says 200. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const port = options.port ?? (await freePort());
  const url = `http://127.0.0.1:${port}`;
  const beganAtMs = performance.now();
  const child = spawnServer(options, port);
  let aliveMs: number | null = null;
  while (exitOf(child) === null && performance.now() - beganAtMs < START_LIMIT_MS) {
    const status = await statusOf(`${url}/readyz`);
    const elapsedMs = performance.now() - beganAtMs;
    // Any answer means that the server listens and its loop turns, as /livez does.
    if (status !== null) aliveMs ??= elapsedMs;
    if (status === 200) {
      return {
        port,
        url,
        pid: pidOf(child),
        aliveMs: aliveMs ?? elapsedMs,
        readyMs: elapsedMs,
        exit: () => exitOf(child),
        [Symbol.asyncDispose]: () => stop(child),
      };
    }
    await delay(POLL_MS);
  }
  const exit = exitOf(child);
  await stop(child);
  const { logFile } = options;
  const log = logFile === undefined ? "" : readFileSync(logFile, "utf8").slice(-LOG_TAIL);
  throw new Error(`the server did not become ready (${JSON.stringify(exit)}): ${log}`);
}

function spawnServer(options: ServerOptions, port: number): ChildProcess {
  const {
    agentFile,
    dataDirectory,
    environment,
    args = [],
    core,
    within,
    quota,
    logFile,
  } = options;
  const node = within?.image.node ?? process.execPath;
  const main = options.program ?? within?.image.main ?? MAIN;
  const pinned = core === undefined ? [] : ["taskset", "-c", String(core)];
  const serve = ["serve", agentFile, "--port", String(port), "--data", dataDirectory, ...args];
  const groups = [...(quota?.enter ?? []), ...(within?.group.enter ?? [])];
  const command = [...pinned, ...groups, node, main, ...serve];
  const log = logFile === undefined ? null : openSync(logFile, "a");
  const child = spawnProgram(command, { stdout: log ?? "ignore", environment });
  if (log !== null) closeSync(log);
  return child;
}

async function statusOf(url: string): Promise<number | null> {
  try {
    const response = await fetch(url);
    await response.arrayBuffer();
    return response.status;
  } catch {
    return null;
  }
}

interface SpawnOptions {
  readonly stdout: "pipe" | "ignore" | number;
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * Runs a command line with the benchmark's own environment and what is added to it, without what
 * a shell's environment would have every Node do first.
 */
export function spawnProgram(
  [program = "", ...args]: readonly string[],
  { stdout, environment }: SpawnOptions,
): ChildProcess {
  return spawn(program, args, {
    env: {
      ...process.env,
      NODE_OPTIONS: undefined,
      NODE_EXTRA_CA_CERTS: undefined,
      ...environment,
    },
    stdio: ["ignore", stdout, "inherit"],
  });
}

/** Runs a command of ours to its end. @throws {Error} When its exit code is not 0. */
export async function runProgram(args: readonly string[], directory: string): Promise<void> {
  const command = [process.execPath, MAIN, ...args];
  const child = spawnProgram(command, { stdout: "ignore", environment: { PWD: directory } });
  if (exitOf(child) === null) await once(child, "exit");
  if (exitOf(child)?.code !== 0) throw new Error(`plimsoll ${args[0] ?? ""} failed`);
}

/** How a process has ended; null while it runs. */
export function exitOf({ exitCode, signalCode }: ChildProcess): ProcessExit | null {
  return exitCode === null && signalCode === null ? null : { code: exitCode, signal: signalCode };
}

/** Ends a process politely, then by force. */
export async function stop(child: ChildProcess): Promise<void> {
  if (exitOf(child) !== null) return;
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT_MS);
  await once(child, "exit");
  clearTimeout(timer);
}

function pidOf({ pid }: ChildProcess): number {
  if (pid === undefined) throw new Error("a process could not be started");
  return pid;
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port is free");
  return address.port;
}

/** Whether processes can be tied to cores here. */
export function canPin(): boolean {
  try {
    execFileSync("taskset", ["-p", String(process.pid)], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** Ties all threads of a running process to one core. */
export function pin(pid: number, core: number): void {
  execFileSync("taskset", ["-a", "-c", "-p", String(core), String(pid)], { stdio: "ignore" });
}

export interface ProcessMemory {
  /** Resident pages, shared ones included. */
  readonly residentBytes: number;
  /** Pages that nobody else has; of programs too, as long as nobody else runs them. */
  readonly privateBytes: number;
  /** Pages of no file. */
  readonly anonymousBytes: number;
}

/** Reads `/proc/<pid>/smaps_rollup`. */
export function memoryOf(pid: number): ProcessMemory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const bytes = (field: string) =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? Number.NaN) * 1_024;
  return {
    residentBytes: bytes("Rss"),
    privateBytes: bytes("Private_Clean") + bytes("Private_Dirty"),
    anonymousBytes: bytes("Anonymous"),
  };
}

/**
 * CPU time of all threads of a process so far, its dead children not counted.
 * @throws when it is gone.
 */
export function cpuMsOf(pid: number): number {
  const stat = readProcessStat(pid);
  if (stat === null) throw new Error(`The process ${pid} is gone`);
  return stat.cpuMs;
}

/** Pids of the direct children. */
export function childrenOf(pid: number): readonly number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    const text = readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").trim();
    return text === "" ? [] : text.split(" ").map(Number);
  });
}

/** Of a server's metrics, the sum of the lines that fit. */
export async function metricOf(url: string, line: RegExp): Promise<number> {
  const page = await (await fetch(`${url}/metrics`)).text();
  const found = page.split("\n").filter((text) => line.test(text));
  return found.reduce((sum, text) => sum + Number(text.split(" ").at(-1)), 0);
}
