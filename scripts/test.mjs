/**
 * `npm test`: installs and builds what is missing, then runs all tests, or those that the
 * arguments name: `npm test -- test/http`.
 *
 * The last line is `<n> passed, <n> failed`, for machines to read.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureBuilt, ensureInstalled, ROOT } from "./installed.mjs";

ensureInstalled();
ensureBuilt();

const directory = mkdtempSync(join(tmpdir(), "plimsoll-test-"));
const reportFile = join(directory, "report.json");
const { status } = spawnSync(
  process.execPath,
  [
    join(ROOT, "node_modules/vitest/vitest.mjs"),
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${reportFile}`,
    ...process.argv.slice(2),
  ],
  { cwd: ROOT, stdio: "inherit" },
);
const { passed, failed, skipped } = countTests(reportFile, status === 0);
rmSync(directory, { recursive: true });
console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exitCode = status ?? 1;

/** A run that went wrong without a failed test, as by a file that cannot be loaded, has one too. */
function countTests(file, isSuccess) {
  const { numPassedTests, numFailedTests, numPendingTests, testResults } = readReport(file);
  const unloadable = testResults.filter(
    (result) => result.status === "failed" && result.assertionResults.length === 0,
  );
  const allFailed = numFailedTests + unloadable.length;
  return {
    passed: numPassedTests,
    failed: isSuccess ? allFailed : Math.max(1, allFailed),
    skipped: numPendingTests,
  };
}

function readReport(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return { numPassedTests: 0, numFailedTests: 0, numPendingTests: 0, testResults: [] };
  }
}
