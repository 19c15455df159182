/**
 * Goal: a run that was cut short is gone on with when it was of the same thing and of late, and
 * never otherwise.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { StateFile } from "../../../src/sizing/measure/state.ts";
import { results } from "./results.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll-state-"));
});
afterEach(() => rm(directory, { recursive: true }));

const MINUTE_MS = 60_000;
const path = () => join(directory, "hello.profile.json.partial");
const { idle, first } = results();

describe("the state of a run", () => {
  it("is read again by the same key", async () => {
    await new StateFile(path(), "a").write({ idle, first }, 0);
    expect(await new StateFile(path(), "a").read(MINUTE_MS)).toEqual({ idle, first });
    expect(await new StateFile(path(), "b").read(MINUTE_MS)).toEqual({});
  });

  it("is of no use after an hour, nor when the clock was set back", async () => {
    const state = new StateFile(path(), "a");
    await state.write({ idle }, 60 * MINUTE_MS);
    expect(await state.read(119 * MINUTE_MS)).toEqual({ idle });
    expect(await state.read(121 * MINUTE_MS)).toEqual({});
    expect(await state.read(0)).toEqual({});
  });

  it("is nothing where there is none, or something else", async () => {
    const state = new StateFile(path(), "a");
    expect(await state.read(0)).toEqual({});
    await writeFile(path(), "{");
    expect(await state.read(0)).toEqual({});
    await writeFile(path(), '{"version":1,"key":"a","savedAtMs":0,"results":{"idle":{}}}');
    expect(await state.read(0)).toEqual({});
  });
});
