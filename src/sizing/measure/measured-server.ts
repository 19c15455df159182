/**
 * The server that is measured: the real `plimsoll serve` as a process of its own, in a control group
 * where one can be made, with a data directory that goes with it. Asked over HTTP as by any caller,
 * looked at in `/proc` as by nobody it knows of; what each turn held it tells itself, in its log.
 *
 * @module
 */

import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ControlGroup } from "../../agent-process/control-group.ts";
import { type CpuTime, readCpuTime } from "../../agent-process/cpu-time.ts";
import { Program } from "../../agent-process/program.ts";
import { makeReplicaGroup } from "../../agent-process/replica-group.ts";
import { lookAtServer, readResidentParts } from "../../agent-process/server-look.ts";
import { sweepStrays } from "../../agent-process/strays.ts";
import type { AgentDefinition } from "../../agent/definition.ts";
import { MemoryMeter } from "../../capacity/memory-reading.ts";
import type { CapacityView } from "../../http/server-parts.ts";
import { MIB } from "../../lib/byte-units.ts";
import { formatBytes } from "../../lib/bytes.ts";
import { AppError } from "../../lib/errors.ts";
import { monotonicMs } from "../../lib/monotonic-clock.ts";
import { dataPathsOf } from "../../session/session-paths.ts";
import { removeTree } from "../../session/remove-tree.ts";
import { type Heap, heapIn } from "./server-heap.ts";
import { askTurn, type AskedTurn } from "./turn-client.ts";

export interface MeasuredServerOptions {
  readonly agent: AgentDefinition;
  /** Begins the command line of our program: Node and its main file. */
  readonly program: readonly string[];
  readonly workingDirectory: string;
  /** Further arguments of `serve`. */
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** The limit of the control group. */
  readonly limitBytes: number;
  /** That the gate goes by where no group can be made; what the system says without it. */
  readonly gateLimitBytes?: number;
  /** Aborts when everything is to end. */
  readonly signal: AbortSignal;
}

/** One look at the server while it works. */
export interface Sample {
  readonly serverBytes: number;
  readonly agentsBytes: number;
  readonly agents: number;
  /** By the group; null without one. */
  readonly usedBytes: number | null;
  /** File pages of the server and of one of its agents: the text of the programs. */
  readonly mappedBytes: number;
}

/** What a start of the server has shown. */
export interface Start {
  /** Most private memory of the process that is started to see whether one can be. */
  readonly peakBytes: number;
  readonly cpuMs: number;
}

/** A turn, and what the server's log says of it. */
export interface LoggedTurn extends AskedTurn {
  /** Null where it is not told. */
  readonly peakBytes: number | null;
}

/** A cold machine, and MCP servers that are slow to start. */
const START_LIMIT_MS = 120_000;
const START_LOOK_PAUSE_MS = 20;
const LOG_LIMIT_MS = 5_000;
const LOG_PAUSE_MS = 5;
/** For turns that run to be cancelled; they are ours alone. */
const STOP_GRACE_MS = 5_000;

/** In a directory of their own. */
const [SERVER_FILE, DATA] = ["plimsoll.yaml", "data"];

const SETTINGS = {
  "listen.host": "127.0.0.1",
  "listen.port": "0",
  // One caller asks for them all; how long starts wait for each other is what is measured.
  "http.streamsPerCaller": "10000",
  "capacity.startWait": "2m",
  // Each turn is to have a process of its own, and to show all that it has used.
  "capacity.maxResidents": "0",
  "drain.grace": "0s",
  "telemetry.logLevel": "info",
};

export class MeasuredServer implements AsyncDisposable {
  readonly dataDirectory: string;
  readonly group: ControlGroup | null;
  readonly start: Start;
  readonly #options: MeasuredServerOptions;
  readonly #directory: string;
  readonly #program: Program;
  readonly #log: ServerLog;
  readonly #meter = new MemoryMeter();

  private constructor(parts: {
    readonly options: MeasuredServerOptions;
    readonly directory: string;
    readonly program: Program;
    readonly group: ControlGroup | null;
    readonly log: ServerLog;
    readonly start: Start;
  }) {
    this.#options = parts.options;
    this.#directory = parts.directory;
    this.dataDirectory = join(parts.directory, DATA);
    this.#program = parts.program;
    this.group = parts.group;
    this.#log = parts.log;
    this.start = parts.start;
  }

