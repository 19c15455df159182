/**
 * How many turns a replica carries at once when it is offered more than it can, beginning with
 * nothing learned; how many the machine could have carried; and what that is worth in traffic.
 *
 * @module
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { carryPage } from "./carry-page.ts";
import { trafficAt } from "../src/sizing/erlang.ts";
import {
  AGENT,
  failureOf,
  heldOver,
  runOffer,
  SAMPLE_MS,
  SCRIPT,
  SHED_RATIO,
  type Carried,
  type Limit,
  type OfferInput,
  type Place,
  type Probe,
  type Run,
} from "./carry-run.ts";
import { scratchDirectory, startModel } from "./processes.ts";
import { makeReplicaImage } from "./replica-image.ts";
import { POLICIES, ungated } from "./replica.ts";
import { atLeast, type Benchmark, type Claim, type Size } from "./result.ts";
import { median } from "./statistics.ts";
import { sampled, type Offered } from "./turn-load.ts";

const GIB = 2 ** 30;
interface Plan {
  readonly limits: readonly Limit[];
  readonly measuredMs: number;
  /** From when on what is held counts. */
  readonly settledMs: number;
  readonly formulaMs: number;
  readonly restartMs: number;
  readonly restartSettledMs: number;
  readonly probeMs: number;
  readonly maxProbes: number;
}

const ONE: Limit = { limitBytes: GIB, target: 4, formula: 1 };
const PLANS: Readonly<Record<Size, Plan>> = {
  full: {
    limits: [
      ONE,
      { limitBytes: 2 * GIB, target: 12, formula: 3 },
      { limitBytes: 4 * GIB, target: 20, formula: 7 },
    ],
    measuredMs: 300_000,
    settledMs: 90_000,
    formulaMs: 40_000,
    restartMs: 60_000,
    restartSettledMs: 15_000,
    probeMs: 35_000,
    maxProbes: 6,
  },
  small: {
    limits: [{ ...ONE, target: 2 }],
    measuredMs: 45_000,
    settledMs: 25_000,
    formulaMs: 12_000,
    restartMs: 20_000,
    restartSettledMs: 10_000,
    probeMs: 15_000,
    maxProbes: 1,
  },
};

export const carry: Benchmark = {
  name: "carry",
  summary: "turns carried at once from nothing learned, against what the machine could carry",
  hasSmall: true,
  async run(report, signal, size) {
    const plan = PLANS[size];
    using scratch = scratchDirectory();
    const agentFile = join(scratch.path, "agent.yaml");
    writeFileSync(agentFile, AGENT);
    const image = makeReplicaImage(join(scratch.path, "image"));
    await using model = await startModel(scratch.path, SCRIPT);
    const place = { directory: scratch.path, agentFile, image, model, report, signal };
    const all: Carried[] = [];
    for (const limit of plan.limits) all.push(await carryWithin(limit, plan, place));
    return { claims: claimsOf(all, size), ...carryPage(all) };
  },
};

async function carryWithin(limit: Limit, plan: Plan, place: Place): Promise<Carried> {
  const { report } = place;
  const data = `data-${limit.limitBytes / GIB}`;
  const common = { limit, place };
  const { measuredMs, settledMs, restartMs, restartSettledMs, formulaMs, probeMs } = plan;
  const byMeasure = { ...common, data, args: POLICIES.measured };
  report(`${limit.limitBytes / GIB} GiB, measured, from nothing learned`);
  const measured = await runOffer({ ...byMeasure, durationMs: measuredMs, settledMs });
  report(`  ${describe(measured)}`);
  report("  after a restart");
  const afterRestart = { durationMs: restartMs, settledMs: restartSettledMs };
  const restarted = await runOffer({ ...byMeasure, ...afterRestart });
  report(`  ${describe(restarted)}`);
  report("  by the formula");
  const byFormula = { ...common, data: `${data}-formula`, args: POLICIES.formula };
  const half = { durationMs: formulaMs, settledMs: formulaMs / 2 };
  const formula = await runOffer({ ...byFormula, ...half });
  report(`  ${describe(formula)}`);
  report("  without a gate");
  const probe = (turns: number) => probeAt({ ...common, turns, durationMs: probeMs });
  const found = await findPhysical(measured.held.max, { limit, probe, plan, report });
  return { limit, measured, restarted, formula, ...found };
}

async function probeAt(
  input: Pick<OfferInput, "limit" | "place" | "durationMs"> & { readonly turns: number },
): Promise<Probe> {
  const { turns, durationMs } = input;
  const args = ungated(turns);
  const settledMs = durationMs / 2;
  const data = `ungated-${input.limit.limitBytes / GIB}-${turns}`;
  const run = await runOffer({ ...input, data, args, settledMs, isProbe: true });
  const failure = failureOf(run);
  const seen = sampled(heldOver(run.readings), secondHalf(run));
  // A run that was broken off has no half in which it was steady.
  const reached = failure === null ? median(seen) : Math.max(0, ...seen);
  return { turns, reached, failure };
}

