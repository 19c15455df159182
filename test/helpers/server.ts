/**
 * A server to test from outside: real agents, the real `claude`, and a scripted model that the
 * test keeps in its own hand, so that it sees what the model was asked.
 *
 * @module
 */

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

import type { AgentDefinition } from "../../src/agent/definition.ts";
import { loadAgents } from "../../src/agent/load.ts";
import type { TurnGate } from "../../src/capacity/gate.ts";
import { loadConfig } from "../../src/config/load.ts";
import type { CapacityView } from "../../src/http/server-parts.ts";
import { monotonicMs } from "../../src/lib/monotonic-clock.ts";
import { loadRehearsalScript } from "../../src/rehearsal/load-script.ts";
import {
  startRehearsal,
  type Rehearsal,
  type RehearsalRequest,
} from "../../src/rehearsal/server.ts";
import { serve, type ListeningServer } from "../../src/server/serve.ts";
import { removeGroupsOf } from "./control-group.ts";
import { countHandles, handlesBackTo, processesWith, until } from "./leaks.ts";

export interface TestServerOptions {
  /** Rehearsal script as YAML. */
  readonly script: string;
  /** Agent files as YAML; their function tools are beside `test/fixtures/agents`. */
  readonly agents?: readonly string[];
  /** Settings by dotted name. */
  readonly settings?: Readonly<Record<string, string>>;
  /** The server file as YAML. */
  readonly serverFile?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** The program in place of the built one; for a server process only. */
  readonly main?: string;
  /** Begins its command line, e.g. to enter a control group; for a server process only. */
  readonly enter?: readonly string[];
  /** Of an earlier server, to start again on its data; a fresh one without it. */
  readonly directory?: string;
  /** Where the console is; nowhere without it; in this process only. */
  readonly pageDirectory?: URL;
  /** Called when the server has an id and has not yet listened; in this process only. */
  readonly beforeListening?: (serverId: string) => Promise<void>;
  /** Called when the server listens and has not yet said that it is ready; in this process only. */
  readonly whileStarting?: (url: string) => Promise<void>;
  /** Changes what was read from the agent files; in this process only. */
  readonly alter?: (agent: AgentDefinition) => AgentDefinition;
}

export interface TestServer extends AsyncDisposable {
  readonly url: string;
  /** Holds the agent files and, in `data`, the data directory. */
  readonly directory: string;
  readonly model: Rehearsal;
  /** What the model was asked, oldest first. */
  readonly asked: readonly RehearsalRequest[];
  readonly logs: readonly LogLine[];
  capacity(key?: string): Promise<CapacityView>;
  metrics(key?: string): Promise<string>;
  /** Id that every process of the server carries. */
  readonly serverId: string;
  /** Drains the server; the directory stays. Idempotent. */
  stop(): Promise<void>;
}

export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

const FIXTURES = join(import.meta.dirname, "..", "fixtures", "agents");

/** An agent without tools. */
const PLAIN_AGENT = `
name: helper
instructions: You are a test.
`;

export interface InProcessServer extends TestServer {
  readonly gate: TurnGate;
  /** As the second signal does. */
  hurry(): void;
}

/**
 * Starts a server in this process and waits until it takes turns. Disposing stops it, removes its
 * directory, and throws if anything of it is left: a process, a permit or a handle.
 */
