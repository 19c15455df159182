/**
 * `plimsoll deploy` on a folder, as a function.
 *
 * @module
 */

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type DeployOptions, runDeploy } from "../../../src/cli/deploy.ts";
import type { Io } from "../../../src/cli/io.ts";
import { DiagnosticsError, formatDiagnostics } from "../../../src/lib/diagnostics.ts";
import { AppError } from "../../../src/lib/errors.ts";
import { TARGETS } from "../../../src/sizing/deploy/targets.ts";
import { PROFILE } from "../profiles.ts";

export const STORE = { PLIMSOLL_SESSIONS_STORE: "postgres://user:secret@db:5432/sessions" };
export const ANYONE = { PLIMSOLL_AUTH_ALLOW_ANYONE: "true" };

const AGENT = "name: support\ninstructions: Help.\nlimits: { turnTime: 5m }\n";
const WORKLOAD = "profile: support.profile.json\nusers: 2000\nturnsPerUserHour: 6\n";
/** Of the size that all platforms have. */
const SIZES = "sizes: [{ memory: 4GiB, cpus: 2 }]\n";
export const USUAL_FILES = {
  "agent.yaml": AGENT,
  "workload.yaml": WORKLOAD + SIZES,
  "support.profile.json": JSON.stringify(PROFILE),
} as const;
export const USUAL_TEXTS = { AGENT, WORKLOAD, SIZES } as const;

export interface Deployed {
  readonly code: number | null;
  readonly stdout: string;
  readonly problems: string;
}

export async function writeAll(folder: string, files: Readonly<Record<string, string>>) {
  await mkdir(folder, { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
}

export async function deploy(
  folder: string,
  options: Partial<DeployOptions> = {},
  environment: Io["environment"] = { ...STORE, ...ANYONE },
): Promise<Deployed> {
  let stdout = "";
  const io = {
    stdout: (text: string) => void (stdout += text),
    environment,
    workingDirectory: folder,
    color: false,
  } as Io;
  const usual: DeployOptions = {
    agent: join(folder, "agent.yaml"),
    targets: TARGETS,
    image: "registry.example.com/support:1.0.0",
    output: "deploy",
    force: true,
    explain: false,
    check: false,
  };
  try {
    return { code: await runDeploy({ ...usual, ...options }, io), stdout, problems: "" };
  } catch (thrown) {
    if (thrown instanceof DiagnosticsError) {
      return { code: null, stdout, problems: formatDiagnostics(thrown.diagnostics, "text") };
    }
    if (!(thrown instanceof AppError)) throw thrown;
    return { code: null, stdout, problems: thrown.message };
  }
}
