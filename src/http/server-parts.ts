/**
 * What the HTTP side of a server works with: made and owned by whoever starts the server.
 *
 * @module
 */

import type { Containment } from "../agent-process/containment.ts";
import type { TreeKind } from "../capacity/guard-trees.ts";
import type { TurnGate } from "../capacity/gate.ts";
import type { GateSnapshot } from "../capacity/gate-snapshot.ts";
import type { FootprintDescription } from "../capacity/footprint.ts";
import type { MemoryAccount, MemoryPressure } from "../capacity/memory-pressure.ts";
import type { MemoryUse } from "../capacity/memory-reading.ts";
import type { Config } from "../config/config.ts";
import type { Sessions } from "../session/sessions.ts";
import type { SessionLocks } from "../session/session-locks.ts";
import type { SessionRef } from "../session/session-id.ts";
import type { Sweep } from "../session/session-sweeper.ts";
import type { TranscriptReads } from "../session/transcript-reads.ts";
import type { Telemetry } from "../telemetry/start.ts";
import type { KeptSummary } from "../turn/kept-processes.ts";
import type { LiveTurns } from "../turn/live-turns.ts";
import type { ServedAgent } from "../turn/served-agent.ts";
import type { WarmReason } from "../turn/warm-session.ts";
import type { Authenticator, LoginDoor } from "./auth.ts";
import type { ConsolePage } from "./console/console-page.ts";
import type { Relays } from "./console/relays.ts";
import type { Forwarder } from "./forwarder.ts";
import type { OpenExports } from "./open-exports.ts";

export interface ServerParts {
  readonly config: Config;
  readonly version: string;
  readonly agents: ReadonlyMap<string, ServedAgent>;
  readonly turns: LiveTurns;
  readonly gate: TurnGate;
  readonly sessions: Sessions;
  readonly locks: Pick<SessionLocks, "check">;
  /** Whoever reads a transcript begins here. */
  readonly reads: TranscriptReads;
  readonly exports: OpenExports;
  readonly authenticator: Authenticator;
  /** Where operators log in to the console; null where there is nothing to log in to. */
  readonly door: LoginDoor | null;
  /** Asks the others for what they run; null where replicas do not know of each other. */
  readonly forwarder: Forwarder | null;
  /** Feeds of other replicas. */
  readonly relays: Relays;
  /** What browsers are shown. */
  readonly page: ConsolePage;
  /** Starts a process for the session's next turn, if it can, and says what came of it. */
  readonly warm: (ref: SessionRef) => Promise<WarmReason>;
  /** Deletes the sessions that have to go now, or says which those are. */
  readonly sweep: (isDryRun: boolean) => Promise<Sweep>;
  readonly telemetry: Telemetry;
  readonly readiness: Readiness;
  /** Whether the one session that the replica serves has come; false where it serves many. */
  readonly isBound: () => boolean;
  /** Read anew at each call. */
  readonly capacity: () => CapacityView;
  readonly feed: FeedSource;
}

/** What happens on the replica, as frames of Server-Sent Events. */
export interface FeedSource {
  /**
   * @param gone Lets the reader go when it aborts.
   * @throws {AppError} `too_many_readers`, `draining`.
   */
  follow(gone: AbortSignal): AsyncIterable<string>;
}

/** The answer of `/capacity`. */
export interface CapacityView extends GateSnapshot {
  readonly memory: MemoryUse;
  /** What else the kernel tells of it; nothing is decided on most of it. */
  readonly account: MemoryAccount & MemoryPressure;
  /** Which of the two sets how many turns there can be, as far as is known. */
  readonly binds: "memory" | "cpu" | "maxTurns";
  readonly cpu: CpuView;
  /** What keeps one turn from taking the memory of all. */
  readonly containment: Pick<Containment, "kind" | "text" | "killsAll">;
  /** How short memory is: 0 to 3, -1 while nobody looks; and that in words. */
  readonly guard: { readonly level: number; readonly text: string };
  /** Processes that stay between turns, or were started ahead. */
  readonly kept: KeptSummary;
  /** What turns of each agent are predicted to hold, and from what. */
  readonly footprints: Readonly<Record<string, FootprintDescription>>;
  readonly turns: readonly ProcessView[];
}

/** One agent process with all it started: of a turn, or kept between turns. */
export interface ProcessView {
  /** The id of the turn it was started for, or one of its own. */
  readonly processId: string;
  /** The id of the turn it works for, or did to its end; null while it is kept. */
  readonly turnId: string | null;
  /** Null where nobody watches it. */
  readonly kind: TreeKind | null;
  readonly ageMs: number;
  /** Private memory of the tree; null while nobody has sampled it. */
  readonly bytes: number | null;
  readonly peakBytes: number | null;
  /** What its turn is predicted to hold; null between turns. */
  readonly predictedBytes: number | null;
  /** The most it may hold; null for no limit of its own. */
  readonly ceilingBytes: number | null;
}

export interface CpuView {
  /** CPUs of the replica, possibly a fraction. */
  readonly cpus: number;
  readonly source: string;
  /** CPUs that a turn keeps busy; null until one was measured, as is `turnsThatFit`. */
  readonly perTurn: number | null;
  readonly turnsThatFit: number | null;
  /** Processes that start now, how many may at once, and how many turns wait for that. */
  readonly starting: number;
  readonly startsAtOnce: number;
  readonly startsWaiting: number;
  readonly meanStartMs: number;
}

/** Whether the replica would take a turn, apart from being full. */
export interface Readiness {
  readonly state: "starting" | "ready" | "draining" | "broken";
  /** Why, in words. */
  readonly reason: string;
}

/** Whether clients are to take their next request to another replica. */
export function isLeaving({ readiness }: Pick<ServerParts, "readiness">): boolean {
  return readiness.state === "draining";
}
