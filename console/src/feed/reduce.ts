/**
 * Events of the feed in, what the page knows out. Pure: a state is never changed, and what an event
 * does not touch stays the same object, so that only what has changed is drawn again.
 *
 * @module
 */

import type { FeedHello, FeedRecent, FeedTurn } from "../../../src/protocol/feed.ts";
import { historyFrom, withCapacity, withFirstToken } from "./history.ts";
import { EMPTY, type FeedEvent, type FeedState, LIMITS } from "./state.ts";

/** A state of which this batch of events may change the collections in place. */
interface Draft {
  state: FeedState;
  readonly live: Map<string, FeedTurn>;
  /** The oldest first, as are the two below: they are turned round at the end. */
  readonly ended: FeedTurn[];
  readonly decisions: FeedState["decisions"][number][];
  readonly guard: FeedState["guardEvents"][number][];
}

/** @param nowMs By the clock of the browser. */
export function reduceAll(
  before: FeedState,
  events: readonly FeedEvent[],
  nowMs: number,
): FeedState {
  if (events.length === 0) return before;
  const draft = draftOf(before);
  for (const event of events) apply(draft, event, nowMs);
  return settled(draft, before);
}

function draftOf(state: FeedState): Draft {
  return { state, live: new Map(state.liveTurns), ended: [], decisions: [], guard: [] };
}

function apply(draft: Draft, event: FeedEvent, nowMs: number): void {
  switch (event.type) {
    case "hello":
      return greet(draft, event, nowMs);
    case "history":
      draft.state = { ...draft.state, history: historyFrom(event) };
      return;
    case "recent":
      return recall(draft, event);
    case "capacity":
      draft.state = {
        ...draft.state,
        capacity: event,
        history: withCapacity(draft.state.history, event),
      };
      return;
    case "turn":
      return follow(draft, event.turn);
    case "decision":
      draft.decisions.push(event);
      return;
    case "guard":
      draft.guard.push(event);
  }
}

/** A replica that has started since is another one: nothing that is known holds for it. */
function greet(draft: Draft, hello: FeedHello, nowMs: number): void {
  const known = draft.state.hello;
  const isRestarted = known !== null && known.startedAtMs !== hello.startedAtMs;
  const restartedAtMs = isRestarted ? hello.nowMs : draft.state.restartedAtMs;
  clear(draft);
  const kept = isRestarted ? EMPTY : draft.state;
  draft.state = { ...kept, hello, restartedAtMs, clockOffsetMs: hello.nowMs - nowMs };
}

/** What is recalled is all there is: what happened while nobody listened is in it, or gone. */
function recall(draft: Draft, recent: FeedRecent): void {
  clear(draft);
  draft.state = { ...draft.state, endedTurns: [], decisions: [], guardEvents: [] };
  for (const turn of recent.turns) {
    if (turn.endedAtMs === null) draft.live.set(turn.turnId, turn);
    else draft.ended.push(turn);
  }
  draft.decisions.push(...recent.decisions);
  draft.guard.push(...recent.guard);
}

function clear(draft: Draft): void {
  draft.live.clear();
  for (const list of [draft.ended, draft.decisions, draft.guard]) list.length = 0;
}

function follow(draft: Draft, turn: FeedTurn): void {
  if (isTold(draft, turn)) return;
  const isNews = (draft.live.get(turn.turnId)?.firstTokenMs ?? null) === null;
  if (isNews && turn.firstTokenMs !== null) {
    draft.state = { ...draft.state, history: withFirstToken(draft.state.history, turn) };
  }
  if (turn.endedAtMs === null) {
    draft.live.set(turn.turnId, turn);
    return;
  }
  draft.live.delete(turn.turnId);
  draft.ended.push(turn);
}

/** One that came with what is recalled may be told of once more: it is counted already. */
function isTold(draft: Draft, turn: FeedTurn): boolean {
  if (draft.live.has(turn.turnId)) return false;
  const isIt = ({ turnId }: FeedTurn) => turnId === turn.turnId;
  const { endedTurns } = draft.state;
  const [fresh, known] = [draft.ended.findIndex(isIt), endedTurns.findIndex(isIt)];
  // An end is the last that there is to tell: nothing makes a turn live again.
  const isNewer = turn.endedAtMs !== null;
  if (isNewer && fresh >= 0) draft.ended[fresh] = turn;
  if (isNewer && known >= 0) {
    draft.state = { ...draft.state, endedTurns: endedTurns.with(known, turn) };
  }
  return fresh >= 0 || known >= 0;
}

function settled(draft: Draft, before: FeedState): FeedState {
  const { state, live } = draft;
  for (const turnId of live.keys()) {
    if (live.size <= LIMITS.liveTurns) break;
    live.delete(turnId);
  }
  return {
    ...state,
    liveTurns: isSameMap(live, before.liveTurns) ? before.liveTurns : live,
    endedTurns: newestFirst(draft.ended, state.endedTurns, LIMITS.endedTurns),
    decisions: newestFirst(draft.decisions, state.decisions, LIMITS.decisions),
    guardEvents: newestFirst(draft.guard, state.guardEvents, LIMITS.guardEvents),
  };
}

function newestFirst<T>(added: readonly T[], known: readonly T[], most: number): readonly T[] {
  return added.length === 0 ? known : [...added.toReversed(), ...known].slice(0, most);
}

function isSameMap<K, V>(one: ReadonlyMap<K, V>, other: ReadonlyMap<K, V>): boolean {
  return one.size === other.size && [...one].every(([key, value]) => other.get(key) === value);
}
