/**
 * What `plimsoll measure` says, put to the test: do two runs agree, and does the replica that it
 * recommends carry as many turns as it says, and not many more?
 *
 * @module
 */

import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Recommended, verdictOf } from "../src/sizing/measure/verdict.ts";
import { type Profile, readProfile } from "../src/sizing/profile.ts";
import { makeCpuQuota } from "./cpu-quota.ts";
import { table } from "./page.ts";
import {
  EXAMPLE_AGENT,
  scratchDirectory,
  spawnProgram,
  startModel,
  type RunningModel,
} from "./processes.ts";
import { makeReplicaImage, type ReplicaImage } from "./replica-image.ts";
import { settings, withReplica } from "./replica.ts";
import { atMost, type Benchmark, type Claim } from "./result.ts";
import { askTurn, type TurnAnswer } from "./turn-client.ts";
import { tally } from "./turn-load.ts";

const MAIN = fileURLToPath(new URL("../build/main.js", import.meta.url));
const GLOSSARY = fileURLToPath(
  new URL("../examples/mcp-stdio/glossary-server.js", import.meta.url),
);
const MIB = 2 ** 20;
const AGREE_RATIO = 0.1;
/** So many more are too many. */
const BEYOND_RATIO = 1.25;

/** Long enough that all turns of a burst are there at once, though they start one after the other. */
const TURN_MS = 20_000;
const TOKENS_PER_SECOND = 40;
const SCRIPT = {
  defaults: { firstTokenMs: 0, tokensPerSecond: TOKENS_PER_SECOND },
  rules: [{ reply: [{ tokens: (TURN_MS / 1_000) * TOKENS_PER_SECOND }] }],
};

const RETRIEVAL = `
// An index as large as those that are kept in memory.
const index = new Float64Array(20 * 2 ** 20).fill(1.5);
export const search = {
  description: "Searches the index",
  input: { type: "object", properties: {} },
  run: () => String(index.length),
};
`;

type Kind = "thin" | "retrieval" | "mcp";

interface Tried {
  readonly agent: Kind;
  readonly profile: Profile;
  readonly recommended: Recommended;
  readonly within: Readonly<Record<string, number>>;
  readonly asked: number;
  readonly beyond: Readonly<Record<string, number>>;
  readonly oomKills: number;
}

export const measure: Benchmark = {
  name: "measure",
  summary: "whether two measurements agree, and replicas carry what `plimsoll measure` says",
  async run(report, signal) {
    using scratch = scratchDirectory();
    const image = makeReplicaImage(join(scratch.path, "image"));
    await using model = await startModel(scratch.path, SCRIPT);
    const files = writeAgents(scratch.path);
    const measured = (agent: Kind, directory: string) => {
      report(`measuring: ${agent}`);
      return runMeasure({ file: files[agent], directory, signal });
    };
    const tried: Tried[] = [];
    // One straight after the other: what the machine is given by its host differs by the hour.
    const again = await measured("thin", join(scratch.path, "again"));
    for (const [agent, file] of Object.entries(files) as [Kind, string][]) {
      const directory = join(scratch.path, agent);
      const profile = await measured(agent, directory);
      tried.push(await tryOut({ agent, file, directory, profile, image, model, report }));
    }
    const first = tried.find(({ agent }) => agent === "thin")?.profile ?? again;
    return {
      claims: [...agreement(first, again), ...tried.flatMap(claimsOf)],
      data: { tried, again },
      sections: sectionsOf(tried),
    };
  },
};

function writeAgents(directory: string): Readonly<Record<Kind, string>> {
  const tool = join(directory, "retrieval.js");
  writeFileSync(tool, RETRIEVAL);
  const retrieval = join(directory, "retrieval.yaml");
  writeFileSync(
    retrieval,
    `name: retrieval\ninstructions: Search.\ntools: { functions: [${tool}] }\n`,
  );
  const servers = ["one", "two", "three"].map(
    (name) => `    ${name}: { type: stdio, command: node, args: [${GLOSSARY}] }`,
  );
  const mcp = join(directory, "mcp.yaml");
  writeFileSync(mcp, `name: mcp\ninstructions: Look up.\ntools:\n  mcp:\n${servers.join("\n")}\n`);
  return { thin: EXAMPLE_AGENT, retrieval, mcp };
}

async function runMeasure(place: {
  readonly file: string;
  readonly directory: string;
  readonly signal: AbortSignal;
}): Promise<Profile> {
  const { file, directory, signal } = place;
  mkdirSync(directory, { recursive: true });
  const output = join(directory, "profile.json");
  const flags = ["--quick", "--output", output, "--data", join(directory, "data")];
  const command = [process.execPath, MAIN, "measure", file, ...flags];
  const child = spawnProgram(command, { stdout: "ignore", environment: {} });
  const stop = () => child.kill("SIGTERM");
  signal.addEventListener("abort", stop);
  const [code] = (await once(child, "exit")) as [number | null];
  signal.removeEventListener("abort", stop);
  signal.throwIfAborted();
  if (code !== 0) throw new Error(`plimsoll measure ended with ${code}`);
  return (await readProfile("profile.json", directory)).profile;
}

