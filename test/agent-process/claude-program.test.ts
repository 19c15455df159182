import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, describe, it } from "vitest";

import { requireClaude } from "../../src/agent-process/claude-program.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "plimsoll-claude-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function install(name: string, manifest: Readonly<Record<string, unknown>>): Promise<string> {
  const directory = join(folder, "node_modules", "@vendor", name);
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "package.json"), JSON.stringify(manifest));
  return pathToFileURL(join(directory, "sdk.mjs")).href;
}

describe("requireClaude", () => {
  it("finds the Claude Code that the tests run with", () => {
    expect(() => requireClaude()).not.toThrow();
  });

  it("says what to do when the SDK was installed without a program for this system", async () => {
    const optionalDependencies = { "@vendor/sdk-one": "1.0.0", "@vendor/sdk-two": "1.0.0" };
    const sdkUrl = await install("sdk", { optionalDependencies });
    expect(() => requireClaude(sdkUrl)).toThrow(
      expect.objectContaining({ code: "claude_missing" }) as Error,
    );
    await install("sdk-two", {});
    expect(() => requireClaude(sdkUrl)).not.toThrow();
  });
});
