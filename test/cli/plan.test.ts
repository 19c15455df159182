/**
 * Goal: a plan can be read in a terminal of 80 columns, and whatever does not fit in its files is
 * said with place and cure.
 * Method: the command as a function, on files.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type PlanOptions, runPlan } from "../../src/cli/plan.ts";
import { DiagnosticsError, formatDiagnostics } from "../../src/lib/diagnostics.ts";
import { MiB, PROFILE } from "../sizing/profiles.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "plimsoll-plan-"));
});
afterEach(() => rm(folder, { recursive: true }));

/** Turns that differ, and conversations that grow. */
const VARIED = {
  ...PROFILE,
  turn: {
    ...PROFILE.turn,
    peak: { ...PROFILE.turn.peak, deviationBytes: 8 * MiB, mostBytes: 160 * MiB },
    transcriptBytesPerTurn: 8_000,
  },
};
const WORKLOAD = "profile: a.json\nprices: prices.yaml\nusers: 2000\nturnsPerUserHour: 6\n";
const PRICES = "currency: USD\nsource: a list of 2026\ncpuHour: 0.04\ngibHour: 0.005\n";
const FILES = {
  "a.json": JSON.stringify(VARIED),
  "prices.yaml": PRICES,
  "workload.yaml": WORKLOAD,
};

async function plan(
  files: Readonly<Record<string, string>>,
  options: Partial<PlanOptions> = {},
): Promise<{ code: number | null; stdout: string; stderr: string; problems: string }> {
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  let [stdout, stderr] = ["", ""];
  const io = {
    stdout: (text: string) => void (stdout += text),
    stderr: (text: string) => void (stderr += text),
    environment: {},
    workingDirectory: folder,
    color: false,
  };
  try {
    const code = await runPlan({ flags: {}, format: "text", ...options }, io);
    return { code, stdout, stderr, problems: "" };
  } catch (thrown) {
    if (!(thrown instanceof DiagnosticsError)) throw thrown;
    return { code: null, stdout, stderr, problems: formatDiagnostics(thrown.diagnostics, "text") };
  }
}