async function tryOut(trial: {
  readonly agent: Kind;
  readonly file: string;
  readonly directory: string;
  readonly profile: Profile;
  readonly image: ReplicaImage;
  readonly model: RunningModel;
  readonly report: (line: string) => void;
}): Promise<Tried> {
  const { agent, file, directory, profile, image, model, report } = trial;
  const { recommended } = verdictOf(profile, TURN_MS);
  const { turns, memoryBytes, cpus } = recommended;
  const asked = Math.max(turns + 1, Math.ceil(turns * BEYOND_RATIO));
  await using quota = makeCpuQuota(cpus);
  const options = {
    agentFile: file,
    dataDirectory: join(directory, "data"),
    environment: model.environment,
    limitBytes: memoryBytes,
    quota,
    image,
    // How many the memory carries is asked, not how soon they start.
    args: settings({ "capacity.startWait": "2m" }),
  };
  report(`  ${sizeText(recommended)}: ${turns} turns, then ${asked} at once`);
  const { within, beyond, oomKills } = await withReplica(options, async ({ server }) => ({
    within: endingsOf(await burstOf(server.url, profile.agent.name, turns)),
    beyond: endingsOf(await burstOf(server.url, profile.agent.name, asked)),
  }));
  return { agent, profile, recommended, within, asked, beyond, oomKills: oomKills.length };
}

function sizeText({ memoryBytes, cpus }: Recommended): string {
  return `${memoryBytes / MIB} MiB and ${cpus} ${cpus === 1 ? "CPU" : "CPUs"}`;
}

function burstOf(url: string, agentName: string, turns: number): Promise<TurnAnswer[]> {
  const ask = () => askTurn({ url, agentName, input: "Say something." });
  return Promise.all(Array.from({ length: turns }, ask));
}

function endingsOf(answers: readonly TurnAnswer[]): Readonly<Record<string, number>> {
  return tally(answers.map(({ outcome }) => outcome));
}

function agreement(one: Profile, other: Profile): Claim[] {
  const figures = {
    "memory of a turn, mean": ({ turn }: Profile) => turn.peak.meanBytes,
    "memory of the idle server": ({ server }: Profile) => server.idleBytes,
    "CPU time of a turn": ({ turn }: Profile) => turn.cpuMs,
    "duration of a turn, median": ({ turn }: Profile) => turn.duration.medianMs,
  };
  return Object.entries(figures).map(([what, of]) =>
    atMost(
      `two quick measurements of one agent: ${what} differs by`,
      AGREE_RATIO,
      Math.abs(of(one) / of(other) - 1),
      (ratio) => `${(100 * ratio).toFixed(1)} %`,
    ),
  );
}

function claimsOf({ agent, recommended, within, asked, beyond, oomKills }: Tried): Claim[] {
  const show = (endings: Readonly<Record<string, number>>) =>
    Object.entries(endings)
      .map(([ending, count]) => `${count} ${ending}`)
      .join(", ");
  const { turns } = recommended;
  const all = `${turns} completed, no kill`;
  const completed = within["completed"] ?? 0;
  return [
    {
      claim: `${agent}: as many turns at once as are recommended for ${sizeText(recommended)}`,
      target: all,
      measured: `${show(within)}, ${oomKills} killed by the kernel`,
      holds: completed === turns && oomKills === 0,
    },
    {
      claim: `${agent}: of a quarter more, some are shed`,
      target: `fewer than ${asked} completed`,
      measured: show(beyond),
      holds: (beyond["completed"] ?? 0) < asked,
    },
  ];
}

function sectionsOf(tried: readonly Tried[]): string[] {
  const mib = (bytes: number) => `${Math.round(bytes / MIB)} MiB`;
  return [
    "Each agent is measured with `--quick`. Then the replica that is recommended for turns of " +
      `${TURN_MS / 1_000} s, in a memory group and with a CPU quota of that size and on cold pages, starts from the ` +
      "prior that was saved, and is asked for as many turns at once as it is said to carry; then for a " +
      "quarter more. `thin` is the example agent, `retrieval` keeps an index of 160 MiB in the server, " +
      "`mcp` starts three MCP servers with each turn.",
    table(
      ["agent", "a turn", "idle server", "CPU of a turn", "recommended", "turns", "binds"],
      tried.map(({ agent, profile: { turn, server }, recommended }) => [
        agent,
        mib(turn.peak.meanBytes),
        mib(server.idleBytes),
        `${(turn.cpuMs / 1_000).toFixed(2)} s`,
        sizeText(recommended),
        String(recommended.turns),
        recommended.binds,
      ]),
    ),
  ];
}
