/**
 * `plimsoll serve`: agents as an HTTP service, until a signal ends it.
 *
 * @module
 */

import type { ModelProvider } from "../agent/definition.ts";
import { loadAgents } from "../agent/load.ts";
import { loadConfig } from "../config/load.ts";
import { serve, type ListeningServer } from "../server/serve.ts";
import { serverBanner } from "./banner.ts";
import type { Io } from "./io.ts";
import { listenToSignals } from "./signals.ts";
import { packageVersion } from "./version.ts";

export interface ServeCommandOptions {
  /** An agent file, or a folder of them. */
  readonly path: string;
  readonly serverFile?: string;
  /** Dotted settings. */
  readonly flags: Readonly<Record<string, string | undefined>>;
  readonly provider?: ModelProvider;
  readonly modelId?: string;
  /** Prints the first screen also where no person seems to look. */
  readonly banner?: boolean;
}

/** Resolves to the exit code when the server is gone. */
export async function runServe(options: ServeCommandOptions, io: Io): Promise<number> {
  const { environment, workingDirectory } = io;
  const { path, serverFile, flags, provider, modelId } = options;
  const { config } = await loadConfig({
    ...(serverFile !== undefined && { file: serverFile }),
    flags,
    environment,
    workingDirectory,
  });
  const agents = await loadAgents(path, environment, {
    ...(provider !== undefined && { provider }),
    ...(modelId !== undefined && { modelId }),
  });

  using signals = listenToSignals();
  let server: ListeningServer | undefined;
  // Whoever signals twice does not want to wait: what is left is ended at once.
  signals.hurry.addEventListener("abort", () => {
    server?.killNow();
    process.exit(130);
  });
  const onCrash = (error: unknown) => {
    server?.killNow();
    io.stderr(`plimsoll: internal: ${String(error instanceof Error ? error.stack : error)}\n`);
    process.exit(70);
  };
  process.once("uncaughtException", onCrash);

  const version = packageVersion();
  await serve({ config, agents, version }, signals, (listening) => {
    server = listening;
    if (options.banner ?? io.isTerminal) {
      io.stdout(serverBanner({ server: listening, config, agents, version }, io.color));
    }
  });
  process.off("uncaughtException", onCrash);
  return 0;
}
