/**
 * V8's own threads, which compile what a server that has just started does for the first time. On a
 * replica of one core four of them take turns with the thread that answers: of 3,300 refusals a
 * second in the first 8 s the slowest of a hundred took 34 to 120 ms. Last in the queue for the
 * core they have it when nothing else wants it, which is often enough: 7 to 8 ms (one run,
 * interleaved, Node 20; `bench/shed.ts` measures it).
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";
import { constants, setPriority } from "node:os";

import type { Environment } from "../lib/substitute.ts";

const TASKS = "/proc/self/task";
/** Of Node, where nobody asks for another number. */
const THREADS = 4;

/** Lets these threads of this process go last. Does nothing where they cannot be told apart. */
export function yieldCompilerThreads(environment: Environment): void {
  for (const id of compilerThreads(environment)) {
    try {
      setPriority(id, constants.priority.PRIORITY_LOW);
    } catch {
      return; // It is a kindness, and nothing depends on it.
    }
  }
}

function compilerThreads(environment: Environment): readonly number[] {
  let names: ReadonlyMap<number, string>;
  try {
    const ids = readdirSync(TASKS).map(Number);
    names = new Map(ids.map((id) => [id, readFileSync(`${TASKS}/${id}/comm`, "utf8").trim()]));
  } catch {
    return []; // Not Linux.
  }
  const ids = [...names.keys()].toSorted((a, b) => a - b);
  const named = ids.filter((id) => names.get(id) === "V8Worker");
  if (named.length > 0) return named;
  // Before Node 24 they have no name, but follow the main thread and the one for what is delayed;
  // where the kernel has begun anew with its numbers, or Node was told another number, that is not
  // sure.
  const flags = [...process.execArgv, environment["NODE_OPTIONS"] ?? ""].join(" ");
  if (ids[0] !== process.pid || flags.includes("v8-pool-size")) return [];
  return ids.slice(2, 2 + THREADS);
}