export async function startServer(options: TestServerOptions): Promise<InProcessServer> {
  const handles = countHandles();
  const world = await openWorld(options);
  const stop = new AbortController();
  const hurry = new AbortController();
  const { config } = await loadConfig(world.configInput);
  const loaded = await loadAgents(world.agentsPath, world.environment);
  const agents = options.alter === undefined ? loaded : loaded.map(options.alter);
  const logs: LogLine[] = [];
  const logDestination = { write: (line: string) => void logs.push(JSON.parse(line) as LogLine) };

  let listening: ListeningServer | undefined;
  let serverId = "";
  const served = serve(
    { config, agents, version: "0.0.0", logDestination, pageDirectory: pageOf(options, world) },
    { stop: stop.signal, hurry: hurry.signal },
    (server) => {
      listening = server;
    },
  );
  served.catch(() => undefined);
  try {
    const hasId = async () => (serverId = await world.readServerId().catch(() => "")) !== "";
    await Promise.race([served, until(hasId, "the server to have an id")]);
    await options.beforeListening?.(serverId);
    await Promise.race([served, until(() => listening !== undefined, "the server to listen")]);
    if (listening === undefined) throw new Error("The server ended before it listened");
    await options.whileStarting?.(listening.url);
    const problem = await listening.ready;
    if (problem !== null) throw new Error(`The server is not ready: ${problem}`);
  } catch (thrown) {
    await world[Symbol.asyncDispose]();
    throw thrown;
  }
  const { url, gate } = listening;

  const end = async (): Promise<void> => {
    stop.abort();
    await served;
    await world.model[Symbol.asyncDispose]();
  };
  return {
    ...surfaceOf(world, { url, serverId, logs }),
    gate,
    hurry: () => hurry.abort(),
    stop: end,
    async [Symbol.asyncDispose]() {
      await end();
      const { inflight, committedBytes, usedBytes } = gate.snapshot(monotonicMs());
      await world[Symbol.asyncDispose]();
      if (inflight !== 0) throw new Error(`${inflight} permits were never given back`);
      if (committedBytes !== usedBytes) throw new Error("Bytes are committed to no turn");
      await noProcessOf(serverId);
      await handlesBackTo(handles);
    },
  };
}

export interface ServerProcess extends TestServer {
  readonly pid: number;
  readonly exited: Promise<{ readonly code: number | null; readonly signal: string | null }>;
  /** Everything it wrote to its standard error. */
  stderr(): string;
  signal(name: NodeJS.Signals): void;
}

/** Starts the built program, as an operator does, and waits until it takes turns. */
export async function startServerProcess(options: TestServerOptions): Promise<ServerProcess> {
  const world = await openWorld(options);
  const program = await spawnProgram(world, options);
  const { child, exited, logs } = program;
  const listens = () => logs.find(({ msg }) => msg === "Listening")?.["url"] as string | undefined;
  try {
    let hasExited = false;
    void exited.then(() => (hasExited = true));
    const isUp = () => hasExited || listens() !== undefined;
    await until(isUp, "the program to listen", STARTS_WITHIN_MS);
    const url = listens();
    if (url === undefined) throw new Error(`The program ended: ${program.stderr()}`);
    await until(() => takesTurns(url), "the program to be ready", STARTS_WITHIN_MS);
    const serverId = await world.readServerId();
    const end = async (): Promise<void> => {
      if (!hasExited) child.kill("SIGTERM");
      await exited;
      await world.model[Symbol.asyncDispose]();
    };
    return {
      ...surfaceOf(world, { url, serverId, logs }),
      pid: child.pid ?? 0,
      exited,
      stderr: program.stderr,
      signal: (name) => void child.kill(name),
      stop: end,
      async [Symbol.asyncDispose]() {
        await end();
        await world[Symbol.asyncDispose]();
        await noProcessOf(serverId);
        removeGroupsOf(serverId);
      },
    };
  } catch (thrown) {
    child.kill("SIGKILL");
    await world[Symbol.asyncDispose]();
    throw thrown;
  }
}

/** A second or two, but for a machine that is busy with other tests. */
const STARTS_WITHIN_MS = 30_000;

/** Of any session, or of the one that it has. */
async function takesTurns(url: string): Promise<boolean> {
  const { status } = (await (await fetch(`${url}/readyz`)).json()) as { status: string };
  return status === "ready" || status === "bound";
}

/** Runs the built program on a directory that another server may have; resolves when it ends. */
export async function runServerProcess(
  options: TestServerOptions,
): Promise<Pick<Program, "logs"> & { readonly code: number | null; readonly stderr: string }> {
  const world = await openWorld(options);
  const { exited, stderr, logs } = await spawnProgram(world);
  const { code } = await exited;
  await (options.directory === undefined ? world : world.model)[Symbol.asyncDispose]();
  return { code, stderr: stderr(), logs };
}

