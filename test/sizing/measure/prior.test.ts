/**
 * Goal: what was measured helps a server that knows less, and never takes anything from one that
 * knows as much.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WINDOW_SAMPLES } from "../../../src/capacity/footprint.ts";
import {
  type FootprintRecord,
  readFootprints,
  writeFootprints,
} from "../../../src/capacity/footprint-records.ts";
import { openDataDirectory } from "../../../src/session/data-directory.ts";
import { savePrior, withPrior } from "../../../src/sizing/measure/prior.ts";

function record(agentName: string, version: string, count: number, atMs = 0): FootprintRecord {
  const samples = Array.from({ length: count }, (_, at) => ({
    carriedBytes: 0,
    peakBytes: 1 + at,
    endedForMemory: false,
    atMs: atMs + at,
  }));
  return { agentName, version, samples };
}

const measured = record("support", "1", 20, 1_000);

describe("merging", () => {
  it("leaves what rests on as many turns", () => {
    expect(withPrior([record("support", "1", 20)], measured)).toBeNull();
    expect(withPrior([record("support", "1", 96)], measured)).toBeNull();
  });

  it("adds to what rests on fewer, in the order of time", () => {
    const [merged] = withPrior([record("support", "1", 3)], measured) ?? [];
    expect(merged?.samples).toHaveLength(23);
    const times = merged?.samples.map(({ atMs }) => atMs) ?? [];
    expect(times).toEqual(times.toSorted((a, b) => a - b));
  });

  it("takes the place of another version, and leaves other agents alone", () => {
    const other = record("other", "1", 5);
    expect(withPrior([other, record("support", "0", 96)], measured)).toEqual([other, measured]);
  });

  it("never loses a sample of the server, nor has more than it remembers", () => {
    const counts = fc.integer({ min: 1, max: 120 });
    fc.assert(
      fc.property(counts, counts, (own, made) => {
        const known = record("support", "1", own);
        const merged = withPrior([known], record("support", "1", made, 60));
        if (merged === null) return;
        const samples = merged[0]?.samples ?? [];
        for (const sample of known.samples) expect(samples).toContainEqual(sample);
        expect(samples.length).toBeLessThanOrEqual(Math.max(WINDOW_SAMPLES, own));
      }),
    );
  });
});

describe("the file", () => {
  let dataDirectory: string;
  beforeEach(async () => {
    dataDirectory = await mkdtemp(join(tmpdir(), "plimsoll-prior-"));
  });
  afterEach(() => rm(dataDirectory, { recursive: true }));
  const file = () => join(dataDirectory, "footprints.json");

  it("is made where there is none, and in place of one that cannot be read", async () => {
    expect(await savePrior({ dataDirectory, record: measured })).toBe("saved");
    expect(readFootprints(await readFile(file(), "utf8"))).toEqual([measured]);
    await writeFile(file(), "{");
    expect(await savePrior({ dataDirectory, record: measured })).toBe("saved");
    expect(readFootprints(await readFile(file(), "utf8"))).toEqual([measured]);
  });

  it("is left as it is where the server knows as much", async () => {
    const text = writeFootprints([record("support", "1", 30)]);
    await writeFile(file(), text);
    expect(await savePrior({ dataDirectory, record: measured })).toBe("kept");
    expect(await readFile(file(), "utf8")).toBe(text);
  });

  it("is not touched while a server has the directory", async () => {
    await using _server = await openDataDirectory(dataDirectory, Date.now());
    await expect(savePrior({ dataDirectory, record: measured })).rejects.toMatchObject({
      code: "data_directory_in_use",
    });
  });
});
