/**
 * Examples as their users run them: the built program, in rehearsal, over HTTP.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { expect } from "vitest";
import type { RestOutcome } from "../../src/protocol/rest.ts";
import { until } from "./leaks.ts";

export const ROOT = join(import.meta.dirname, "../..");

export interface ExampleServer extends AsyncDisposable {
  readonly url: string;
}

/**
 * Serves it in rehearsal, from its own folder; resolves when it takes turns.
 *
 * @param prepare Program that prepares the ground in the data directory, its first argument, and
 *   then runs the rest of its arguments.
 */
export async function serveExample(
  path: string,
  flags: readonly string[] = [],
  prepare: readonly string[] = [],
): Promise<ExampleServer> {
  const data = await mkdtemp(join(tmpdir(), "plimsoll-example-"));
  const target = join(ROOT, "examples", path);
  const main = [process.execPath, join(ROOT, "build/main.js")];
  const args = ["serve", target, "--rehearse", "--data", data, "--port", "0", ...flags];
  const [command = "", ...rest] =
    prepare.length === 0 ? [...main, ...args] : [...prepare, data, ...main, ...args];
  const child = spawn(command, rest, {
    cwd: path.endsWith(".yaml") ? dirname(target) : target,
    env: { PATH: process.env["PATH"] },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  let url: string | undefined;
  createInterface(child.stdout).on("line", (line) => {
    url ??= /"url":"([^"]+)"/.exec(line)?.[1];
  });
  await until(() => url !== undefined || child.exitCode !== null, "the example to listen");
  if (url === undefined) throw new Error(`Cannot serve ${path}: ${stderr}`);
  const readyUrl = `${url}/readyz`;
  await until(async () => (await fetch(readyUrl)).ok, "the example to be ready");
  return {
    url,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      if (child.exitCode === null) await once(child, "exit");
      await rm(data, { recursive: true, force: true });
      expect([child.exitCode, stderr]).toEqual([0, ""]);
    },
  };
}

/** A whole turn as JSON; fails the test unless it was completed. */
export async function ask(
  { url }: ExampleServer,
  agent: string,
  input: string,
  key?: string,
): Promise<RestOutcome> {
  const response = await fetch(`${url}/v1/agents/${agent}/turns`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(key !== undefined && { authorization: `Bearer ${key}` }),
    },
    body: JSON.stringify({ input }),
  });
  const body: unknown = await response.json();
  expect(body).toMatchObject({ status: "completed" });
  return body as RestOutcome;
}

export async function get({ url }: ExampleServer, path: string, key: string): Promise<unknown> {
  const response = await fetch(url + path, { headers: { authorization: `Bearer ${key}` } });
  return response.json();
}