interface Program {
  readonly child: ChildProcess;
  readonly logs: readonly LogLine[];
  readonly exited: ServerProcess["exited"];
  readonly stderr: () => string;
}

const BUILT = join(import.meta.dirname, "..", "..", "build", "main.js");

async function spawnProgram(
  world: World,
  { main = BUILT, enter = [] }: Pick<TestServerOptions, "main" | "enter"> = {},
): Promise<Program> {
  const { flags, file } = world.configInput;
  const args = [main, "serve", world.agentsPath];
  for (const [name, text] of Object.entries(flags)) args.push("--set", `${name}=${text}`);
  if (file !== undefined) args.push("--config", file);
  const [command = "", ...words] = [...enter, process.execPath, ...args];
  const child = spawn(command, words, {
    cwd: world.directory,
    env: world.environment,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const logs: LogLine[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => {
    logs.push(JSON.parse(line) as LogLine);
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const exited = once(child, "close").then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as string | null,
  }));
  return { child, logs, exited, stderr: () => stderr };
}

/** What a server is started with, and what outlives it. */
interface World extends AsyncDisposable {
  readonly directory: string;
  readonly agentsPath: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly configInput: Parameters<typeof loadConfig>[0];
  readonly model: Rehearsal;
  readonly asked: readonly RehearsalRequest[];
  readServerId(): Promise<string>;
}

async function openWorld(options: TestServerOptions): Promise<World> {
  const { settings = {}, serverFile, agents = [PLAIN_AGENT] } = options;
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), "plimsoll-")));
  const agentsPath = join(directory, "agents");
  await mkdir(agentsPath, { recursive: true });
  for (const [index, text] of agents.entries()) {
    await writeFile(join(agentsPath, `${index}.yaml`), text.replaceAll("$FIXTURES", FIXTURES));
  }
  const scriptFile = join(directory, "script.yaml");
  await writeFile(scriptFile, options.script);
  const file = join(directory, "server.yaml");
  if (serverFile !== undefined) await writeFile(file, serverFile);

  const asked: RehearsalRequest[] = [];
  const script = await loadRehearsalScript(scriptFile, {});
  const model = await startRehearsal({ script, onRequest: (request) => void asked.push(request) });
  const environment = {
    PATH: process.env["PATH"] ?? "",
    ANTHROPIC_BASE_URL: model.url,
    ANTHROPIC_API_KEY: "sk-ant-e2e-0123456789",
    ...options.environment,
  };
  const flags = {
    "listen.port": "0",
    "data.directory": join(directory, "data"),
    // How many starts a CPU is good for is a matter of one test, not of the machine of all.
    "capacity.startWait": "1m",
    ...settings,
  };
  return {
    directory,
    agentsPath,
    environment,
    configInput: {
      flags,
      environment,
      workingDirectory: directory,
      ...(serverFile !== undefined && { file }),
    },
    model,
    asked,
    readServerId: async () => (await readFile(join(directory, "data", "server-id"), "utf8")).trim(),
    async [Symbol.asyncDispose]() {
      await model[Symbol.asyncDispose]();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** What was built on this machine is the matter of other tests. */
function pageOf({ pageDirectory }: TestServerOptions, { directory }: World): URL {
  return pageDirectory ?? pathToFileURL(`${join(directory, "no-page")}/`);
}

function surfaceOf(
  { directory, model, asked }: World,
  server: { readonly url: string; readonly serverId: string; readonly logs: readonly LogLine[] },
) {
  const get = (path: string, key?: string) =>
    fetch(
      server.url + path,
      key === undefined ? {} : { headers: { authorization: `Bearer ${key}` } },
    );
  return {
    ...server,
    directory,
    model,
    asked,
    capacity: async (key?: string) => (await (await get("/capacity", key)).json()) as CapacityView,
    metrics: async (key?: string) => (await get("/metrics", key)).text(),
  };
}

/** Waits a little: a process that was killed is gone when the kernel has had its turn. */
async function noProcessOf(serverId: string): Promise<void> {
  const left = () => processesWith("PLIMSOLL_SERVER_ID", serverId);
  await until(() => left().length === 0, `no process of server ${serverId}`);
}
