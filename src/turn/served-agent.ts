/**
 * An agent with what the server made ready for it.
 *
 * @module
 */

import type { AgentDefinition } from "../agent/definition.ts";
import type { LoadedFunctionTools } from "../tools/function-tools.ts";

export interface ServedAgent {
  readonly definition: AgentDefinition;
  readonly functionTools: LoadedFunctionTools;
  /** Credentials and address of its model provider. Secret. */
  readonly providerEnvironment: Readonly<Record<string, string>>;
}
