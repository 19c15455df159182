/**
 * What is measured and how, and who hears of it.
 *
 * @module
 */

import type { AgentDefinition } from "../../agent/definition.ts";
import type { Environment } from "../../lib/substitute.ts";
import type { Protocol, StepName } from "./protocol.ts";
import type { PartialResults } from "./state.ts";

export interface MeasureOptions {
  readonly agent: AgentDefinition;
  /** Lets Claude answer, which costs money, in place of a script. */
  readonly isClaude: boolean;
  readonly isQuick: boolean;
  /** Calls also tools that may leave a trace, with made-up input. */
  readonly mayCallAll: boolean;
  /** Rehearsal script in place of the one for measuring. */
  readonly scriptFile?: string;
  /** The limit of the control group; as much as there is without it. */
  readonly limitBytes?: number;
  /** Further arguments of `plimsoll serve`. */
  readonly serveArgs: readonly string[];
  /** Node and the main file of our program. */
  readonly program: readonly string[];
  readonly environment: Environment;
  readonly workingDirectory: string;
  readonly plimsollVersion: string;
  /** Where the results of steps are kept until all are done. */
  readonly stateFile: string;
  /** Ignores what an earlier run has found. */
  readonly isFresh: boolean;
}

/** What happens meanwhile, for people. */
export interface MeasureListener {
  /** Before the first step. */
  readonly began: (protocol: Protocol, done: readonly StepName[]) => void;
  readonly stepBegan: (name: StepName) => void;
  readonly turnEnded: (done: number, of: number) => void;
  readonly stepEnded: (name: StepName, results: PartialResults) => void;
  /** For the last resort before the process exits. */
  readonly killable: (killNow: () => void) => void;
}