function secondHalf({ beganAtMs, untilMs }: Offered) {
  return { fromMs: (beganAtMs + untilMs) / 2, toMs: untilMs, everyMs: SAMPLE_MS };
}

const MIB = 2 ** 20;
/** Where the search begins: what a server, the text of the programs and a turn are known to take. */
const GUESS = { base: 150 * MIB, turn: 118 * MIB };

interface Search {
  readonly limit: Limit;
  readonly probe: (turns: number) => Promise<Probe>;
  readonly plan: Plan;
  readonly report: (line: string) => void;
}

/** Of the turns allowed, so many are there at the least unless the CPU is what holds them back. */
const THERE_RATIO = 0.85;

/** Steps up or down from a guess, until one more turn is too many. */
async function findPhysical(
  shown: number,
  { limit, probe, plan, report }: Search,
): Promise<Pick<Carried, "probes" | "physical" | "isCpuBound">> {
  const probes: Probe[] = [];
  const guess = Math.floor((limit.limitBytes - GUESS.base) / GUESS.turn);
  let [physical, highest, tooMany] = [shown, shown, Infinity];
  let isCpuBound = false;
  for (let turns = Math.max(guess, shown + 1); probes.length < plan.maxProbes;) {
    const found = await probe(turns);
    const { failure, reached } = found;
    probes.push(found);
    report(`    ${turns}: ${failure ?? "carried"}, ${reached} at once`);
    if (failure !== null) {
      tooMany = turns;
    } else {
      highest = turns;
      physical = Math.max(physical, reached);
    }
    // Turns end as fast as they can be started: more of them cannot be there at once.
    isCpuBound = failure === null && reached < turns * THERE_RATIO;
    if (isCpuBound || tooMany - highest <= 1) break;
    turns = tooMany === Infinity ? turns + 1 : Math.floor((highest + tooMany) / 2);
  }
  return { probes, physical, isCpuBound };
}

function describe(run: Run): string {
  const { held, streaming, endings, sheds, firstTextMs } = run;
  const failure = failureOf(run);
  return (
    `held ${held.median} (${held.min} to ${held.max}), streaming ${streaming.median}, ` +
    `${JSON.stringify(endings)}, shed ` +
    `${JSON.stringify(sheds)}, first text ${Math.round(firstTextMs.median)} ms` +
    (failure === null ? "" : `; ${failure}`)
  );
}

function claimsOf(all: readonly Carried[], size: Size): Claim[] {
  const turns = (value: number) => `${value} turns`;
  const times = (value: number) => `${value.toFixed(2)} times`;
  return all.flatMap(({ limit, measured, restarted, formula, physical, isCpuBound }) => {
    const name = `${limit.limitBytes / GIB} GiB`;
    const held = measured.held.median;
    const settled = PLANS[size].settledMs / 1_000;
    const promised = atLeast(
      `${name}: turns held at once after ${settled} s, median`,
      limit.target,
      held,
      turns,
    );
    const safe = [measured, restarted].map(failureOf).filter((failure) => failure !== null);
    const harmless = {
      claim: `${name}: no kill, no lost turn, no second of livelock, before or after the restart`,
      target: "none",
      measured: safe.length === 0 ? "none" : safe.join("; "),
      holds: safe.length === 0,
    };
    const again = atLeast(
      `${name}: held after a restart, against before`,
      0.9,
      restarted.held.median / held,
      times,
    );
    if (size === "small") return [promised, harmless];
    const bound = isCpuBound ? "the CPU binds" : "the memory binds";
    return [
      orCpuBinds(promised, measured),
      harmless,
      atLeast(
        `${name}: held against the physical limit (${physical} turns; ${bound})`,
        0.75,
        held / physical,
        times,
      ),
      again,
      ...trafficClaim(name, held, formula.held.median, physical),
    ];
  });
}

/** The promise is that, or that the CPU binds and the refusals say so. */
function orCpuBinds(promised: Claim, { sheds }: Run): Claim {
  const { start = 0, memory = 0 } = sheds;
  if (promised.holds || start <= memory) return promised;
  const share = Math.round((start / (start + memory)) * 100);
  return {
    ...promised,
    target: `${promised.target}, or the CPU binds and it says so`,
    measured: `${promised.measured}; the CPU binds: ${share} % of the refusals say so`,
    holds: true,
  };
}

/** Promised of the traffic that the formula carries. */
const TRAFFIC_TIMES = 10;

/** Where the machine could carry that much at all: see the page for where it could not. */
function trafficClaim(name: string, held: number, formula: number, physical: number): Claim[] {
  const times = (turns: number) => trafficAt(turns, SHED_RATIO) / trafficAt(formula, SHED_RATIO);
  if (times(physical) < TRAFFIC_TIMES) return [];
  const claim = `${name}: traffic at 1 % shed, ${held} turns against the formula's ${formula}`;
  return [atLeast(claim, TRAFFIC_TIMES, times(held), (value) => `${value.toFixed(1)} times`)];
}
