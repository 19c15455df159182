/**
 * The commands `plimsoll sessions …` and their flags; what they do is `sessions.ts`.
 *
 * @module
 */

import type { Command } from "commander";
import { collectSetting, type Done, parseLimit } from "./flags.ts";
import type { Io } from "./io.ts";

interface SessionsFlags {
  readonly config?: string;
  readonly set?: Readonly<Record<string, string>>;
  readonly data?: string;
}

/** Flags that say which data directory. */
function withDataFlags(command: Command): Command {
  return command
    .option("--data <directory>", "where sessions are kept; as the server file says without it")
    .option("-c, --config <file>", "server file; plimsoll.yaml if it is there")
    .option("--set <name=value>", "a setting, e.g. --set retention.maxIdle=30d", collectSetting);
}

function sessionsOptions({ config, set, data }: SessionsFlags) {
  return {
    flags: { ...set, ...(data !== undefined && { "data.directory": data }) },
    ...(config !== undefined && { serverFile: config }),
  };
}

export function addSessions(program: Command, io: Io, done: Done): void {
  const sessions = program
    .command("sessions")
    .description("what is kept of conversations: list, show, export, copy, delete, hold, sweep");
  withDataFlags(sessions.command("list").description("sessions, the newest first"))
    .option("--tenant <name>", "of this tenant alone")
    .option("--agent <name>", "of this agent alone")
    .option("-n, --limit <number>", "how many at most", parseLimit, 50)
    .option("--json", "a record a line")
    .action(async (flags: SessionsFlags & ListFlags) => {
      const { runSessionsList } = await import("./sessions.ts");
      const { tenant, agent, limit, json } = flags;
      const options = {
        ...sessionsOptions(flags),
        limit,
        asJson: json === true,
        ...(tenant !== undefined && { tenant }),
        ...(agent !== undefined && { agentName: agent }),
      };
      done(await runSessionsList(options, io));
    });
  addCopy(sessions, io, done);
  const one = (name: string, description: string) =>
    withDataFlags(sessions.command(name).description(description).argument("<session>", "its id"));
  one("show", "what was said in a session").action(async (id: string, flags: SessionsFlags) => {
    const { runSessionsShow } = await import("./sessions.ts");
    done(await runSessionsShow({ ...sessionsOptions(flags), sessionId: id }, io));
  });
  one("export", "all of it as Claude Code has it, a JSON object a line").action(
    async (id: string, flags: SessionsFlags) => {
      const { runSessionsExport } = await import("./sessions.ts");
      done(await runSessionsExport({ ...sessionsOptions(flags), sessionId: id }, io));
    },
  );
  for (const [change, description] of SESSION_CHANGES) {
    const command = one(change, description);
    if (change === "delete") command.option("--tenant <name>", "whose it is, if it cannot be read");
    command.action(async (id: string, flags: SessionsFlags & Pick<ListFlags, "tenant">) => {
      const { runSessionsChange } = await import("./sessions.ts");
      const { tenant } = flags;
      const options = { ...sessionsOptions(flags), sessionId: id, change };
      done(await runSessionsChange({ ...options, ...(tenant !== undefined && { tenant }) }, io));
    });
  }
  withDataFlags(
    sessions.command("sweep").description("delete the sessions that have to go by `retention`"),
  )
    .option("--dry-run", "say which those are, and delete none")
    .option("--json", "what went, as JSON")
    .action(async (flags: SessionsFlags & { dryRun?: boolean; json?: boolean }) => {
      const { runSessionsSweep } = await import("./sessions.ts");
      const { dryRun, json } = flags;
      const how = { isDryRun: dryRun === true, asJson: json === true };
      done(await runSessionsSweep({ ...sessionsOptions(flags), ...how }, io));
    });
}

function addCopy(sessions: Command, io: Io, done: Done): void {
  withDataFlags(
    sessions
      .command("copy")
      .description("copy sessions to a shared store, or from one; those copied from stay")
      .argument("[session]", "the id of one; all of them without it"),
  )
    .option("--to <url>", "the store to fill from where the server keeps its sessions")
    .option("--from <url>", "the store to fill that place from")
    .option("--replace", "also those that are there already")
    .action(async (id: string | undefined, flags: SessionsFlags & CopyFlags) => {
      const { runSessionsCopy } = await import("./sessions.ts");
      const { to, from, replace } = flags;
      const options = {
        ...sessionsOptions(flags),
        replaces: replace === true,
        ...(id !== undefined && { sessionId: id }),
        ...(to !== undefined && { to }),
        ...(from !== undefined && { from }),
      };
      done(await runSessionsCopy(options, io));
    });
}

interface CopyFlags {
  readonly to?: string;
  readonly from?: string;
  readonly replace?: boolean;
}

interface ListFlags {
  readonly tenant?: string;
  readonly agent?: string;
  readonly limit: number;
  readonly json?: boolean;
}

const SESSION_CHANGES = [
  ["delete", "delete a session and all its files"],
  ["hold", "put a session on hold: nobody can delete it, no limit lets it go"],
  ["release", "take a session off hold"],
] as const;
