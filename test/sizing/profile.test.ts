/**
 * Goal: a profile that does not fit is told with its place and cure, and one of another Claude Code
 * with a warning.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DiagnosticsError } from "../../src/lib/diagnostics.ts";
import { analyse } from "../../src/sizing/measure/analyse.ts";
import { type Profile, readProfile } from "../../src/sizing/profile.ts";
import { FACTS, MIB, results } from "./measure/results.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll-profile-"));
});
afterAll(() => rm(directory, { recursive: true }));

const PROFILE = analyse(results(), FACTS);

async function write(text: string): Promise<string> {
  const file = "support.profile.json";
  await writeFile(join(directory, file), text);
  return file;
}

/** With some figures replaced, as `measure` writes it. */
async function problemsOf(change: (profile: Record<string, never>) => void) {
  const changed = JSON.parse(JSON.stringify(PROFILE)) as Record<string, never>;
  change(changed);
  const file = await write(JSON.stringify(changed, null, 2));
  const failure: unknown = await readProfile(file, directory).catch((thrown: unknown) => thrown);
  if (!(failure instanceof DiagnosticsError)) throw new Error("It was read");
  expect(failure.code).toBe("profile_invalid");
  return failure.diagnostics;
}

type Changed = Record<string, Record<string, Record<string, number>>>;

describe("reading a profile", () => {
  it("gives what was written", async () => {
    const file = await write(JSON.stringify(PROFILE, null, 2));
    const { sdk } = PROFILE.versions;
    expect(await readProfile(file, directory, sdk)).toEqual({ profile: PROFILE, warnings: [] });
  });

  it("warns of another version of the SDK, and names both", async () => {
    const file = await write(JSON.stringify(PROFILE));
    const { profile, warnings } = await readProfile(file, directory, "9.9.9");
    expect(profile).toEqual(PROFILE);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(PROFILE.versions.sdk);
    expect(warnings[0]).toContain("9.9.9");
  });

  it("reads one without what is for reports only", async () => {
    const { measured: _measured, ...rest } = PROFILE;
    const file = await write(JSON.stringify(rest));
    const { profile } = await readProfile(file, directory);
    expect(profile satisfies Profile).toEqual(rest);
  });

  it("says how to make one where there is none", async () => {
    const missing = readProfile("none.json", directory);
    await expect(missing).rejects.toMatchObject({
      diagnostics: [{ message: /does not exist/, remedy: /plimsoll measure/ }],
    });
  });

  it("finds megabytes in place of bytes, at their place", async () => {
    const [problem, ...others] = await problemsOf((profile) => {
      const peak = (profile as unknown as Changed)["turn"]?.["peak"] ?? {};
      for (const [name, bytes] of Object.entries(peak)) peak[name] = bytes / MIB;
    });
    expect(others).toEqual([]);
    expect(problem?.path).toBe("turn.peak.medianBytes");
    expect(problem?.remedy).toMatch(/bytes, and no MiB/);
    expect(problem?.frame).toContain('"medianBytes": 120');
  });

  it("finds seconds in place of milliseconds", async () => {
    const problems = await problemsOf((profile) => {
      ((profile as unknown as Changed)["turn"] as unknown as Record<string, number>)["cpuMs"] = 0.8;
    });
    expect(problems.map(({ path }) => path)).toEqual(["turn.cpuMs"]);
  });

  it("finds quantiles in the wrong order, unknown keys, and another version of the file", async () => {
    const order = await problemsOf((profile) => {
      const peak = (profile as unknown as Changed)["turn"]?.["peak"] ?? {};
      peak["p99Bytes"] = 2 * MIB;
    });
    expect(order.map(({ path }) => path)).toContain("turn.peak.p99Bytes");
    const unknown = await problemsOf((profile) => Object.assign(profile, { colour: "blue" }));
    expect(unknown.map(({ path }) => path)).toEqual(["colour"]);
    const version = await problemsOf((profile) => Object.assign(profile, { plimsollProfile: 2 }));
    expect(version[0]?.remedy).toMatch(/Measure the agent again/);
  });

  it("says the line and the column of what is no JSON at all", async () => {
    const file = await write('{\n  "plimsollProfile": 1,\n  "agent": {\n');
    const failure: unknown = await readProfile(file, directory).catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(DiagnosticsError);
    expect((failure as DiagnosticsError).diagnostics[0]?.line).toBeGreaterThan(1);
  });
});
