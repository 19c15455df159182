/**
 * The hosting patterns under full load: whether processes that are kept stand in a turn's way where
 * memory is short.
 *
 * @module
 */

import { join } from "node:path";
import { writeAgents } from "./agent-files.ts";
import { table } from "./page.ts";
import { metricOf, type RunningModel } from "./processes.ts";
import type { ReplicaImage } from "./replica-image.ts";
import { withReplica } from "./replica.ts";
import { askTurn } from "./turn-client.ts";

const MEBIBYTE = 1024 * 1024;
/**
 * The replica under full load: as many callers as it carries turns when nothing is kept, less a
 * quarter, so that none is shed there for what other turns happen to hold.
 */
const LOAD_LIMIT_BYTES = 2_048 * MEBIBYTE;
const CALLERS = 9;
/** One after the other, before the callers come: what a turn holds is known then. */
const TAUGHT_TURNS = 8;
const BOTH = { plain: "{ pattern: hybrid }", kept: "{ linger: 10m, spares: 2 }" } as const;
export type Side = keyof typeof BOTH;
export const SIDES = Object.keys(BOTH) as readonly Side[];

export interface UnderLoad {
  readonly admitted: number;
  readonly shed: number;
  readonly failed: number;
  readonly evicted: number;
  /** Turns that a resident or a spare took. */
  readonly taken: number;
  readonly mostCommittedBytes: number;
}

export const NOTHING_YET: UnderLoad = {
  admitted: 0,
  shed: 0,
  failed: 0,
  evicted: 0,
  taken: 0,
  mostCommittedBytes: 0,
};

export function added(one: UnderLoad, other: UnderLoad): UnderLoad {
  return {
    admitted: one.admitted + other.admitted,
    shed: one.shed + other.shed,
    failed: one.failed + other.failed,
    evicted: one.evicted + other.evicted,
    taken: one.taken + other.taken,
    mostCommittedBytes: Math.max(one.mostCommittedBytes, other.mostCommittedBytes),
  };
}

const TAKEN =
  /^plimsoll_agent_process_taken_total\{.*plimsoll_agent_process_source="(?:resident|spare)"/u;

interface LoadOptions {
  readonly directory: string;
  readonly image: ReplicaImage;
  readonly model: RunningModel;
  readonly turnsEach: number;
  readonly signal: AbortSignal;
}

/** Callers that each ask for the next turn as soon as their last one has ended. */
export async function loadFully(side: Side, options: LoadOptions): Promise<UnderLoad> {
  const { directory, image, model, turnsEach, signal } = options;
  const replica = {
    limitBytes: LOAD_LIMIT_BYTES,
    image,
    agentFile: writeAgents(join(directory, "agents"), { [side]: BOTH[side] }),
    dataDirectory: join(directory, "data"),
    environment: model.environment,
  };
  return withReplica(replica, async ({ server: { url }, capacity }) => {
    const ask = async (threadId: string) => {
      signal.throwIfAborted();
      const { outcome } = await askTurn({ url, agentName: side, input: "Good evening", threadId });
      return outcome;
    };
    for (let turn = 0; turn < TAUGHT_TURNS; turn += 1) await ask(`taught-${turn}`);
    const outcomes: string[] = [];
    const caller = async (of: number): Promise<void> => {
      // Two turns to a session: half of them begin one, the others go on with it.
      for (let turn = 0; turn < turnsEach; turn += 1) {
        outcomes.push(await ask(`caller-${of}-${Math.floor(turn / 2)}`));
      }
    };
    await Promise.all(Array.from({ length: CALLERS }, (_, of) => caller(of)));
    const count = (outcome: string) => outcomes.filter((each) => each === outcome).length;
    const [admitted, shed] = [count("completed"), count("shed")];
    return {
      admitted,
      shed,
      failed: outcomes.length - admitted - shed,
      evicted: await metricOf(url, /^plimsoll_agent_process_kept_ended.*"evicted"/u),
      taken: await metricOf(url, TAKEN),
      mostCommittedBytes: Math.max(...capacity.map(({ committedBytes }) => committedBytes)),
    };
  });
}

/** What the page says of it. */
export function loadSection(load: Readonly<Record<Side, UnderLoad>>): string[] {
  const row = (name: string, seen: UnderLoad) => {
    const { admitted, shed, failed, taken, evicted, mostCommittedBytes } = seen;
    const committedMib = Math.round(mostCommittedBytes / MEBIBYTE);
    return [name, ...[admitted, shed, failed, taken, evicted, committedMib].map(String)];
  };
  return [
    `${CALLERS} callers on a replica in a memory control group of ${LOAD_LIMIT_BYTES / MEBIBYTE} ` +
      "MiB, each asking as soon as its last turn, of 3 s, has ended; half of the turns begin a " +
      "session. What is kept fills the memory that is left, and goes when a turn needs it.",
    table(
      ["", "completed", "shed", "failed", "on what was kept", "evicted", "most committed, MiB"],
      [row("hybrid", load.plain), row("with `linger` and spares", load.kept)],
    ),
  ];
}
