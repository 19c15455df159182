/**
 * Whether an agent could talk to its model at all: told at the start, not by the first caller's
 * failed turn.
 *
 * @module
 */

import type { AgentDefinition } from "../agent/definition.ts";
import { DiagnosticsError, placeless } from "../lib/diagnostics.ts";
import type { Environment } from "../lib/substitute.ts";

/** Any of them will do: a gateway behind ANTHROPIC_BASE_URL may ask for no key. */
const ANTHROPIC_CREDENTIALS = [
  "ANTHROPIC_API_KEY",
  "ANTHROPIC_AUTH_TOKEN",
  "CLAUDE_CODE_OAUTH_TOKEN",
  "ANTHROPIC_BASE_URL",
] as const;

/**
 * Looks at agents of the provider `anthropic` only: the clouds find credentials in ways of their
 * own, from files and from the machine.
 *
 * @throws {DiagnosticsError} `config_invalid`, naming every agent without credentials.
 */
export function checkCredentials(
  agents: readonly AgentDefinition[],
  environment: Environment,
): void {
  if (ANTHROPIC_CREDENTIALS.some((name) => (environment[name] ?? "") !== "")) return;
  const diagnostics = agents
    .filter(({ model }) => model.provider === "anthropic")
    .map(({ name, file }) => {
      const message = `needs credentials: the agent "${name}" asks anthropic, and there is no key`;
      const remedy = "Set ANTHROPIC_API_KEY, or start with --rehearse to let a script answer";
      return placeless(file, message, remedy, "model.provider");
    });
  if (diagnostics.length > 0) throw new DiagnosticsError("config_invalid", diagnostics);
}
