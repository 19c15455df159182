/**
 * Goal: a data directory that cannot be is an error at once, with its cause and its cure.
 * Method: the built program, with places in which Linux lets nobody make a directory.
 */
import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HELLO_AGENT, start } from "./plimsoll.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll-cli-"));
  await writeFile(join(directory, "file"), "");
  await mkdir(join(directory, "read-only"));
  await chmod(join(directory, "read-only"), 0o555);
});
afterAll(() => rm(directory, { recursive: true }));

/** Far more than it takes to start. */
const LIMIT_MS = 50_000;

async function runOn(data: string, command: "serve" | "chat") {
  const port = command === "serve" ? ["--port", "0"] : [];
  const args = [command, HELLO_AGENT, "--rehearse", "--data", data, ...port];
  const program = start(args, { directory });
  // One that hangs does not hear SIGTERM.
  const timer = setTimeout(() => program.signal("SIGKILL"), LIMIT_MS);
  const exit = await program.exited;
  clearTimeout(timer);
  return exit;
}

const PLACES: readonly (readonly [where: string, data: string, errno: string])[] = [
  ["below a file", "file/data", "ENOTDIR"],
  ["at a file", "file", "ENOTDIR"],
  ...(process.platform === "linux"
    ? ([
        ["where the kernel keeps its own", "/proc/plimsoll", "ENOENT"],
        ["deep where the kernel keeps its own", "/proc/self/plimsoll/data", "ENOENT"],
        ["below a device", "/dev/null/plimsoll", "ENOTDIR"],
      ] as const)
    : []),
  // Who is root may write anywhere.
  ...(process.getuid?.() === 0
    ? []
    : ([["in a read-only directory", "read-only/data", "EACCES"]] as const)),
];

describe("a data directory that cannot be", () => {
  it.each(PLACES)(
    "%s ends `serve` and `chat` with 69 and the cause",
    async (_where, data, errno) => {
      for (const command of ["serve", "chat"] as const) {
        const { code, signal, stderr } = await runOn(data, command);
        expect({ code, signal }, stderr).toEqual({ code: 69, signal: null });
        expect(stderr).toMatch(/^plimsoll: Cannot open .+\n {2}E/u);
        expect(stderr).toContain(errno);
        expect(stderr).toContain("`data.directory`");
      }
    },
  );

  it("is made with all above it that is missing, for its owner alone", async () => {
    const { code, stdout, stderr } = await runOn("new/and/deep", "chat");
    expect(code, stdout + stderr).toBe(0);
    for (const made of ["new", "new/and", "new/and/deep"]) {
      expect((await stat(join(directory, made))).mode & 0o777).toBe(0o700);
    }
  });
});
