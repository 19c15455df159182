/**
 * Flags that several commands have, and what their texts mean.
 *
 * @module
 */

import { type Command, InvalidArgumentError, Option } from "commander";
import { MODEL_PROVIDERS, type ModelProvider } from "../agent/definition.ts";
import type { LoadOptions } from "./load.ts";

/** In which a report can be printed. */
export const REPORT_FORMATS = ["text", "markdown", "json", "html"] as const;
export type ReportFormat = (typeof REPORT_FORMATS)[number];

/** Gets the exit code of the command that ran. */
export type Done = (exitCode: number) => void;

export interface CommonFlags {
  readonly config?: string;
  readonly set?: Readonly<Record<string, string>>;
  readonly model?: string;
  readonly provider?: ModelProvider;
  readonly rehearse?: boolean;
}

/** Flags of every command that loads agents and settings. */
export function withCommonFlags(command: Command): Command {
  return command
    .option("-c, --config <file>", "server file; plimsoll.yaml if it is there")
    .option("--set <name=value>", "a setting, e.g. --set capacity.maxTurns=4", collectSetting)
    .option("--model <id>", "model to use instead of the one in the agent file")
    .addOption(
      new Option("--provider <name>", "provider to use instead of the one in the agent file")
        .choices(MODEL_PROVIDERS)
        .conflicts("rehearse"),
    )
    .option("--rehearse", "let a script answer in place of Claude: no key, no network");
}

export function collectSetting(
  text: string,
  before: Record<string, string> = {},
): Record<string, string> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("must be name=value.");
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

/** Settings that have a flag of their own, beside `--set`. */
const OWN_FLAGS: Readonly<Record<string, string>> = {
  "listen.port": "--port",
  "listen.host": "--host",
  "data.directory": "--data",
  "auth.allowAnyone": "--allow-anyone",
};

/** @param settings Of the command's own flags; they go before `--set`. */
export function loadOptions(
  path: string,
  { set, config, model, provider, rehearse }: CommonFlags,
  settings: Readonly<Record<string, string>> = {},
): LoadOptions {
  const own = Object.entries(OWN_FLAGS).filter(([name]) => settings[name] !== undefined);
  return {
    path,
    flags: { ...set, ...settings },
    flagNames: Object.fromEntries(own),
    ...(config !== undefined && { serverFile: config }),
    ...(provider !== undefined && { provider }),
    ...(rehearse === true && { provider: "rehearsal" as const }),
    ...(model !== undefined && { modelId: model }),
  };
}

export function parseLimit(text: string): number {
  const limit = Number(text);
  if (!/^\d{1,7}$/.test(text) || limit < 1) throw new InvalidArgumentError("must be 1 or more.");
  return limit;
}

export function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) throw new InvalidArgumentError("must be 0 to 65535.");
  return port;
}
