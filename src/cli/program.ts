/**
 * The command line: commands, flags, help. Each command is a file of its own, loaded when it runs.
 *
 * @module
 */

import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { DIAGNOSTICS_FORMATS, DiagnosticsError, formatDiagnostics } from "../lib/diagnostics.ts";
import { AppError, type ErrorCode } from "../lib/errors.ts";
import type { Io } from "./io.ts";
import { packageVersion } from "./version.ts";

/** As in sysexits.h. */
const EXIT = { usage: 64, unavailable: 69, software: 70, config: 78 } as const;

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
  addServe(program, io, done);
  addCheck(program, io, done);
  addRehearse(program, io, done);
  return program;
}

type Done = (exitCode: number) => void;

interface CommonFlags {
  readonly config?: string;
  readonly set: Readonly<Record<string, string>>;
  readonly model?: string;
  readonly rehearse?: boolean;
}

/** Flags of every command that loads agents and settings. */
function withCommonFlags(command: Command): Command {
  return command
    .option("-c, --config <file>", "server file; plimsoll.yaml if it is there")
    .option("--set <name=value>", "a setting, e.g. --set capacity.maxTurns=4", collectSetting, {})
    .option("--model <id>", "model to use instead of the one in the agent file")
    .option("--rehearse", "let a script answer in place of Claude: no key, no network");
}

function collectSetting(text: string, before: Record<string, string>): Record<string, string> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("must be name=value.");
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

function modelOf({ model, rehearse }: CommonFlags) {
  return {
    ...(rehearse === true && { provider: "rehearsal" as const }),
    ...(model !== undefined && { modelId: model }),
  };
}

function addServe(program: Command, io: Io, done: Done): void {
  withCommonFlags(
    program
      .command("serve")
      .description("serve an agent, or all agents of a folder")
      .argument("[path]", "agent file or folder", "agent.yaml"),
  )
    .option("-p, --port <number>", "port to listen on; 0 takes a free one")
    .option("--host <address>", "address to listen on")
    .option("--data <directory>", "where sessions are kept")
    .option("--allow-anyone", "listen beyond loopback without keys: anyone may use the server")
    .option("--banner", "print the first screen even if no terminal is attached")
    .action(async (path: string, flags: ServeFlags) => {
      const { runServe } = await import("./serve.ts");
      const { port, host, data, allowAnyone, set, config, banner } = flags;
      const settings = {
        ...set,
        ...(port !== undefined && { "listen.port": port }),
        ...(host !== undefined && { "listen.host": host }),
        ...(data !== undefined && { "data.directory": data }),
        ...(allowAnyone === true && { "auth.allowAnyone": "true" }),
      };
      const exitCode = await runServe(
        {
          path,
          flags: settings,
          ...modelOf(flags),
          ...(config !== undefined && { serverFile: config }),
          ...(banner === true && { banner }),
        },
        io,
      );
      done(exitCode);
    });
}

interface ServeFlags extends CommonFlags {
  readonly port?: string;
  readonly host?: string;
  readonly data?: string;
  readonly allowAnyone?: boolean;
  readonly banner?: boolean;
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
      const { set, format, config } = flags;
      const options = {
        path,
        format,
        flags: set,
        ...modelOf(flags),
        ...(config !== undefined && { serverFile: config }),
      };
      done(await runCheck(options, io));
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

function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) throw new InvalidArgumentError("must be 0 to 65535.");
  return port;
}

function reportFailure(thrown: unknown, io: Io): number {
  // Commander has printed its own message; help and version are not failures.
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : EXIT.usage;
  if (thrown instanceof DiagnosticsError) {
    io.stderr(`${formatDiagnostics(thrown.diagnostics, "text", io.color)}\n`);
    return EXIT.config;
  }
  if (thrown instanceof AppError) {
    io.stderr(`plimsoll: ${thrown.message}\n  ${thrown.spec.remedy}\n`);
    return EXIT_OF_CODE[thrown.code] ?? EXIT.software;
  }
  const text = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  io.stderr(`plimsoll: internal: ${text}\n`);
  return EXIT.software;
}

const EXIT_OF_CODE: Readonly<Partial<Record<ErrorCode, number>>> = {
  usage: EXIT.usage,
  config_invalid: EXIT.config,
  agent_invalid: EXIT.config,
  cannot_listen: EXIT.unavailable,
  data_directory_in_use: EXIT.unavailable,
  storage_full: EXIT.unavailable,
  storage_failed: EXIT.unavailable,
};
