/**
 * Goal: whoever starts the program on a Node that is too old is told so, and nothing else.
 * Method: the built program, in a process that says it is another Node; and what it loads before it
 * looks, as an older Node may fail to load anything else.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nodeProblem } from "../../src/cli/version.ts";
import { ROOT, run } from "./plimsoll.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll-node-"));
});
afterAll(() => rm(directory, { recursive: true }));

describe("a Node that is too old", () => {
  it("is told by its version, and what is needed by package.json", () => {
    for (const version of ["18.20.8", "20.18.3", "20.9.0", "9.99.0"]) {
      expect(nodeProblem(version)).toBe(
        `Node 20.19 or newer is needed, this is ${version}: install a newer one, e.g. from https://nodejs.org`,
      );
    }
    for (const version of ["20.19.0", "20.20.1", "22.0.0", "26.1.0-nightly"]) {
      expect(nodeProblem(version)).toBeUndefined();
    }
  });

  it("ends the program at once with 69 and one line", async () => {
    const pretend = `Object.defineProperty(process, "versions", { value: { ...process.versions, node: "18.20.8" } })`;
    const { code, stdout, stderr } = await run(["--version"], {
      directory,
      program: [
        process.execPath,
        "--import",
        `data:text/javascript,${encodeURIComponent(pretend)}`,
        join(ROOT, "build/main.js"),
      ],
    });
    expect(stderr).toMatch(/^plimsoll: Node 20\.19 or newer is needed, this is 18\.20\.8: .+\n$/u);
    expect(stdout).toBe("");
    expect(code).toBe(69);
  });

  it("has loaded nothing by then but Node's own modules and two files of ours", async () => {
    const loaded = await loadedBy(join(ROOT, "build/main.js"));
    const ours = loaded.filter((module) => module.startsWith(ROOT));
    expect(ours.map((file) => file.slice(join(ROOT, "build").length + 1)).sort()).toEqual([
      "cli/exit-codes.js",
      "cli/version.js",
      "main.js",
    ]);
    expect(loaded.filter((module) => !ours.includes(module))).toEqual(["node:fs"]);
  });
});

/** The file and all that it imports statically, directly or not. */
async function loadedBy(file: string): Promise<readonly string[]> {
  const code = await readFile(file, "utf8");
  const loaded = new Set([file]);
  for (const [, target = ""] of code.matchAll(/^(?:import|export)\b[^;]*?"([^"]+)";/gmu)) {
    const below = target.startsWith(".") ? await loadedBy(join(file, "..", target)) : [target];
    for (const each of below) loaded.add(each);
  }
  return [...loaded];
}
