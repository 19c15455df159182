/**
 * Makes agents ready to be served: their function tools loaded, and the address and credentials of
 * their model provider known.
 *
 * @module
 */

import type { AgentDefinition } from "../agent/definition.ts";
import { providerEnvironment } from "../config/environment.ts";
import type { Environment } from "../lib/substitute.ts";
import { loadRehearsalScript } from "../rehearsal/load-script.ts";
import { startRehearsal, type Rehearsal } from "../rehearsal/server.ts";
import { loadFunctionTools } from "../tools/function-tools.ts";
import type { ServedAgent } from "../turn/served-agent.ts";
import { checkCredentials } from "./check-credentials.ts";

export interface PreparedAgents extends AsyncDisposable {
  readonly agents: ReadonlyMap<string, ServedAgent>;
}

/**
 * @throws {AppError} `config_invalid` when there are no credentials, `agent_invalid` when a module
 *   or a rehearsal script does not fit. Nothing is left running then.
 */
export async function prepareAgents(
  definitions: readonly AgentDefinition[],
  environment: Environment,
): Promise<PreparedAgents> {
  checkCredentials(definitions, environment);
  const rehearsals = new Rehearsals(environment);
  try {
    const agents = new Map<string, ServedAgent>();
    for (const definition of definitions) {
      const functionTools = await loadFunctionTools(definition.tools.functions);
      const { provider, rehearsalScript } = definition.model;
      const ofProvider = providerEnvironment(provider, environment);
      const ofRehearsal =
        provider === "rehearsal" ? await rehearsals.environmentFor(rehearsalScript) : {};
      agents.set(definition.name, {
        definition,
        functionTools,
        providerEnvironment: { ...ofProvider, ...ofRehearsal },
      });
    }
    return { agents, [Symbol.asyncDispose]: () => rehearsals[Symbol.asyncDispose]() };
  } catch (thrown) {
    await rehearsals[Symbol.asyncDispose]();
    throw thrown;
  }
}

/** One scripted model for each script. */
class Rehearsals implements AsyncDisposable {
  readonly #environment: Environment;
  readonly #running = new Map<string, Rehearsal>();

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  async environmentFor(scriptFile: string | undefined): Promise<Record<string, string>> {
    const key = scriptFile ?? "";
    let rehearsal = this.#running.get(key);
    if (rehearsal === undefined) {
      const script = await loadRehearsalScript(scriptFile, this.#environment);
      rehearsal = await startRehearsal({ script });
      this.#running.set(key, rehearsal);
    }
    return {
      ANTHROPIC_BASE_URL: rehearsal.url,
      ANTHROPIC_API_KEY: "rehearsal-needs-no-key",
      // The way to the script must not lead through a proxy.
      NO_PROXY: "127.0.0.1",
      no_proxy: "127.0.0.1",
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      Array.from(this.#running.values(), (rehearsal) => rehearsal[Symbol.asyncDispose]()),
    );
  }
}