describe("plimsoll plan", () => {
  it("says what to run, what it costs and what breaks it, in 80 columns", async () => {
    const { code, stdout } = await plan(FILES);
    expect(code).toBe(0);
    expect(stdout).toMatchInlineSnapshot(`
      "A plan for the agent support

      2 replicas of 4 GiB, 4 CPUs for $0.36 an hour: 0.31 % of the attempts are shed
      in the busiest hour, the target is 1 %.

      What is asked

        traffic        2,000 users × 6 turns an hour × 10s
                       = 33.3 turns in flight on average, if none were shed
        conversations  10 turns each
        balancing      at random over the replicas
        profile        of 2026-11-29, model rehearsal
                       Plimsoll 0.1.0, Agent SDK 0.3.330
        prices         a list of 2026

      Sizes that can do it, the cheapest first

        replica         turns   binds  replicas    shed  busy  an hour
        4 GiB, 4 CPUs      28  memory         2  0.31 %  59 %    $0.36
        8 GiB, 4 CPUs      28     CPU         2  0.31 %  59 %    $0.40
        16 GiB, 4 CPUs     28     CPU         2  0.31 %  59 %    $0.48
        4 GiB, 2 CPUs      14     CPU         5  0.50 %  47 %    $0.50
        2 GiB, 2 CPUs      13  memory         6  0.30 %  43 %    $0.54
        8 GiB, 2 CPUs      14     CPU         5  0.50 %  47 %    $0.60
        2 GiB, 1 CPU        7     CPU        14  0.80 %  34 %    $0.70
        16 GiB, 2 CPUs     14     CPU         5  0.50 %  47 %    $0.80
        4 GiB, 1 CPU        7     CPU        14  0.80 %  34 %    $0.84
        8 GiB, 1 CPU        7     CPU        14  0.80 %  34 %    $1.12
        1 GiB, 1 CPU        5  memory        25  0.93 %  26 %    $1.13

      What breaks first, as users grow

      Each for itself, the others being enough: memory and CPU of these replicas hold
      the target up to so many users.

      The limit of the model is not in this: \`modelRequests\` and \`modelTokens\` of the
      workload tell it.

        what    users  of the plan
        memory  2,236       1.12 ×
        CPU     2,236       1.12 ×

      What the same replicas shed

        with                                            shed
        one replica lost, or being deployed             24 %
        one replica more                            < 0.01 %
        one size smaller (4 GiB, 2 CPUs)                27 %
        half as many users again                       8.3 %
        twice the users                                 24 %
        turns that last twice as long                   24 %
        conversations twice as long                   0.31 %
        four of five refused callers retry at once    0.32 %

      What fills a replica

      It carries 28 turns: memory binds, its CPUs would carry 28. Below its load line
      at 3,952 MiB are 100 MiB for the server and idle sessions, 128 MiB for each
      turn, and a pool for those that hold more.
      "
    `);
    expect(Math.max(...stdout.split("\n").map(({ length }) => length))).toBeLessThanOrEqual(80);
  });

  it("says the same as Markdown and as JSON", async () => {
    const markdown = await plan(FILES, { format: "markdown" });
    expect(markdown.stdout).toContain(
      "| replica | turns | binds | replicas | shed | busy | an hour |",
    );
    const json: unknown = JSON.parse((await plan(FILES, { format: "json" })).stdout);
    expect(json).toMatchObject({ advised: { shedRatio: expect.any(Number) }, profile: VARIED });
    const html = (await plan(FILES, { format: "html" })).stdout;
    expect(html).toContain("<td>4\u00a0GiB, 4\u00a0CPUs</td>");
  });

  it("takes flags over the file, and does without one", async () => {
    const { "workload.yaml": _, ...beside } = FILES;
    const flags = { profile: "a.json", users: "4000", turnsPerUserHour: "6", shedTarget: "0.1%" };
    const alone = await plan(beside, { flags });
    expect(alone.stdout).toContain("4,000 users × 6 turns an hour");
    expect(alone.stdout).toContain("the target is 0.1 %");
    expect(alone.stdout).not.toContain("an hour\n");
    const over = await plan(FILES, { flags: { users: "50" } });
    expect(over.stdout).toContain("50 users × 6 turns an hour");
  });

  it("plans for the busiest part of a trace", async () => {
    // One a second for half an hour, and three a second for ten minutes in it.
    const times = Array.from({ length: 1_800 }, (_, second) =>
      second >= 600 && second < 1_200
        ? [0, 333, 666].map((ms) => second * 1000 + ms)
        : [second * 1000],
    ).flat();
    const trace = ["atMs,durationMs", ...times.map((atMs) => `${atMs},8000`)].join("\n");
    const workload = "profile: a.json\nusers: 900\ntrace: t.csv\n";
    const { stdout } = await plan({ ...FILES, "t.csv": trace, "workload.yaml": workload });
    expect(stdout).toContain("900 users × 12 turns an hour × 8s");
    expect(stdout).toContain("busiest part of the trace: 1,801 turns from 10m on");
    expect(stdout).toContain("= 24 turns in flight on average");
  });

  it("says where a trace is damaged, and that it stands in place of a rate", async () => {
    const files = {
      ...FILES,
      "t.csv": "atMs\n5\n3\n",
      "workload.yaml": "profile: a.json\nusers: 9\ntrace: t.csv\n",
    };
    expect((await plan(files)).problems).toContain("t.csv:3:1 error: is earlier than line 2");
    const both = { ...FILES, "workload.yaml": `${WORKLOAD}trace: t.csv\n` };
    expect((await plan(both)).problems).toContain("needs a number, or else a `trace`");
  });

  it("says in every form that the profile is of another version of the SDK", async () => {
    const versions = { ...VARIED.versions, sdk: "0.0.1" };
    const files = { ...FILES, "a.json": JSON.stringify({ ...VARIED, versions }) };
    for (const format of ["text", "markdown", "json", "html"] as const) {
      const { code, stdout } = await plan(files, { format });
      expect(code).toBe(0);
      const words = stdout.replaceAll(/\s+/g, " ");
      expect(words).toContain("measured with version 0.0.1 of the Agent SDK, installed is");
    }
  });

  it("says what a trace does not, unless it is said beside it", async () => {
    const workload = "profile: a.json\nusers: 900\ntrace: t.csv\n";
    const files = {
      ...FILES,
      "t.csv": "atMs,durationMs\n0,8000\n60000,\n",
      "workload.yaml": workload,
    };
    const words = async (options: Partial<PlanOptions> = {}) =>
      (await plan(files, options)).stdout.replaceAll(/\s+/g, " ");
    expect(await words()).toContain(
      "t.csv: 1 lines lack a duration; they are taken to last as long",
    );
    expect(await words()).toContain("The trace lasts 1m, less than its window of 10m");
    const said = await words({ flags: { turnDuration: "9s", traceWindow: "1m" } });
    expect(said).not.toContain("Mind:");
    expect(said).toContain("turns an hour × 9s");
  });

  it("takes a trace by flag in place of what the file says, and the other way", async () => {
    const times = Array.from({ length: 600 }, (_, second) => `${second * 1000},8000`);
    const files = { ...FILES, "t.csv": ["atMs,durationMs", ...times].join("\n") };
    const withDuration = { ...files, "workload.yaml": `${WORKLOAD}turnDuration: 20s\n` };
    const traced = await plan(withDuration, { flags: { trace: "t.csv", users: "3600" } });
    expect(traced.stdout).toContain("3,600 users × 1 turns an hour × 8s");
    const ofTrace = "profile: a.json\nusers: 900\ntrace: t.csv\n";
    const rated = { ...files, "workload.yaml": ofTrace };
    const flags = { turnsPerUserHour: "6" };
    expect((await plan(rated, { flags })).stdout).toContain("900 users × 6 turns an hour");
    const both = await plan(files, { flags: { trace: "t.csv", turnsPerUserHour: "6" } });
    expect(both.problems).toContain("Give one of the two");
  });

  it("ends with 78 where no size can do it, and says why", async () => {
    const sizes = "sizes: [{ memory: 300MiB, cpus: 1 }]\n";
    const { code, stdout } = await plan({ ...FILES, "workload.yaml": WORKLOAD + sizes });
    expect(code).toBe(78);
    expect(stdout).toContain("No size of replica can do this.");
    expect(stdout).toContain(
      "300 MiB, 1 CPU: not even one turn fits below its load line: the least is 426",
    );
  });
});