  /**
   * Resolves when it takes turns.
   *
   * @throws {AppError} `measure_failed` when it does not come to that; nothing is left then.
   */
  static async open(options: MeasuredServerOptions): Promise<MeasuredServer> {
    const { signal, limitBytes } = options;
    const directory = await mkdtemp(join(tmpdir(), "plimsoll-measure-"));
    const group = await makeReplicaGroup(limitBytes);
    const log = new ServerLog();
    // Nothing of the user's own server file: its store, its keys and its port are not for this.
    await writeFile(join(directory, SERVER_FILE), "{}\n");
    const program = startServer(options, directory, group, log);
    try {
      const start = await untilReady(program, log, signal);
      return new MeasuredServer({ options, directory, program, group, log, start });
    } catch (thrown) {
      await takeAway(program, directory);
      throw thrown;
    }
  }

  get pid(): number {
    return this.#program.pid;
  }

  /** Kills all of it, and does not wait. */
  killNow(): void {
    this.#program.killNow();
  }

  /**
   * @param sessionId To go on with; a new session without it.
   * @throws {AppError} `measure_failed` when the server is gone.
   */
  async ask(input: string, sessionId?: string): Promise<LoggedTurn> {
    const { agent, signal } = this.#options;
    const session = sessionId === undefined ? {} : { sessionId };
    const call = { url: this.#log.url, agentName: agent.name, input, signal, ...session };
    const answer = await askTurn(call).catch((thrown: unknown) => this.#broken(thrown));
    return { ...answer, peakBytes: await this.#log.peakOf(answer.turnId) };
  }

  async capacity(): Promise<CapacityView> {
    return this.#get<CapacityView>("/capacity");
  }

  /** What its memory is for, by its metrics; null where they do not say. */
  async heap(): Promise<Heap | null> {
    const { signal } = this.#options;
    const response = await fetch(`${this.#log.url}/metrics`, { signal }).catch(() => null);
    return response?.ok === true ? heapIn(await response.text()) : null;
  }

  /** Has the server read what is kept of its sessions, the newest first. */
  async listSessions(count: number): Promise<void> {
    const page = 100;
    let cursor = "";
    for (let listed = 0; listed < count; listed += page) {
      const { nextCursor = null } = await this.#get<{ readonly nextCursor?: string | null }>(
        `/v1/sessions?limit=${page}${cursor}`,
      );
      if (nextCursor === null) return;
      cursor = `&cursor=${encodeURIComponent(nextCursor)}`;
    }
  }

  cpu(): CpuTime {
    return readCpuTime(this.pid) ?? { ownMs: 0, endedMs: 0 };
  }

  parts() {
    return readResidentParts(this.pid) ?? { anonymousBytes: 0, fileBytes: 0, sharedBytes: 0 };
  }

  look(): Sample {
    const { serverBytes, agentsBytes, agents, agentFileBytes } = lookAtServer(this.pid) ?? NOTHING;
    // By the processes: to the group are charged only the pages that it was the first to read.
    const mappedBytes = this.parts().fileBytes + agentFileBytes;
    return { serverBytes, agentsBytes, agents, usedBytes: this.#usedBytes(), mappedBytes };
  }

  /** What it is like until the work is done. */
  async lookWhile<Result>(
    work: Promise<Result>,
    pauseMs: number,
  ): Promise<{ readonly result: Result; readonly samples: readonly Sample[] }> {
    const samples: Sample[] = [];
    const done = new AbortController();
    const ended = work.finally(() => done.abort());
    ended.catch(() => undefined);
    while (!done.signal.aborted) {
      samples.push(this.look());
      await delay(pauseMs, undefined, { signal: done.signal }).catch(() => undefined);
    }
    return { result: await ended, samples };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await takeAway(this.#program, this.#directory);
  }

  #usedBytes(): number | null {
    const { group } = this;
    if (group === null) return null;
    const { version, directory } = group;
    const limit = { kind: version, group: { version, directory } };
    return this.#meter.read({ ...limit, bytes: this.#options.limitBytes }).bytes;
  }

  async #get<Body>(path: string): Promise<Body> {
    const { signal } = this.#options;
    const asked = fetch(this.#log.url + path, { signal });
    const response = await asked.catch((thrown: unknown) => this.#broken(thrown));
    return (await response.json()) as Body;
  }

  /** What broke may be the end of all, by a signal. */
  #broken(cause: unknown): never {
    this.#options.signal.throwIfAborted();
    const { exit } = this.#program;
    const how = exit === null ? "does not answer" : endOf(this.#program);
    throw new AppError("measure_failed", `Cannot measure: the server ${how}`, { cause });
  }
}

/** What the setting takes; whether less would do, is told once it is known what a turn needs. */
const LEAST_LIMIT_BYTES = 256 * MIB;

const NOTHING = { serverBytes: 0, agentsBytes: 0, agents: 0, agentFileBytes: 0 };

function startServer(
  options: MeasuredServerOptions,
  directory: string,
  group: ControlGroup | null,
  log: ServerLog,
): Program {
  const { agent, program, args, environment: env, workingDirectory: cwd } = options;
  const [command = "", ...main] = program;
  const settings = Object.entries({
    ...SETTINGS,
    "data.directory": join(directory, DATA),
    ...(group === null &&
      options.gateLimitBytes !== undefined && {
        "capacity.memoryLimit": formatBytes(Math.max(options.gateLimitBytes, LEAST_LIMIT_BYTES)),
      }),
  });
  const sets = settings.flatMap(([name, value]) => ["--set", `${name}=${value}`]);
  const serve = ["serve", agent.file, "--config", join(directory, SERVER_FILE), "--json-log"];
  const onLine = (line: string) => log.hear(line);
  const words = [...main, ...serve, ...sets, ...args];
  return new Program({ command, args: words, cwd, env, group, onLine }, STOP_GRACE_MS);
}

/** The process that the server starts to see whether it can is watched meanwhile. */
async function untilReady(program: Program, log: ServerLog, signal: AbortSignal): Promise<Start> {
  const limitMs = monotonicMs() + START_LIMIT_MS;
  let peakBytes = 0;
  while (!log.isReady) {
    signal.throwIfAborted();
    const state = program.exit !== null ? endOf(program) : (log.problem ?? "");
    if (state !== "" || monotonicMs() > limitMs) {
      const why = state === "" ? "did not become ready in time" : state;
      throw new AppError("measure_failed", `Cannot measure: the server ${why}`);
    }
    peakBytes = Math.max(peakBytes, lookAtServer(program.pid)?.agentsBytes ?? 0);
    await delay(START_LOOK_PAUSE_MS);
  }
  return { peakBytes, cpuMs: readCpuTime(program.pid)?.endedMs ?? 0 };
}

function endOf({ exit, stderrTail }: Program): string {
  const how = exit?.signal ?? `exit code ${exit?.code ?? "unknown"}`;
  const said = stderrTail.trim();
  return `ended (${how})${said === "" ? "" : `:\n${said}`}`;
}

/** Also what left the server's tree: it carries the mark of the data directory. */
async function takeAway(program: Program, directory: string): Promise<void> {
  await program[Symbol.asyncDispose]();
  const file = dataPathsOf(join(directory, DATA)).serverId;
  const serverId = await readFile(file, "utf8").catch(() => "");
  if (serverId.trim() !== "") await sweepStrays(serverId.trim());
  await removeTree(directory);
}

interface LogLine {
  readonly msg?: string;
  readonly url?: string;
  readonly problem?: string;
  readonly turnId?: string;
  readonly outcome?: string;
  readonly peakBytes?: number | null;
}

/** The log of the server as far as it is of use here: where it listens, and what its turns held. */
class ServerLog {
  url = "";
  isReady = false;
  /** Why it cannot take turns, in words. */
  problem: string | null = null;
  readonly #peaks = new Map<string, number | null>();

  hear(text: string): void {
    const line = parsed(text);
    if (line.msg === "Listening") this.url = line.url ?? "";
    else if (line.msg === "Ready for turns") this.isReady = true;
    else if (line.problem !== undefined) this.problem = `cannot start turns: ${line.problem}`;
    if (line.outcome === undefined || line.turnId === undefined) return;
    this.#peaks.set(line.turnId, line.peakBytes ?? null);
  }

  /** The line may come a moment after the stream has ended. */
  async peakOf(turnId: string): Promise<number | null> {
    if (turnId === "") return null;
    const limitMs = monotonicMs() + LOG_LIMIT_MS;
    while (!this.#peaks.has(turnId) && monotonicMs() < limitMs) await delay(LOG_PAUSE_MS);
    const peakBytes = this.#peaks.get(turnId) ?? null;
    this.#peaks.delete(turnId);
    return peakBytes;
  }
}

/** Function tools of others may print what they like. */
function parsed(text: string): LogLine {
  try {
    const line: unknown = JSON.parse(text);
    return typeof line === "object" && line !== null ? line : {};
  } catch {
    return {};
  }
}
