/**
 * The command line: commands, flags, help. Each command is a file of its own, loaded when it runs.
 *
 * @module
 */

import { Command, CommanderError, Option } from "commander";
import { DIAGNOSTICS_FORMATS, DiagnosticsError, formatDiagnostics } from "../lib/diagnostics.ts";
import { errnoOf } from "../lib/errno.ts";
import { AppError } from "../lib/errors.ts";
import { addDeploy } from "./deploy-command.ts";
import { EXIT, exitCodeOf } from "./exit-codes.ts";
import { type CommonFlags, type Done, loadOptions, parsePort, withCommonFlags } from "./flags.ts";
import type { Io } from "./io.ts";
import { addMeasure } from "./measure-command.ts";
import { addPlan } from "./plan-command.ts";
import { addSessions } from "./session-commands.ts";
import { addSimulate } from "./simulate-command.ts";
import { packageVersion } from "./version.ts";

/** Runs a command; resolves to the exit code. Never rejects. */
export async function runProgram(argv: readonly string[], io: Io): Promise<number> {
  let exitCode = 0;
  const program = describeProgram(io, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync([...argv], { from: "user" });
    return exitCode;
  } catch (thrown) {
    return reportFailure(thrown, io);
  }
}

function describeProgram(io: Io, done: (exitCode: number) => void): Command {
  const program = new Command("plimsoll")
    .description("An agent in a YAML file, as a production HTTP service that knows its load line.")
    .version(packageVersion())
    .exitOverride()
    .configureOutput({ writeOut: io.stdout, writeErr: io.stderr })
    .showSuggestionAfterError()
    .showHelpAfterError("(see plimsoll --help)");
  const all = [
    addInit,
    addServe,
    addChat,
    addCheck,
    addMeasure,
    addPlan,
    addSimulate,
    addDeploy,
    addSessions,
    addKeys,
    addRehearse,
  ];
  for (const add of all) add(program, io, done);
  return program;
}

function addServe(program: Command, io: Io, done: Done): void {
  withCommonFlags(
    program
      .command("serve")
      .description("serve an agent, or all agents of a folder, over HTTP")
      .argument("[path]", "agent file or folder", "agent.yaml"),
  )
    .option("-p, --port <number>", "port to listen on; 0 takes a free one")
    .option("--host <address>", "address to listen on")
    .option("--data <directory>", "where sessions are kept")
    .option("--allow-anyone", "listen beyond loopback without keys: anyone may use the server")
    .option("--banner", "print the first screen even if no terminal is attached")
    .option("--json-log", "write the log as JSON even to a terminal")
    .action(async (path: string, flags: ServeFlags) => {
      const { runServe } = await import("./serve.ts");
      const { port, host, data, allowAnyone, banner, jsonLog } = flags;
      const options = loadOptions(path, flags, {
        ...(port !== undefined && { "listen.port": port }),
        ...(host !== undefined && { "listen.host": host }),
        ...(data !== undefined && { "data.directory": data }),
        ...(allowAnyone === true && { "auth.allowAnyone": "true" }),
      });
      const shown = {
        ...(banner === true && { banner }),
        ...(jsonLog === true && { jsonLog }),
      };
      done(await runServe({ ...options, ...shown }, io));
    });
}

interface ServeFlags extends CommonFlags {
  readonly port?: string;
  readonly host?: string;
  readonly data?: string;
  readonly allowAnyone?: boolean;
  readonly banner?: boolean;
  readonly jsonLog?: boolean;
}

function addChat(program: Command, io: Io, done: Done): void {
  withCommonFlags(
    program
      .command("chat")
      .description("talk to an agent here; each line of a pipe is a turn")
      .argument("[path]", "agent file or folder", "agent.yaml"),
  )
    .option("--agent <name>", "which agent of a folder")
    .option("--thread <id>", "conversation to go on with; a new one without it")
    .option("--data <directory>", "where sessions are kept")
    .action(async (path: string, flags: ChatFlags) => {
      const { runChat } = await import("./chat.ts");
      const { agent, thread, data } = flags;
      const settings = data === undefined ? {} : { "data.directory": data };
      const options = {
        ...loadOptions(path, flags, settings),
        ...(agent !== undefined && { agentName: agent }),
        ...(thread !== undefined && { threadId: thread }),
      };
      done(await runChat(options, io));
    });
}

