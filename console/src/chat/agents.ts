/**
 * The agents that are served, read once for all views.
 *
 * @module
 */

import { signal } from "@preact/signals";
import { type ApiError, getJson, toApiError } from "../access/api.ts";
import type { Accepts } from "./attachments.ts";

/** An agent of `GET /v1/agents`. */
export interface Agent {
  readonly name: string;
  readonly description: string;
  readonly model: { readonly provider: string; readonly id: string };
  readonly isRehearsal: boolean;
  readonly accepts: Accepts;
}

/** Null until they were read. */
export const agents = signal<readonly Agent[] | null>(null);
export const agentsTrouble = signal<ApiError | null>(null);

let isReading = false;

/** Reads them, if that was not done. */
export async function readAgents(): Promise<void> {
  if (agents.peek() !== null || isReading) return;
  isReading = true;
  try {
    agents.value = (await getJson<{ agents: readonly Agent[] }>("/v1/agents")).agents;
    agentsTrouble.value = null;
  } catch (thrown) {
    agentsTrouble.value = toApiError(thrown);
  } finally {
    isReading = false;
  }
}
