/**
 * A database server of a test's own: a child on a loopback port, in a directory of its own, that can
 * be killed and started again in the same place.
 *
 * @module
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";

/** Stops a test from waiting for a server that never comes. */
const STARTS_WITHIN_MS = 40_000;

export interface Service extends AsyncDisposable {
  readonly port: number;
  /** Asks it to end, and waits until it has. */
  stop(): Promise<void>;
  /** Ends it as a crash does; what it has not written is lost. */
  kill(): Promise<void>;
  /** Stops its process, so that it holds its connections and answers nothing; or lets it go on. */
  freeze(isFrozen: boolean): void;
  /** Starts it again after a stop or kill: same port, same data. */
  restart(): Promise<void>;
}

/**
 * Whether the program is there. Where `TEST_SERVICES` is `required` a missing one fails.
 *
 * @param remedy What to install.
 */
export function hasService(program: string, remedy: string): boolean {
  const { error } = spawnSync(program, ["--version"], { stdio: "ignore" });
  if (error === undefined) return true;
  const text = `${program} is not there: install ${remedy}`;
  if (process.env["TEST_SERVICES"] === "required") throw new Error(text);
  console.warn(`Skipped: ${text}`);
  return false;
}

export interface Certificate {
  /** Files. */
  readonly certificate: string;
  readonly key: string;
}

/** One for 127.0.0.1 that only those trust who are told to; needs openssl. */
export function makeCertificate(directory: string): Certificate {
  const [key, certificate] = [join(directory, "key.pem"), join(directory, "certificate.pem")];
  const names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
  const args = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", ...names];
  const { status } = spawnSync("openssl", [...args, "-keyout", key, "-out", certificate]);
  if (status !== 0) throw new Error("openssl made no certificate");
  return { certificate, key };
}

/** Below those that the system gives to whoever asks for any, so that no one else is given it. */
const PORTS = { from: 20_000, to: 32_000 } as const;
const PORT_TRIES = 50;

/** One that nobody listens on now, and that stays free while its server is stopped. */
export async function freePort(host = "127.0.0.1"): Promise<number> {
  for (let tries = 1; ; tries += 1) {
    const port = randomInt(PORTS.from, PORTS.to);
    const server = createServer().listen(port, host);
    try {
      await once(server, "listening");
    } catch (thrown) {
      if (tries < PORT_TRIES) continue;
      throw thrown;
    }
    await once(server.close(), "close");
    return port;
  }
}

export interface Program {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** User to run as; that of this process if absent. */
  readonly uid?: number;
  readonly gid?: number;
  /** What it writes when it takes connections. */
  readonly readyText: string;
}

/** Starts it and waits until it is ready; rejects with what it wrote if it ends before. */
export async function startProgram(program: Program): Promise<ChildProcess> {
  const { command, args, cwd, uid, gid, readyText } = program;
  const child = spawn(command, args, {
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"], LC_ALL: "C" },
    ...(uid !== undefined && { uid }),
    ...(gid !== undefined && { gid }),
  });
  let written = "";
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => child.kill("SIGKILL"), STARTS_WITHIN_MS);
    const look = (text: string): void => {
      if (written.length < 100_000) written += text;
      if (!written.includes(readyText)) return;
      clearTimeout(timer);
      resolve();
    };
    child.stdout.setEncoding("utf8").on("data", look);
    child.stderr.setEncoding("utf8").on("data", look);
    child.once("error", reject);
    child.once("exit", () => {
      clearTimeout(timer);
      reject(new Error(`${command} ended: ${written}`));
    });
  });
  return child;
}

export async function endProgram(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill(signal);
  await exit;
}