interface ChatFlags extends CommonFlags {
  readonly agent?: string;
  readonly thread?: string;
  readonly data?: string;
}

function addInit(program: Command, io: Io, done: Done): void {
  program
    .command("init")
    .description("make a folder with an agent that works at once, without a key")
    .argument("<folder>", "where; made if it is not there")
    .option("--name <name>", "name of the agent; the folder's without it")
    .option("--force", "replace files that are there")
    .action(async (folder: string, { name, force }: { name?: string; force?: boolean }) => {
      const { runInit } = await import("./init.ts");
      const options = { folder, force: force === true, ...(name !== undefined && { name }) };
      done(await runInit(options, io));
    });
}

function addKeys(program: Command, io: Io, done: Done): void {
  program
    .command("keys")
    .description("keys for callers of a server")
    .command("new")
    .description("make a key and the lines of the server file that let it in")
    .option("--tenant <name>", "whose sessions the key sees", "default")
    .addOption(
      new Option("--role <role>", "`operator` also reads metrics and sees the turns of all tenants")
        .choices(["caller", "operator"])
        .default("caller"),
    )
    .option("--id <name>", "name of the key in logs; made up without it")
    .action(async (flags: { tenant: string; role: "caller" | "operator"; id?: string }) => {
      const { runKeysNew } = await import("./keys.ts");
      done(runKeysNew(flags, io));
    });
}

function addCheck(program: Command, io: Io, done: Done): void {
  withCommonFlags(
    program
      .command("check")
      .description("say what does not fit in agent files and the server file; starts nothing")
      .argument("[path]", "agent file or folder", "agent.yaml"),
  )
    .addOption(
      new Option("--format <format>", "how to print problems")
        .choices(DIAGNOSTICS_FORMATS)
        .default("text"),
    )
    .action(async (path: string, flags: CommonFlags & { format: "text" | "json" | "github" }) => {
      const { runCheck } = await import("./check.ts");
      const { format } = flags;
      done(await runCheck({ ...loadOptions(path, flags), format }, io));
    });
}

function addRehearse(program: Command, io: Io, done: Done): void {
  program
    .command("rehearse")
    .description("serve the scripted model alone, e.g. for a load test")
    .option("--script <file>", "rehearsal script; the built-in one without it")
    .option("-p, --port <number>", "port to listen on; 0 takes a free one", parsePort, 0)
    .action(async ({ script, port }: { script?: string; port: number }) => {
      const { runRehearse } = await import("./rehearse.ts");
      const { listenToSignals } = await import("./signals.ts");
      using signals = listenToSignals();
      const { environment } = io;
      const options = { port, environment, ...(script !== undefined && { script }) };
      await runRehearse(options, { write: io.stdout }, signals.stop);
      done(0);
    });
}

function reportFailure(thrown: unknown, io: Io): number {
  // Commander has printed its own message; help and version are not failures.
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : EXIT.usage;
  if (thrown instanceof DiagnosticsError) {
    io.stderr(`${formatDiagnostics(thrown.diagnostics, "text", io.color)}\n`);
    return EXIT.config;
  }
  if (thrown instanceof AppError) {
    // Kept from callers, because it names paths; whoever sits here needs to know them.
    const { cause, message, spec } = thrown;
    const why =
      cause instanceof Error && errnoOf(cause) !== undefined ? `  ${cause.message}\n` : "";
    io.stderr(`plimsoll: ${message}\n${why}  ${spec.remedy}\n`);
    return exitCodeOf(thrown.code);
  }
  const text = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  io.stderr(`plimsoll: internal: ${text}\n`);
  return EXIT.software;
}
