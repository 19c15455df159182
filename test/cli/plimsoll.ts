/**
 * The built program as a child process, with an environment of its own: no key of the person who
 * runs the tests can leak into them.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { until } from "../helpers/leaks.ts";

export const ROOT = join(import.meta.dirname, "..", "..");
export const HELLO_AGENT = join(ROOT, "examples", "hello-agent", "agent.yaml");

export interface RunOptions {
  readonly directory: string;
  /** What is written to its standard input, which then ends; of a stream, as it comes. */
  readonly input?: string | Readable;
  readonly environment?: Readonly<Record<string, string>>;
  /** Instead of the built program. */
  readonly program?: readonly [command: string, ...args: string[]];
}

export interface Running extends AsyncDisposable {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  stdout(): string;
  stderr(): string;
  /** Waits until the standard output has the text or fits the pattern. */
  prints(what: string | RegExp, limitMs?: number): Promise<void>;
  /** Resolves when nobody can read its standard output any more. */
  closeOutput(): Promise<void>;
  signal(name: NodeJS.Signals): void;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function start(args: readonly string[], options: RunOptions): Running {
  const { directory, input, environment = {} } = options;
  const [command, ...before] = options.program ?? [
    process.execPath,
    join(ROOT, "build", "main.js"),
  ];
  const child = spawn(command, [...before, ...args], {
    cwd: directory,
    env: { PATH: process.env["PATH"], HOME: directory, ...environment },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  // It may be gone before it has read all.
  child.stdin.on("error", () => undefined);
  if (input instanceof Readable) input.pipe(child.stdin);
  else child.stdin.end(input ?? "");

  let hasExited = false;
  const exited = once(child, "close").then(([code, signal]): Exit => {
    hasExited = true;
    return { code: code as number | null, signal: signal as string | null, stdout, stderr };
  });
  const has = (what: string | RegExp) =>
    typeof what === "string" ? stdout.includes(what) : what.test(stdout);
  return {
    pid: child.pid ?? 0,
    exited,
    stdout: () => stdout,
    stderr: () => stderr,
    async prints(what, limitMs = 45_000) {
      await until(() => has(what) || hasExited, `the program to print ${String(what)}`, limitMs);
      if (!has(what)) throw new Error(`The program ended first:\n${stdout}${stderr}`);
    },
    async closeOutput() {
      child.stdout.destroy();
      if (!child.stdout.closed) await once(child.stdout, "close");
    },
    signal: (name) => void child.kill(name),
    async [Symbol.asyncDispose]() {
      if (!hasExited) child.kill("SIGTERM");
      await exited;
    },
  };
}

/** Writes an agent with a function tool that never closes what it holds. @returns Its file. */
export async function writeHoldingAgent(directory: string): Promise<string> {
  const agent = "name: holding\ninstructions: x\ntools: { functions: [holding.js] }\n";
  const tool = `
    import { createServer } from "node:net";
    setInterval(() => undefined, 1_000);
    createServer().listen(0, "127.0.0.1");
    export const noop = { description: "Nothing", input: { type: "object" }, run: () => "done" };
  `;
  await writeFile(join(directory, "holding.js"), tool);
  await writeFile(join(directory, "holding.yaml"), agent);
  return "holding.yaml";
}

/** Runs to the end. */
export function run(args: readonly string[], options: RunOptions): Promise<Exit> {
  return start(args, options).exited;
}
