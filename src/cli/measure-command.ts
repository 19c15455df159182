/**
 * The command `plimsoll measure` and its flags; what it does is `measure.ts`.
 *
 * @module
 */

import { type Command, InvalidArgumentError, Option } from "commander";
import { parseBytes } from "../lib/bytes.ts";
import { parseDuration } from "../lib/duration.ts";
import {
  type CommonFlags,
  type Done,
  loadOptions,
  REPORT_FORMATS,
  type ReportFormat,
  withCommonFlags,
} from "./flags.ts";
import type { Io } from "./io.ts";

interface MeasureFlags extends Omit<CommonFlags, "rehearse"> {
  readonly agent?: string;
  readonly data?: string;
  readonly claude?: boolean;
  readonly quick?: boolean;
  readonly callTools?: boolean;
  readonly script?: string;
  readonly memory?: number;
  readonly turnDuration?: number;
  readonly fresh?: boolean;
  readonly prior: boolean;
  readonly output?: string;
  readonly format: ReportFormat;
}

export function addMeasure(program: Command, io: Io, done: Done): void {
  withCommonFlags(
    program
      .command("measure")
      .description(
        "find out what turns of an agent cost here: memory, CPU, how many a replica carries",
      )
      .argument("[path]", "agent file or folder", "agent.yaml"),
  )
    .option("--agent <name>", "which agent of a folder")
    .option("--quick", "a minute instead of three: fewer and shorter turns")
    .addOption(
      new Option("--claude", "let Claude answer in place of a script: costs money").conflicts(
        "rehearse",
      ),
    )
    .option("--script <file>", "rehearsal script in place of the one for measuring")
    .option(
      "--turn-duration <duration>",
      "how long your turns last, with your model: what breaks first is told for those",
      parseTurnDuration,
    )
    .option("--call-tools", "call all tools, with made-up input, also where that may leave a trace")
    .option("--memory <size>", "limit of the control group it is measured in", parseSize)
    .option("-o, --output <file>", "where the profile goes; <agent>.profile.json without it")
    .option("--data <directory>", "where `serve` keeps sessions, and finds the prior")
    .option("--no-prior", "do not save what was learned for `serve` to start from")
    .option("--fresh", "do not go on from a run that was cut short")
    .addOption(
      new Option("--format <format>", "how to print the report")
        .choices(REPORT_FORMATS)
        .default("text"),
    )
    .action(async (path: string, flags: MeasureFlags) => {
      const { runMeasure } = await import("./measure.ts");
      done(await runMeasure(measureOptions(path, flags), io));
    });
}

function measureOptions(path: string, flags: MeasureFlags) {
  const { agent, data, script, memory, turnDuration, output, format } = flags;
  const settings = data === undefined ? {} : { "data.directory": data };
  return {
    ...loadOptions(path, flags, settings),
    isClaude: flags.claude === true,
    isQuick: flags.quick === true,
    mayCallAll: flags.callTools === true,
    isFresh: flags.fresh === true,
    savesPrior: flags.prior,
    format,
    ...(agent !== undefined && { agentName: agent }),
    ...(script !== undefined && { scriptFile: script }),
    ...(memory !== undefined && { limitBytes: memory }),
    ...(turnDuration !== undefined && { turnMs: turnDuration }),
    ...(output !== undefined && { output }),
  };
}

/** A size as in settings, so that no unit is guessed. */
function parseSize(text: string): number {
  const bytes = parseBytes(text);
  if (bytes === undefined || bytes === 0) {
    throw new InvalidArgumentError("must be a size with a unit, e.g. 2GiB or 512MiB.");
  }
  return bytes;
}

function parseTurnDuration(text: string): number {
  const durationMs = parseDuration(text);
  if (durationMs === undefined || durationMs < LEAST_TURN_MS) {
    throw new InvalidArgumentError("must be a duration with a unit, e.g. 12s, of 100ms or more.");
  }
  return durationMs;
}

const LEAST_TURN_MS = 100;
