#!/usr/bin/env node
/**
 * argv → command → exit code.
 *
 * @module
 */

import { EXIT } from "./cli/exit-codes.ts";
import { nodeProblem } from "./cli/version.ts";

const problem = nodeProblem(process.versions.node);
if (problem === undefined) {
  // Not before: a Node that is too old fails to load these, and says nothing that helps.
  const { endProcess } = await import("./cli/end-process.ts");
  const { processIo } = await import("./cli/io.ts");
  const { runProgram } = await import("./cli/program.ts");
  endProcess(await runProgram(process.argv.slice(2), processIo()));
} else {
  process.stderr.write(`plimsoll: ${problem}\n`);
  process.exitCode = EXIT.unavailable;
}