describe("a workload that does not fit", () => {
  it.each([
    ["an unknown key", "turnPerUserHour: 3\n", "Did you mean `turnsPerUserHour`?"],
    ["no arrivals", "users: 0\n", "needs more than 0"],
    ["absurd ones", "users: 1e12\n", "needs at most 10000000000"],
    ["an impossible target", "shedTarget: 0%\n", "needs a percentage from 0.0001% to 50%"],
    ["a ratio for a percentage", "shedTarget: 0.01\n", "Write for example `1%` or `0.5%`"],
    ["a size without a unit", "sizes: [{ memory: 2, cpus: 1 }]\n", "needs a size with a unit"],
    ["no CPUs", "sizes: [{ memory: 2GiB, cpus: 0 }]\n", "needs more than 0"],
    [
      "some sizes without a price",
      "sizes: [{ memory: 2GiB, cpus: 1, hourly: 1 }, { memory: 4GiB, cpus: 1 }]\n",
      "Give each size its `hourly`",
    ],
  ])("%s", async (_, lines, said) => {
    const keys = lines.split(":")[0] ?? "";
    const kept = WORKLOAD.split("\n").filter((line) => !line.startsWith(`${keys}:`));
    const text = kept.filter((line) => !line.startsWith("prices")).join("\n") + lines;
    const { code, problems } = await plan({ ...FILES, "workload.yaml": text });
    expect(code).toBeNull();
    expect(problems).toContain("workload.yaml");
    expect(problems).toContain(said);
  });

  it.each(["2GiB", "2Gi", "2G", "2048M", "2048MiB"])("takes %s for a size", async (memory) => {
    const sizes = `sizes: [{ memory: ${memory}, cpus: 1 }]\n`;
    expect((await plan({ ...FILES, "workload.yaml": WORKLOAD + sizes })).code).toBe(0);
  });

  it("says what is missing, as flags where there is no file", async () => {
    const { problems } = await plan({}, { flags: { users: "many" } });
    expect(problems).toContain("--users error: needs a number: got `many`");
    expect(problems).toContain("--profile error: is missing");
    expect(problems).toContain("--turns-per-user-hour error: is missing");
  });

  it("names sizes as they were written, so that they can be written again", async () => {
    const sizes = "sizes: [{ memory: 2G, cpus: 2 }, { memory: 2048M, cpus: 2 }]\n";
    const { stdout } = await plan({ ...FILES, "workload.yaml": WORKLOAD + sizes });
    expect(stdout).toContain("2 GB, 2 CPUs");
    expect(stdout).toContain("2048 MB, 2 CPUs");
  });
});

