/**
 * Proofs that a process which was kept is used. Where it does not answer soon the server takes another
 * one, and is right to: on a machine that held it up for as long the proof is tried again.
 *
 * @module
 */

import { expect } from "vitest";
import type { TurnUsage } from "../../src/turn/turn.ts";

/** How long a kept process may be silent before its turn has another one; less what clocks cut off. */
export const SILENT_MS = 2_000 - 50;

export interface Try {
  readonly worked: boolean;
  /** Whether the machine may be to blame where it did not: anything else has nothing to do with it. */
  readonly wasHeldUp: boolean;
}

/** Whatever fails inside a try fails the test. */
export async function inThreeTries(attempt: () => Promise<Try>, what: string): Promise<void> {
  for (let tries = 1; tries <= 3; tries += 1) {
    const { worked, wasHeldUp } = await attempt();
    if (worked) return;
    if (!wasHeldUp) expect.fail(`Not so, though nothing was held up: ${what}`);
  }
  expect.fail(`Not so in three tries: ${what}`);
}

/** Whether the turn had to wait for its first word as long as for a process that does not answer. */
export function waitedLong({ usage }: { readonly usage: TurnUsage }): boolean {
  return (usage.firstTokenMs ?? usage.durationMs) > SILENT_MS;
}
