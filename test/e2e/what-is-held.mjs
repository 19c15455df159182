/**
 * Preloaded into a server: at SIGUSR2 it counts what is left when the garbage is collected, and
 * writes that to standard output as a line of the log.
 *
 * @module
 */

import { EventEmitter } from "node:events";
import { queryObjects } from "node:v8";

const warnings = [];
process.on("warning", ({ name, message }) => {
  if (!message.includes("queryObjects")) warnings.push(`${name}: ${message}`);
});

process.on("SIGUSR2", () => void tellWhatIsHeld());

async function tellWhatIsHeld() {
  const { LiveTurn } = await import("../../build/turn/live-turn.js");
  const held = {};
  // Processes, their streams and requests are emitters; a signal keeps one reference, however weak,
  // to each that was made of it.
  for (const kind of [LiveTurn, AbortSignal, EventEmitter, WeakRef]) {
    held[kind.name] = queryObjects(kind, { format: "count" });
  }
  held.listenersOfProcess = process
    .eventNames()
    .reduce((count, name) => count + process.listenerCount(name), 0);
  const open = process.getActiveResourcesInfo();
  for (const kind of ["ProcessWrap", "PipeWrap"]) {
    held[kind] = open.filter((each) => each === kind).length;
  }
  // Clients keep connections open for their next request.
  held.EventEmitter -= open.filter((kind) => kind === "TCPSocketWrap").length;
  const heapBytes = process.memoryUsage().heapUsed;
  process.stdout.write(`${JSON.stringify({ msg: "Counted", held, heapBytes, warnings })}\n`);
}