describe("the limit of the model", () => {
  it("stands beside memory and CPU, in the order in which they give way", async () => {
    // Three requests a turn: 20,000 turns an hour of 12,000 that are asked for.
    const model = "modelRequests: 1000/min\nrequestsPerTurn: 3\n";
    const { code, stdout } = await plan({ ...FILES, "workload.yaml": WORKLOAD + model });
    expect(code).toBe(0);
    expect(stdout).toContain("takes 20,000 turns an hour, by its limit of requests");
    const rows = [...stdout.matchAll(/^ {2}(memory|CPU|the model) .*×$/gm)];
    expect(rows.map(([, what]) => what)).toEqual(["memory", "CPU", "the model"]);
    expect(stdout).toContain("the model  3,333       1.67 ×");
    expect(stdout).not.toContain("The limit of the model is not in this");
  });

  it("is the smaller of requests and tokens, and cannot be passed by any number of replicas", async () => {
    const model = "modelRequests: 9000/min\nmodelTokens: 1000000/min\ntokensPerTurn: 10000\n";
    const { code, stdout } = await plan({ ...FILES, "workload.yaml": WORKLOAD + model });
    expect(code).toBe(78);
    expect(stdout.replaceAll("\n", " ")).toContain(
      "No number of replicas can do this: by its limit of tokens the model takes 6,000 turns an " +
        "hour, and 12,000 are asked for.",
    );
  });

  it("needs to know what a turn takes of it", async () => {
    const workload = `${WORKLOAD}modelTokens: 1000000/min\n`;
    const { problems } = await plan({ ...FILES, "workload.yaml": workload });
    expect(problems).toContain("tokensPerTurn");
    expect(problems).toContain("Say how many a turn takes");
    const rate = await plan(FILES, { flags: { modelRequests: "4000" } });
    expect(rate.problems).toContain("--model-requests error: needs a rate with a unit: got `4000`");
  });

  it("says all that is wrong with profile and prices at once", async () => {
    const { problems } = await plan({
      ...FILES,
      "a.json": JSON.stringify({ ...VARIED, plimsollProfile: 7 }),
      "prices.yaml": "currency: USD\ncpuHour: cheap\ngibHour: 1\n",
    });
    expect(problems).toContain("a.json:1:");
    expect(problems).toContain("Measure the agent again");
    expect(problems).toContain("prices.yaml:2:10");
    const missing = await plan({ "workload.yaml": WORKLOAD, "a.json": "", "prices.yaml": PRICES });
    expect(missing.problems).toContain("a.json");
  });
});
