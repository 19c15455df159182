/** Goal: what a process will count from is found, however far from the end of the transcript it is. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { countedIn } from "../../src/session/counted-totals.ts";

const MiB = 2 ** 20;

let directory = "";
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "counted-"));
});
afterAll(async () => rm(directory, { recursive: true }));

async function counted(...lines: readonly string[]) {
  const path = join(directory, "transcript.jsonl");
  const text = lines.map((line) => `${line}\n`).join("");
  await writeFile(path, text);
  return countedIn({ path, bytes: Buffer.byteLength(text) });
}

function said(text: string): string {
  return JSON.stringify({ type: "user", uuid: "u", message: { role: "user", content: text } });
}

function costState(totalCostUSD: unknown): string {
  const usage = {
    inputTokens: 1,
    outputTokens: 2,
    cacheReadInputTokens: 3,
    cacheCreationInputTokens: 4,
    costUSD: totalCostUSD,
  };
  return JSON.stringify({ type: "cost-state", totalCostUSD, modelUsage: { "model-a": usage } });
}

describe("what Claude Code has counted", () => {
  it("is nothing where it has not said", async () => {
    expect(await counted(said("Hi"))).toEqual({ costUsd: 0, byModel: [] });
    expect(await counted()).toEqual({ costUsd: 0, byModel: [] });
  });

  it("is what it said last, by model", async () => {
    const found = await counted(said("Hi"), costState(0.25), said("Ho"), costState(0.5), said("!"));
    expect(found.costUsd).toBe(0.5);
    const tokens = { inputTokens: 1, outputTokens: 2, cacheReadTokens: 3, cacheWriteTokens: 4 };
    expect(found.byModel).toEqual([{ model: "model-a", ...tokens, costUsd: 0.5 }]);
  });

  it("is not what somebody says in a message, or a line that it does not take itself", async () => {
    const nested = `{"type":"user","input":${costState(7)}}`;
    const lines = [said("Hi"), costState(0.25), said(costState(8)), nested, costState("a lot")];
    expect(await counted(...lines)).toMatchObject({ costUsd: 0.25 });
  });

  it("is found wherever it is in a long transcript, also across the parts that are read", async () => {
    for (let shift = 0; shift < 400; shift += 7) {
      const after = said("x".repeat(MiB - 200 - shift));
      expect(await counted(said("Hi"), costState(0.25), after)).toMatchObject({ costUsd: 0.25 });
    }
    const long = await counted(said("Hi"), costState(0.5), said("x".repeat(5 * MiB)));
    expect(long).toMatchObject({ costUsd: 0.5 });
  });
});
