/**
 * Turns by what callers know of them: their id, the key of their request, their session. A session
 * is here what the request names, also where the agent keeps none.
 *
 * @module
 */

import { joinedName } from "../lib/joined-name.ts";
import type { SessionRef } from "../session/session-id.ts";
import type { LiveTurn } from "./live-turn.ts";
import type { TurnRequest } from "./turn.ts";

export class TurnIndex {
  readonly #byId = new Map<string, LiveTurn>();
  /** Turns by tenant, agent and hash of the key, then by session. */
  readonly #byKey = new Map<string, Map<string, LiveTurn>>();
  readonly #bySession = new Map<string, LiveTurn>();
  readonly #sessionIds = new Map<LiveTurn, string>();

  get size(): number {
    return this.#byId.size;
  }

  /** A turn that is about to start. */
  add(turn: LiveTurn, { sessionId }: SessionRef): void {
    const { turnId, caller, agentName, key } = turn.request;
    this.#byId.set(turnId, turn);
    this.#sessionIds.set(turn, sessionId);
    if (key === undefined) return;
    const name = joinedName(caller.tenant, agentName, key.hash);
    const ofKey = this.#byKey.get(name) ?? new Map<string, LiveTurn>();
    this.#byKey.set(name, ofKey.set(sessionId, turn));
  }

  /** The turn has begun, so it is the session's last one. */
  markBegun(turn: LiveTurn): void {
    const sessionId = this.#sessionIds.get(turn);
    const { tenant } = turn.request.caller;
    if (sessionId !== undefined) this.#bySession.set(joinedName(tenant, sessionId), turn);
  }

  delete(turn: LiveTurn): void {
    const sessionId = this.#sessionIds.get(turn);
    if (sessionId === undefined) return;
    this.forgetKey(turn);
    this.#sessionIds.delete(turn);
    const { turnId, caller } = turn.request;
    this.#byId.delete(turnId);
    const name = joinedName(caller.tenant, sessionId);
    if (this.#bySession.get(name) === turn) this.#bySession.delete(name);
  }

  /** The turn is not found by its key any more. */
  forgetKey(turn: LiveTurn): void {
    const { caller, agentName, key } = turn.request;
    if (key === undefined) return;
    const name = joinedName(caller.tenant, agentName, key.hash);
    const ofKey = this.#byKey.get(name);
    const sessionId = this.#sessionIds.get(turn) ?? "";
    if (ofKey?.get(sessionId) !== turn) return;
    ofKey.delete(sessionId);
    if (ofKey.size === 0) this.#byKey.delete(name);
  }

  ofId(turnId: string): LiveTurn | undefined {
    return this.#byId.get(turnId);
  }

  /** @param ref The session of the request; null for one without a key. */
  ofKey({ caller, agentName, key }: TurnRequest, ref: SessionRef | null): LiveTurn | undefined {
    if (key === undefined || ref === null) return undefined;
    return this.#byKey.get(joinedName(caller.tenant, agentName, key.hash))?.get(ref.sessionId);
  }

  knowsKey(tenant: string, agentName: string, keyHash: string): boolean {
    return this.#byKey.has(joinedName(tenant, agentName, keyHash));
  }

  /** All turns of a session. */
  allOf({ tenant, sessionId }: SessionRef): LiveTurn[] {
    return [...this.#sessionIds]
      .filter(([{ request }, id]) => id === sessionId && request.caller.tenant === tenant)
      .map(([turn]) => turn);
  }

  /** The last turn of a session that has begun. */
  ofSession({ tenant, sessionId }: SessionRef): LiveTurn | undefined {
    return this.#bySession.get(joinedName(tenant, sessionId));
  }
}
