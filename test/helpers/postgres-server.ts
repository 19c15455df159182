/**
 * A PostgreSQL of a test's own, with a password. It refuses to run as root, so root runs it as
 * somebody else.
 *
 * @module
 */

import { type ChildProcess, spawnSync } from "node:child_process";
import { chmod, chown, copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { readdirSync, readlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { until } from "./leaks.ts";
import {
  type Certificate,
  endProgram,
  freePort,
  hasService,
  type Service,
  startProgram,
} from "./service.ts";

const USER = "plimsoll";
const POSTGRES_PASSWORD = "p@ss/w:rd";

export interface PostgresServer extends Service {
  /** With user and password, and without a database: `postgres` is there. */
  readonly url: string;
}

export function hasPostgres(): boolean {
  return hasService(programOf("postgres"), "PostgreSQL (Debian: apt-get install postgresql)");
}

/**
 * @param args Further arguments, e.g. `-c`, `fsync=off`.
 * @param tls It then speaks TLS to those who ask for it.
 */
export async function startPostgres(
  args: readonly string[] = [],
  tls?: Certificate,
): Promise<PostgresServer> {
  const directory = await mkdtemp(join(tmpdir(), "plimsoll-postgres-"));
  const data = join(directory, "data");
  const owner = await giveAway(directory);
  await writeFile(join(directory, "password"), POSTGRES_PASSWORD, { mode: 0o644 });
  const initArgs = ["-D", data, "-U", USER, "--no-sync", "-E", "UTF8", "--locale=C"];
  const authArgs = ["--auth=scram-sha-256", `--pwfile=${join(directory, "password")}`];
  const made = spawnSync(programOf("initdb"), [...initArgs, ...authArgs], {
    cwd: directory,
    encoding: "utf8",
    ...owner,
  });
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stdout}${made.stderr}`);

  const tlsSettings = tls === undefined ? [] : await giveCertificate(directory, tls, owner);
  const port = await freePort();
  const settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=60"];
  settings.push(...tlsSettings);
  const program = {
    command: programOf("postgres"),
    args: ["-D", data, "-p", `${port}`, ...settings.flatMap((text) => ["-c", text]), ...args],
    cwd: directory,
    readyText: "database system is ready to accept connections",
    ...owner,
  };
  let child: ChildProcess = await startProgram(program);
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    await endProgram(child, signal);
    // Its children see that it is gone, and end by themselves.
    await until(() => processesIn(data).length === 0, "the children of PostgreSQL to end", 20_000);
  };
  return {
    port,
    url: `postgres://${USER}:${encodeURIComponent(POSTGRES_PASSWORD)}@127.0.0.1:${port}`,
    // Without waiting for clients.
    stop: () => end("SIGINT"),
    kill: () => end("SIGKILL"),
    freeze(isFrozen) {
      // Its children too: each of them has a connection of its own.
      signalAll(processesIn(data), isFrozen ? "SIGSTOP" : "SIGCONT");
    },
    async restart() {
      child = await startProgram(program);
    },
    async [Symbol.asyncDispose]() {
      signalAll(processesIn(data), "SIGCONT");
      await end("SIGQUIT");
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Debian has the programs in a directory for each version, and not in PATH. */
function programOf(name: string): string {
  const root = "/usr/lib/postgresql";
  try {
    const versions = readdirSync(root).map(Number).filter(Number.isFinite);
    return join(root, `${Math.max(...versions)}`, "bin", name);
  } catch {
    return name;
  }
}

/** @returns Whom to run it as: nobody else unless this is root. */
async function giveAway(directory: string): Promise<{ uid?: number; gid?: number }> {
  if (process.getuid?.() !== 0) return {};
  const idOf = (flag: string): number =>
    Number(spawnSync("id", [flag, "nobody"], { encoding: "utf8" }).stdout);
  const [uid, gid] = [idOf("-u"), idOf("-g")];
  await chown(directory, uid, gid);
  return { uid, gid };
}

/** It takes a key only if it is its own. @returns Settings. */
async function giveCertificate(
  directory: string,
  tls: Certificate,
  { uid, gid }: { uid?: number; gid?: number },
): Promise<string[]> {
  const settings = ["ssl=on"];
  for (const [setting, from] of [
    ["ssl_cert_file", tls.certificate],
    ["ssl_key_file", tls.key],
  ] as const) {
    const file = join(directory, setting);
    await copyFile(from, file);
    await chmod(file, 0o600);
    if (uid !== undefined && gid !== undefined) await chown(file, uid, gid);
    settings.push(`${setting}=${file}`);
  }
  return settings;
}

/** Those that ended meanwhile do not count: each connection has a process, gone when it is closed. */
function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
    }
  }
}

/** All processes of PostgreSQL work in its data directory. */
function processesIn(directory: string): number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 0 && workingDirectoryOf(pid) === directory);
}

function workingDirectoryOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return ""; // It ended meanwhile.
  }
}
