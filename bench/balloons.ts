/**
 * What one turn that takes all memory does to the others: turns stream, one of them balloons, in
 * every way that a turn can, with a control group for each turn and with the guard alone.
 *
 * @module
 */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { balloonScript, KINDS, writeBalloonAgents } from "./balloon-agents.ts";
import {
  ask,
  harmed,
  LIMIT_BYTES,
  runTrial,
  STREAMS,
  wasCarried,
  type Contained,
  type Trial,
  type TrialPlan,
} from "./balloon-trial.ts";
import { balloonsPage } from "./balloons-page.ts";
import { scratchDirectory, startModel, type RunningModel } from "./processes.ts";
import { makeReplicaImage, type ReplicaImage } from "./replica-image.ts";
import { settings, withReplica, type Replica } from "./replica.ts";
import { atMost, type Benchmark, type Claim, type Size } from "./result.ts";

const MIB = 2 ** 20;

const CONTAINMENTS = [
  { label: "a control group for each turn", args: settings({ "agentProcess.ownGroup": "true" }) },
  { label: "the guard alone", args: settings({ "agentProcess.ownGroup": "false" }) },
] as const;

/** For one containment. */
const PLANS: Readonly<Record<Size, readonly TrialPlan[]>> = {
  full: KINDS.flatMap((kind) =>
    Array.from({ length: kind === "bash" ? 25 : 6 }, (_, at) => ({ kind, withHogs: at % 2 === 1 })),
  ),
  small: KINDS.map((kind, at) => ({ kind, withHogs: at % 2 === 1 })),
};

export const balloons: Benchmark = {
  name: "balloons",
  summary: "turns that take all memory, and what the turns beside them feel of it",
  hasSmall: true,
  async run(report, signal, size) {
    using scratch = scratchDirectory();
    const image = makeReplicaImage(join(scratch.path, "image"));
    const plan = PLANS[size];
    const goFile = join(scratch.path, "go");
    const agents = join(scratch.path, "agents");
    mkdirSync(agents);
    writeBalloonAgents(agents, { image, goFile, kinds: plan.map(({ kind }) => kind) });
    await using model = await startModel(scratch.path, balloonScript({ image, goFile }));
    const place = { directory: scratch.path, agents, goFile, image, model, report, signal };
    const all: Contained[] = [];
    for (const { label, args } of CONTAINMENTS) {
      report(label);
      all.push(await runTrials(label, args, plan, place));
    }
    return { claims: claimsOf(all), ...balloonsPage(all) };
  },
};

interface Place {
  readonly directory: string;
  readonly agents: string;
  readonly goFile: string;
  readonly image: ReplicaImage;
  readonly model: RunningModel;
  readonly report: (line: string) => void;
  readonly signal: AbortSignal;
}

async function runTrials(
  label: string,
  args: readonly string[],
  plan: readonly TrialPlan[],
  place: Place,
): Promise<Contained> {
  const { directory, agents, image, model, report, signal } = place;
  const name = label.replaceAll(" ", "-");
  const options = {
    limitBytes: LIMIT_BYTES,
    image,
    agentFile: agents,
    dataDirectory: join(directory, name),
    environment: model.environment,
    args,
    logFile: join(directory, `${name}.log`),
  };
  return withReplica(options, async (replica) => {
    const trials: Trial[] = [];
    await teach(replica);
    for (const [at, each] of plan.entries()) {
      signal.throwIfAborted();
      if (replica.server.exit() !== null) break;
      const trial = await runTrial(each, { at, replica, goFile: place.goFile });
      trials.push(trial);
      report(`  ${describe(trial)}`);
    }
    return { label, trials, serverPid: replica.server.pid };
  });
}

/** Until the streams of a trial fit at once: a replica that knows nothing takes three. */
async function teach({ server }: Replica): Promise<void> {
  for (let taught = 0; taught < 3; taught += 1) {
    const asked = Array.from({ length: STREAMS }, () => ask(server.url, "talker", "talk"));
    await Promise.all(asked);
  }
}

function describe(trial: Trial): string {
  const { kind, withHogs, balloons: grown, headroomMs, peakBytes } = trial;
  const headroom = headroomMs === null ? "not back" : `back in ${Math.round(headroomMs)} ms`;
  const harm = harmed(trial) === 0 ? "" : `, OTHERS ${JSON.stringify(trial.streams)}`;
  const ends = grown.map(({ outcome, toolResults: [result] }) => {
    const [firstLine = ""] = (result?.content ?? "").split("\n");
    return firstLine === "" ? outcome : `${outcome} (${firstLine.slice(0, 60)})`;
  });
  return (
    `${kind}${withHogs ? " with hogs" : ""}: ${ends.join(" and ")}, ` +
    `peak ${Math.round(peakBytes / MIB)} MiB, headroom ${headroom}${harm}`
  );
}

function claimsOf(all: readonly Contained[]): Claim[] {
  const count = (value: number) => String(value);
  return all.flatMap(({ label, trials, exit, oomKills, serverPid }) => {
    const others = trials.reduce((sum, trial) => sum + harmed(trial), 0);
    const ran = trials.length;
    const grown = trials.flatMap((trial) =>
      trial.balloons.map((each) => [trial.kind, each] as const),
    );
    const carried = grown.filter(([kind, each]) => wasCarried(kind, each)).length;
    const late = trials.filter(({ headroomMs }) => headroomMs === null).length;
    const name = label.charAt(0).toUpperCase() + label.slice(1);
    const wasKilled = oomKills.some(({ pid }) => pid === serverPid);
    return [
      atMost(`${name}: turns other than the balloons that did not complete`, 0, others, count),
      {
        claim: `${name}: the replica lives through all trials`,
        target: "no exit",
        measured: exit === null && !wasKilled ? `no exit in ${ran}` : `exit after ${ran}`,
        holds: exit === null && !wasKilled,
      },
      atMost(`${name}: balloons of ${grown.length} that were let go`, 0, carried, count),
      atMost(`${name}: trials after which the headroom was not back in 10 s`, 0, late, count),
    ];
  });
}
