/**
 * `plimsoll serve`: agents as an HTTP service, until a signal ends it.
 *
 * @module
 */

import { serve, type ListeningServer } from "../server/serve.ts";
import { serverBanner } from "./banner.ts";
import { guardAgainstCrash } from "./crash.ts";
import { EXIT } from "./exit-codes.ts";
import type { Io } from "./io.ts";
import { loadAll, type LoadOptions } from "./load.ts";
import { prettyLog } from "./pretty-log.ts";
import { listenToSignals } from "./signals.ts";
import { packageVersion } from "./version.ts";

export interface ServeCommandOptions extends LoadOptions {
  /** Prints the first screen also where no person seems to look. */
  readonly banner?: boolean;
  /** Writes the log as JSON also where a person looks. */
  readonly jsonLog?: boolean;
}

/** Resolves to the exit code when the server is gone. */
export async function runServe(options: ServeCommandOptions, io: Io): Promise<number> {
  const { config, agents } = await loadAll(options, io);
  const isForPeople = io.isTerminal && options.jsonLog !== true;

  using signals = listenToSignals();
  let server: ListeningServer | undefined;
  using _guard = guardAgainstCrash(io, {
    killNow: () => server?.killNow(),
    log: () => server?.log,
  });
  // Whoever signals twice does not want to wait: what is left is ended at once.
  signals.hurry.addEventListener("abort", () => {
    server?.killNow();
    process.exit(EXIT.interrupted);
  });

  const version = packageVersion();
  const log = isForPeople ? { logDestination: prettyLog(io.stdout, io.color) } : {};
  await serve({ config, agents, version, ...log }, signals, (listening) => {
    server = listening;
    if (options.banner ?? io.isTerminal) {
      const isRehearsalByFlag = options.provider === "rehearsal";
      const facts = { server: listening, config, agents, version, isRehearsalByFlag };
      io.stdout(serverBanner(facts, io.color));
    }
  });
  return EXIT.ok;
}
