/**
 * What the console of a server works with: its page, and its logins, which the data directory keeps:
 * who has logged in has not to do it again because the server was started anew.
 *
 * @module
 */

import { join } from "node:path";
import type { Config } from "../config/config.ts";
import { Authenticator, type LoginDoor } from "../http/auth.ts";
import { ConsolePage, PAGE_DIRECTORY } from "../http/console/console-page.ts";
import { LoginCookie } from "../http/console/login-cookie.ts";
import { Logins } from "../http/console/logins.ts";
import { Relays } from "../http/console/relays.ts";
import type { ServerParts } from "../http/server-parts.ts";
import { MIB } from "../lib/byte-units.ts";
import { readTextFile } from "../lib/text-file.ts";
import type { DataDirectory } from "../session/data-directory.ts";
import { writeDurably } from "../session/durable-file.ts";
import { storing } from "../session/storage-errors.ts";
import type { Logger } from "../telemetry/log.ts";

/** In the data directory; nobody but the server's user can read it. */
const LOGINS_FILE = "logins.json";
/** 150 bytes a login. */
const MAX_LOGINS_BYTES = MIB;

interface ConsoleDeps {
  readonly config: Pick<Config, "auth" | "console">;
  readonly data: Pick<DataDirectory, "path" | "serverId">;
  readonly log: Pick<Logger, "warn">;
  /** Where the page was built; the place of this package without it. */
  readonly pageDirectory?: URL;
}

export type ConsoleParts = Pick<ServerParts, "page" | "door" | "authenticator" | "relays">;

/** Never rejects: at worst everybody has to log in again. */
export async function openConsole(deps: ConsoleDeps): Promise<ConsoleParts & AsyncDisposable> {
  const { config, data, pageDirectory = PAGE_DIRECTORY } = deps;
  const hasDoor = config.console.isEnabled && config.auth.keys.length > 0;
  const logins = hasDoor ? await openLogins(deps) : null;
  const door: LoginDoor | null =
    logins === null ? null : { logins, cookie: new LoginCookie(data.serverId) };
  const relays = new Relays(config.console.replicas);
  return {
    page: new ConsolePage(pageDirectory),
    door,
    authenticator: new Authenticator(config.auth, door),
    relays,
    async [Symbol.asyncDispose]() {
      relays[Symbol.dispose]();
      await logins?.[Symbol.asyncDispose]();
    },
  };
}

async function openLogins({ config, data, log }: ConsoleDeps): Promise<Logins> {
  const file = join(data.path, LOGINS_FILE);
  const logins = new Logins({
    keys: config.auth.keys,
    sessionTimeMs: config.console.sessionTimeMs,
    save: (text) => storing("keep the login", () => writeDurably(file, text)),
  });
  const read = await readTextFile(file, MAX_LOGINS_BYTES);
  const isKnown = read.ok ? logins.restore(read.text, Date.now()) : read.isMissing;
  if (!isKnown) log.warn("Cannot read the logins of the console; operators have to log in again");
  return logins;
}
