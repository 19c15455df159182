/** What must never lose a count: loops that replace what they have read, here and in other processes. */

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

import type { ObjectStore } from "../../../src/session/stores/object-store.ts";

const CHILD = fileURLToPath(new URL("./count-up.child.ts", import.meta.url));

/** Adds one, again and again; each body is another. */
export async function countUp(store: ObjectStore, name: string, rounds: number): Promise<void> {
  for (let done = 0; done < rounds;) {
    const found = await store.get(name);
    const count = countOf(found?.body);
    const body = Buffer.from(`${count + 1} ${randomBytes(6).toString("hex")}`);
    const condition = found === null ? "absent" : { version: found.version };
    if ((await store.put(name, body, condition)) !== null) done += 1;
  }
}

export function countOf(body: Buffer | undefined): number {
  return Number(body?.toString().split(" ")[0] ?? 0);
}

/** The same in processes of their own; rejects if one of them fails. */
export async function countUpElsewhere(
  url: URL,
  name: string,
  rounds: number,
  processes: number,
  environment: Readonly<Record<string, string>> = {},
): Promise<void> {
  const ends = Array.from({ length: processes }, async () => {
    const { code } = await startCounting(url, name, rounds, environment).ended;
    if (code !== 0) throw new Error(`A counting process ended with ${code}`);
  });
  await Promise.all(ends);
}

export interface Counting {
  readonly kill: () => void;
  /** `counted` are those that the process knows of. */
  readonly ended: Promise<{ readonly code: number | null; readonly counted: number }>;
}

export function startCounting(
  url: URL,
  name: string,
  rounds: number,
  environment: Readonly<Record<string, string>> = {},
): Counting {
  const args = ["--import", "jiti/register", CHILD, url.href, name, String(rounds)];
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...environment },
  });
  let written = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (written += text));
  const ended = once(child, "close").then(([code]) => ({
    code: code as number | null,
    counted: written.split("\n").length - 1,
  }));
  return { kill: () => void child.kill("SIGKILL"), ended };
}
