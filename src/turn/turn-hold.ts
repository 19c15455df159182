/**
 * What a turn holds of the server's: given back when the turn is over, and not before its last
 * process is gone. The turn itself waits only for processes that can be ended; for one that
 * outlived SIGKILL the hold waits in its place, since that one still has its memory and may still
 * write to the session.
 *
 * @module
 */

import type { AgentProcess } from "../agent-process/agent-process.ts";

export class TurnHold implements Disposable {
  readonly #taken: Disposable[] = [];
  #agent: AgentProcess | null = null;

  take<Taken extends Disposable>(taken: Taken): Taken {
    this.#taken.push(taken);
    return taken;
  }

  /** Nothing is given back while any of this process's tree lives. */
  outlive(agent: AgentProcess): AgentProcess {
    this.#agent = agent;
    return agent;
  }

  /** The process goes on after the turn: nothing waits for its end. */
  letStay(): void {
    this.#agent = null;
  }

  /** Somebody else gives it back. */
  handOver<Taken extends Disposable>(taken: Taken): Taken {
    this.#taken.splice(this.#taken.indexOf(taken), 1);
    return taken;
  }

  /** The turn is over. In all but strange cases this gives back everything before it returns. */
  [Symbol.dispose](): void {
    const agent = this.#agent;
    if (agent === null || agent.treeState === "gone") this.#giveBack();
    else void agent.treeGone.then(() => this.#giveBack());
  }

  #giveBack(): void {
    for (const taken of this.#taken.splice(0).toReversed()) taken[Symbol.dispose]();
  }
}
