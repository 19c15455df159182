/**
 * What has happened on a replica and can be told: its turns, decisions of its gate, and what its
 * memory guard has ended. Kept whether somebody reads or not; who reads is the business of
 * `feed.ts`.
 *
 * @module
 */

import type { GateDecision } from "../capacity/shed.ts";
import { TokenBucket } from "../lib/token-bucket.ts";
import type { FeedDecision, FeedGuardEvent } from "../protocol/feed.ts";
import {
  advance,
  beginProgress,
  type TellTurn,
  type TurnNews,
  type TurnProgress,
  type TurnView,
} from "../turn/turn-view.ts";
import type { GuardAct } from "./guard-link.ts";

/** Turns that have ended, of which the view is kept. */
const MAX_ENDED_TURNS = 100;
const MAX_DECISIONS = 50;
const MAX_GUARD_EVENTS = 50;
/** Decisions that are told; the others are counted. A flood has thousands a second. */
const TOLD_DECISIONS = { atOnce: 20, perSecond: 20 };

/** Hears what is new. */
export interface BookListener {
  turnAdmitted(): void;
  turnChanged(turnId: string): void;
  /** @param firstTokenMs From the admission of a turn. */
  firstToken(firstTokenMs: number): void;
  decided(decision: FeedDecision): void;
  guardActed(event: FeedGuardEvent): void;
}

export interface Recent {
  readonly turns: readonly TurnView[];
  readonly decisions: readonly FeedDecision[];
  readonly guard: readonly FeedGuardEvent[];
}

export class FeedBook {
  readonly #running = new Map<string, TurnProgress>();
  /** In the order in which they ended. */
  readonly #ended = new Map<string, TurnView>();
  readonly #decisions: FeedDecision[] = [];
  readonly #guardEvents: FeedGuardEvent[] = [];
  readonly #telling = new TokenBucket(TOLD_DECISIONS);
  #untold = 0;
  #listener: BookListener | null = null;

  /** The one who hears of all from now on. */
  listen(listener: BookListener): void {
    this.#listener = listener;
  }

  /** A turn that runs, or one of the last that have ended. */
  turn(turnId: string): TurnView | undefined {
    return this.#running.get(turnId)?.view ?? this.#ended.get(turnId);
  }

  /** All that is kept, the oldest first; turns that run come last. */
  recent(): Recent {
    const running = Array.from(this.#running.values(), ({ view }) => view);
    return {
      turns: [...this.#ended.values(), ...running],
      decisions: [...this.#decisions],
      guard: [...this.#guardEvents],
    };
  }

  /** Takes in what a turn tells, in constant time. */
  readonly tell: TellTurn = (turnId, news) => this.#told(turnId, news, Date.now());

  #told(turnId: string, news: TurnNews, nowMs: number): void {
    if (news.type === "turn_admitted") {
      this.#running.set(turnId, beginProgress(turnId, news));
      this.#listener?.turnAdmitted();
      this.#listener?.turnChanged(turnId);
      return;
    }
    const before = this.#running.get(turnId);
    if (before === undefined) return;
    const after = advance(before, news, nowMs);
    if (after === before) return;
    const { endedAtMs, firstTokenMs } = after.view;
    if (endedAtMs === null) this.#running.set(turnId, after);
    else this.#turnEnded(after.view);
    if (news.type === "turn_measured" && news.toolsKilled > 0) this.#kernelActed(turnId, nowMs);
    if (before.view.firstTokenMs === null && firstTokenMs !== null) {
      this.#listener?.firstToken(firstTokenMs);
    }
    this.#listener?.turnChanged(turnId);
  }

  /**
   * A decision of the gate, in constant time.
   *
   * @param monotonicNowMs Of a clock that nobody sets.
   */
  decided(decision: GateDecision, monotonicNowMs: number): void {
    if (!this.#telling.take(monotonicNowMs)) {
      this.#untold += 1;
      return;
    }
    const { reason, text, agentName: agent, tenant } = decision;
    const told: FeedDecision = {
      type: "decision",
      atMs: Date.now(),
      admitted: reason === null,
      reason,
      text,
      agent,
      tenant,
      untold: this.#untold,
    };
    this.#untold = 0;
    keep(this.#decisions, told, MAX_DECISIONS);
    this.#listener?.decided(told);
  }

  guardActed(act: GuardAct): void {
    const nowMs = Date.now();
    this.#acted({ by: "guard", ...act }, nowMs);
    const { what, turnId } = act;
    if (what === "tool" && turnId !== null)
      this.#told(turnId, { type: "tool_ended_by_guard" }, nowMs);
  }

  /** In the control group of a turn it is quicker than the guard; nobody is told before the end. */
  #kernelActed(turnId: string, nowMs: number): void {
    const text = "the kernel has ended a tool that filled its turn up to the ceiling";
    this.#acted({ by: "kernel", what: "tool", turnId, bytes: null, text }, nowMs);
  }

  #acted(act: Omit<FeedGuardEvent, "type" | "atMs">, atMs: number): void {
    const { by, what, turnId, bytes, text } = act;
    const event: FeedGuardEvent = { type: "guard", atMs, by, what, turnId, bytes, text };
    keep(this.#guardEvents, event, MAX_GUARD_EVENTS);
    this.#listener?.guardActed(event);
  }

  #turnEnded(view: TurnView): void {
    this.#running.delete(view.turnId);
    this.#ended.set(view.turnId, view);
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > MAX_ENDED_TURNS && oldest !== undefined) this.#ended.delete(oldest);
  }
}

function keep<Item>(items: Item[], item: Item, most: number): void {
  items.push(item);
  if (items.length > most) items.shift();
}
