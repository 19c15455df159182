/**
 * Goal: `plimsoll simulate` says what a fleet would do, readable within 80 columns, and what does not
 * fit in a scenario, with its place and cure.
 * Method: the command with files of its own; its text is compared with one that was looked at.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runSimulate, type SimulateOptions } from "../../src/cli/simulate.ts";
import { DiagnosticsError, formatDiagnostics } from "../../src/lib/diagnostics.ts";
import type { SimulationResult } from "../../src/sizing/simulate/result.ts";
import { TYPICAL_PROFILE } from "../../src/sizing/simulate/typical-profile.ts";

const GOLDEN = new URL("../fixtures/simulate.txt", import.meta.url);

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "plimsoll-simulate-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function simulated(
  files: Readonly<Record<string, string>>,
  options: Partial<SimulateOptions> = {},
  color = false,
) {
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  let [stdout, stderr] = ["", ""];
  const io = {
    stdout: (text: string) => void (stdout += text),
    stderr: (text: string) => void (stderr += text),
    environment: {},
    workingDirectory: folder,
    color,
  };
  const scenario = files["s.yaml"] === undefined ? {} : { scenario: "s.yaml" };
  try {
    const code = await runSimulate({ format: "text", ...scenario, ...options }, io);
    return { code, stdout, stderr };
  } catch (thrown) {
    if (!(thrown instanceof DiagnosticsError)) throw thrown;
    return { code: 78, stdout, stderr: formatDiagnostics(thrown.diagnostics, "text") };
  }
}

const BUSY = `
seed: 7
duration: 2h
arrivals: { rate: 3/s, bursts: [{ at: 1h, length: 5m, factor: 3 }] }
replicas: { count: 3, memory: 2GiB, cpus: 2 }
autoscaler: { min: 3, max: 6 }
failures: { every: 4h }
deploys: [{ at: 90m }]
`;

async function json(
  files: Readonly<Record<string, string>>,
  options: Partial<SimulateOptions> = {},
) {
  const { stdout, stderr } = await simulated(files, { format: "json", ...options });
  expect(stderr).toBe("");
  return JSON.parse(stdout) as SimulationResult;
}

describe("runSimulate", () => {
  it("prints tables and plots within 80 columns", async () => {
    const { code, stdout } = await simulated({ "s.yaml": BUSY });
    expect(code).toBe(0);
    if (process.env["UPDATE"] === "1") await writeFile(GOLDEN, stdout);
    expect(stdout).toBe(await readFile(GOLDEN, "utf8"));
    expect(stdout.split("\n").filter((line) => line.length > 80)).toEqual([]);
  });

  it("colours only where that is wanted", async () => {
    const { stdout } = await simulated({ "s.yaml": BUSY }, {}, true);
    const plain = await readFile(GOLDEN, "utf8");
    expect(stdout).not.toBe(plain);
    // eslint-disable-next-line no-control-regex -- colours are what is looked for
    expect(stdout.replaceAll(/\u001B\[\d+m/gu, "")).toBe(plain);
  });

  it("takes flags before the scenario, and needs no scenario", async () => {
    const result = await json(
      { "s.yaml": BUSY },
      { replicas: "5", seed: "3", duration: "30m" },
    ).catch((error: unknown) => error);
    expect(result).toBeInstanceOf(Error);
    const flags = { rate: "60/min", replicas: "5", seed: "3", duration: "30m", memory: "4GiB" };
    const { seed, durationMs, replicas, replica, notes } = await json({}, flags);
    expect([seed, durationMs, replicas.mostUp, replica.memoryBytes]).toEqual([
      3,
      1_800_000,
      5,
      4 * 2 ** 30,
    ]);
    expect(notes).toEqual([
      "no profile is given: the figures of a typical agent; `plimsoll measure` makes yours",
    ]);
  });

  it("tells the spread of several runs, and of less than five none", async () => {
    const scenario =
      "duration: 10m\narrivals: { rate: 5/s, bursts: [{ at: 5m, length: 1m, factor: 2 }] }\n";
    const { runs, shedRatio } = await json({ "s.yaml": `runs: 6\n${scenario}` });
    expect(runs?.count).toBe(6);
    const { leastShedRatio = 1, mostShedRatio = 0 } = runs ?? {};
    expect(leastShedRatio).toBeLessThan(mostShedRatio);
    expect(shedRatio.value).toBeGreaterThanOrEqual(leastShedRatio);
    expect(shedRatio.value).toBeLessThanOrEqual(mostShedRatio);
    expect((await json({ "s.yaml": scenario }, { runs: "4" })).runs).toBeNull();
    const { stdout } = await simulated({ "s.yaml": scenario }, { runs: "5" });
    expect(stdout).toMatch(/^ {4}in 5 runs +\d/mu);
  });

  it("takes the profile from beside the scenario, or from where the flag says", async () => {
    const own = { ...TYPICAL_PROFILE, agent: { name: "own", version: "1" } };
    const files = {
      "s.yaml": `profile: p.json\n${BUSY}`,
      "p.json": JSON.stringify(own),
      "q.json": JSON.stringify({ ...own, agent: { name: "other", version: "1" } }),
    };
    expect(await json(files)).toMatchObject({ agent: "own" });
    expect(await json(files, { profile: "q.json" })).toMatchObject({ agent: "other" });
  });

  it("plays a trace, and says what is missing in it", async () => {
    const lines = Array.from(
      { length: 500 },
      (_, index) => `${index * 2000},${index % 9 ? 7000 : ""}`,
    );
    const files = {
      "s.yaml": "arrivals: { process: trace, trace: t.csv }\n",
      "t.csv": ["atMs,durationMs", ...lines].join("\n"),
    };
    const result = await json(files);
    expect(result.all.turns).toBe(500);
    expect(result.durationMs).toBe(998_001);
    expect(result.offeredErlang).toBeCloseTo(3.6, 1);
    expect(result.notes).toContain("t.csv: 56 lines lack a duration; drawn by chance for those");
  });

  it("writes a page that needs nothing else", async () => {
    const { code, stdout } = await simulated(
      { "s.yaml": BUSY },
      { format: "html", output: "f.html" },
    );
    expect([code, stdout]).toEqual([0, "Written to f.html\n"]);
    const page = await readFile(join(folder, "f.html"), "utf8");
    expect(page).toMatch(/^<!doctype html>/u);
    expect(page.match(/<svg /gu)).toHaveLength(5);
    expect(page).not.toMatch(/<script|href=|src=|url\(/u);
    expect(page).not.toContain("NaN");
    for (const text of ["prefers-color-scheme: dark", "time, minutes", "load line"]) {
      expect(page).toContain(text);
    }
  });

  it("is Markdown for a page of others", async () => {
    const { stdout } = await simulated({ "s.yaml": BUSY }, { format: "markdown" });
    expect(stdout).toContain("- shed, of attempts: ");
    expect(stdout).not.toContain("NaN");
  });
});

describe("what does not fit", () => {
  const RATE = "arrivals: { rate: 2/s }\n";

  it.each([
    [
      "nothing",
      "",
      "s.yaml:1:1 error: the file is empty\n   1 |\n     | ^\n  See docs/ for what belongs here\n",
    ],
    [
      "a key that is not known",
      `${RATE}replica: { count: 3 }\n`,
      "s.yaml:2:1 error: replica is not a key that is known here\n   2 | replica: { count: 3 }\n     | ^\n  Did you mean `replicas`?\n",
    ],
    [
      "a rate without a unit",
      "arrivals: { rate: 2 }\n",
      "s.yaml:1:19 error: arrivals.rate needs a rate with a unit: got 2\n   1 | arrivals: { rate: 2 }\n     |                   ^\n  Write for example `2/s`, `90/min` or `5000/h`\n",
    ],
    [
      "nobody who comes",
      "arrivals: { rate: 0/s }\n",
      's.yaml:1:19 error: arrivals.rate needs a rate above 0 and up to 1000000/s: got "0/s"\n   1 | arrivals: { rate: 0/s }\n     |                   ^\n',
    ],
    [
      "too few to tell anything",
      "arrivals: { rate: 3/h }\n",
      "s.yaml:1:19 error: arrivals.rate brings about 3 turns: needs 20 to tell anything\n   1 | arrivals: { rate: 3/h }\n     |                   ^\n  Make `duration` longer, or check the unit\n",
    ],
    [
      "more than anybody wants to wait for",
      "arrivals: { rate: 90000/s }\n",
      "s.yaml:1:19 error: arrivals.rate brings about 324,000,000 turns, more than `limits.turns` (2,000,000)\n   1 | arrivals: { rate: 90000/s }\n     |                   ^\n  Shorten `duration`, or raise `limits.turns`\n",
    ],
    [
      "memory without room for a turn",
      `${RATE}replicas: { memory: 256MiB }\n`,
      "s.yaml:2:21 error: replicas.memory has no room for a turn of this agent: the least is 400 MiB\n   2 | replicas: { memory: 256MiB }\n     |                     ^\n  Give it at least as much\n",
    ],
    [
      "units that were mixed up",
      `${RATE}turns: { mean: 8s, p95: 20ms }\n`,
      "s.yaml:2:25 error: turns.p95 is shorter than `turns.mean`\n   2 | turns: { mean: 8s, p95: 20ms }\n     |                         ^\n  Check the units of both\n",
    ],
    [
      "a deploy that cannot go on",
      `${RATE}deploys: [{ at: 1m, surge: 0 }]\n`,
      "s.yaml:2:11 error: deploys[0] needs `surge` or `unavailable` above 0, or no replica can be replaced\n   2 | deploys: [{ at: 1m, surge: 0 }]\n     |           ^\n  Write for example `surge: 1`\n",
    ],
    [
      "a fleet outside the bounds of its autoscaler",
      `${RATE}autoscaler: { min: 5, max: 9 }\n`,
      "s.yaml:1:1 error: replicas.count is not between `autoscaler.min` and `max`: 5 to 9\n   1 | arrivals: { rate: 2/s }\n     | ^\n  Begin with a number between them\n",
    ],
    [
      "a limit that ends it",
      `${RATE}limits: { events: 500 }\n`,
      "s.yaml:2:19 error: limits.events more than 500 events by 79 s\n   2 | limits: { events: 500 }\n     |                   ^\n  Shorten `duration`, ask for less, or raise the limit\n",
    ],
    [
      "a trace that is not named",
      "arrivals: { process: trace }\n",
      "s.yaml:1:11 error: arrivals needs a trace\n   1 | arrivals: { process: trace }\n     |           ^\n  Name the table as `arrivals.trace`\n",
    ],
    [
      "a trace that is not there",
      "arrivals: { process: trace, trace: none.csv }\n",
      "none.csv error: does not exist\n  Correct the path\n",
    ],
  ])("%s", async (_what, text, message) => {
    const { code, stdout, stderr } = await simulated({ "s.yaml": text });
    expect(stderr).toBe(message);
    expect([code, stdout]).toEqual([78, ""]);
  });

  it("names the least memory that works, as the next try shows", async () => {
    const run = async (mib: number) =>
      simulated({ "s.yaml": `${RATE}replicas: { memory: ${mib}MiB }\n` });
    expect((await run(399)).stderr).toContain("the least is 400 MiB");
    expect((await run(400)).code).toBe(0);
  });

  it.each<[string, Partial<SimulateOptions>, string]>([
    [
      "no rate at all",
      {},
      "command line error: arrivals needs a rate\n  Write for example `arrivals: { rate: 2/s }`, or give `--rate 2/s`\n",
    ],
    ["a flag", { replicas: "many" }, "--replicas error: needs a whole number\n"],
    ["a flag beyond its bounds", { replicas: "10001" }, "--replicas error: needs at most 10000\n"],
    [
      "a profile that is not there",
      { profile: "p.json" },
      "p.json error: the profile does not exist\n  Make one: `plimsoll measure agent.yaml`\n",
    ],
    [
      "a place that cannot be written",
      { rate: "2/s", output: "none/f.txt" },
      "none/f.txt error: cannot be written: ENOENT\n  Name a file in a folder that is there and can be written\n",
    ],
  ])("of flags: %s", async (_what, options, message) => {
    const { code, stderr } = await simulated({}, options);
    expect(stderr).toBe(message);
    expect(code).toBe(78);
  });

  it("a profile, with every problem", async () => {
    const files = {
      "p.json": JSON.stringify({ ...TYPICAL_PROFILE, model: 5, plimsollProfile: 9 }),
    };
    const { stderr } = await simulated(files, { rate: "2/s", profile: "p.json" });
    expect(stderr).toMatch(
      /p\.json:1:\d+ error: plimsollProfile needs 1, the version of a profile/u,
    );
    expect(stderr).toMatch(/p\.json:1:\d+ error: model needs text/u);
    const broken = await simulated({ "p.json": "{" }, { rate: "2/s", profile: "p.json" });
    expect(broken.stderr).toMatch(/^p\.json:1:\d+ error: /u);
  });
});
