/**
 * Commands to show to whoever sits here, in the form in which a shell takes them.
 *
 * @module
 */

import { PLAIN_SETTINGS } from "../config/settings.ts";
import type { Environment } from "../lib/substitute.ts";
import type { ModelProvider } from "../agent/definition.ts";
import type { LoadOptions } from "./load.ts";

/** How this program was called: whoever came here by npx has no `plimsoll` of their own. */
export function programName(environment: Environment): string {
  return environment["npm_command"] === "exec" ? "npx plimsoll" : "plimsoll";
}

/** One word to a shell. */
export function quoted(word: string): string {
  if (/^[\w@%+=:,./-]+$/u.test(word)) return word;
  return `"${word.replaceAll(/["\\$`]/gu, "\\$&")}"`;
}

/** The flags of {@link LoadOptions} as they were given; only what is secret has to be put in again. */
export function givenFlags(options: LoadOptions): readonly string[] {
  const { serverFile, flags, flagNames = {}, provider, modelId } = options;
  const settings = Object.entries(flags).flatMap(([name, text]) => {
    if (text === undefined) return [];
    const isSecret = PLAIN_SETTINGS.some((each) => each.name === name && each.isSecret);
    const flag = flagNames[name];
    if (flag !== undefined) return [flag, text];
    return ["--set", `${name}=${isSecret ? "***" : text}`];
  });
  return [
    ...(serverFile === undefined ? [] : ["--config", serverFile]),
    ...settings,
    ...(modelId === undefined ? [] : ["--model", modelId]),
    ...(provider === undefined ? [] : providerFlags(provider)),
  ];
}

function providerFlags(provider: ModelProvider): readonly string[] {
  return provider === "rehearsal" ? ["--rehearse"] : ["--provider", provider];
}
