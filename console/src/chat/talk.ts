/**
 * One conversation with an agent: sends what the user says until it is taken, follows the turn to
 * its end whatever becomes of the connection, and finds both again after a reload.
 *
 *     idle ─▶ sending ─▶ running ─▶ idle
 *              ▲   ▼
 *             waiting ─▶ refused      refused for load: sent again by itself, so often at most
 *
 * @module
 */

import { type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { ApiError, getJson, send, toApiError } from "../access/api.ts";
import type { CallerName } from "../access/session.ts";
import { sessionPathOf } from "../sessions/session-list.ts";
import { conversationOf, type SessionBody } from "../sessions/transcript.ts";
import type { NumberedAguiEvent } from "./agui-events.ts";
import { type Conversation, NOTHING_SAID, withItem } from "./conversation.ts";
import { beforeFirstEvent, followRun } from "./follow-run.ts";
import { newId } from "./new-id.ts";
import { pause } from "./pause.ts";
import { reduceEvent, userItem } from "./reduce-events.ts";
import { readSaved, save, type Saved } from "./saved.ts";
import { type Message, sendTurn, staysIn, type Target, waitAfter } from "./send-turn.ts";

export type Phase =
  | { readonly is: "loading" | "idle" }
  | { readonly is: "sending"; readonly message: Message; readonly isCancelling: boolean }
  | {
      readonly is: "waiting";
      readonly message: Message;
      readonly error: ApiError;
      /** How often it was sent. */
      readonly tries: number;
      /** When it is sent again, by the clock of the browser. */
      readonly untilMs: number;
    }
  | { readonly is: "refused"; readonly message: Message; readonly error: ApiError }
  | {
      readonly is: "running";
      readonly turnId: string | null;
      readonly isCancelling: boolean;
      /** The stream broke, and is looked for again. */
      readonly isCutOff: boolean;
    };

export interface Talk extends Disposable {
  readonly target: ReadonlySignal<Target>;
  /** That it is in, as far as is known: to be read and shown. */
  readonly sessionId: ReadonlySignal<string | null>;
  readonly conversation: ReadonlySignal<Conversation>;
  readonly phase: ReadonlySignal<Phase>;
  /** Why the conversation could not be read; null where it could. */
  readonly trouble: ReadonlySignal<ApiError | null>;
  say(message: Omit<Message, "key">): void;
  /** Ends the turn, or what is done to start it. */
  cancel(): void;
  /** Sends a refused message again, under its old key. */
  sendAgain(): void;
  /** Takes a refused message back, to be changed. */
  takeBack(): Message | null;
}

const FOLLOWING = {
  /** Attempts to reach a run again of which nothing came meanwhile. */
  tries: 20,
  firstPauseMs: 250,
  pauseMs: 5_000,
} as const;

/** Continues what the tab was in, if it was in that conversation; else begins or opens it. */
export function openTalk(target: Target, owner: CallerName, store: Storage): Talk {
  const { sessionId } = target;
  const saved = readSaved(store, owner);
  const isSame = saved?.target.agent === target.agent && saved.target.threadId === target.threadId;
  const known = isSame ? saved : { owner, target, sessionId, outbox: null, turnId: null };
  return new LiveTalk(sessionId === null ? known : { ...known, target, sessionId }, store);
}

class LiveTalk implements Talk {
  readonly target: Signal<Target>;
  readonly sessionId: Signal<string | null>;
  readonly conversation = signal(NOTHING_SAID);
  readonly phase = signal<Phase>({ is: "loading" });
  readonly trouble = signal<ApiError | null>(null);
  readonly #owner: CallerName;
  readonly #store: Storage;
  readonly #end = new AbortController();
  /** Stops the waiting of a message that was refused. */
  #waiting = new AbortController();
  #saidEarly: Omit<Message, "key"> | null = null;
  /** What the signal will be at the next frame. */
  #now: Conversation = NOTHING_SAID;
  #frame: number | null = null;

  constructor(saved: Saved, store: Storage) {
    this.target = signal(saved.target);
    this.sessionId = signal(saved.sessionId);
    this.#owner = saved.owner;
    this.#store = store;
    void this.#unlessEnded(this.#load(saved));
  }

  say(message: Omit<Message, "key">): void {
    const { is } = this.phase.value;
    // Who types faster than a conversation is read has said it all the same.
    if (is === "loading") this.#saidEarly = message;
    if (is !== "idle" && is !== "refused") return;
    this.takeBack();
    this.trouble.value = null;
    const named = { ...message, key: newId() };
    const at = new Date().toISOString();
    this.#show(withItem(this.#now, userItem(named.key, named.text, named.files, at)));
    void this.#unlessEnded(this.#send(named));
  }

  sendAgain(): void {
    const phase = this.phase.value;
    if (phase.is !== "refused") return;
    this.trouble.value = null;
    void this.#unlessEnded(this.#send(phase.message));
  }

  takeBack(): Message | null {
    const phase = this.phase.value;
    if (phase.is !== "refused") return null;
    const { items, run } = this.#now;
    this.#show({ run, items: items.filter(({ id }) => id !== phase.message.key) });
    this.#idle();
    return phase.message;
  }

  cancel(): void {
    const phase = this.phase.value;
    if (phase.is === "waiting") this.#waiting.abort();
    // Whether it was taken is not known yet: when it is, the turn is ended.
    if (phase.is === "sending") this.phase.value = { ...phase, isCancelling: true };
    if (phase.is !== "running" || phase.turnId === null || phase.isCancelling) return;
    this.phase.value = { ...phase, isCancelling: true };
    void this.#cancelTurn(phase.turnId);
  }

  [Symbol.dispose](): void {
    this.#end.abort();
    this.#waiting.abort();
    if (this.#frame !== null) cancelAnimationFrame(this.#frame);
  }

  /** It was cancelled before it was known whether it was taken. */
  get #isCancelling(): boolean {
    const phase = this.phase.value;
    return phase.is === "sending" && phase.isCancelling;
  }

  async #load(saved: Saved): Promise<void> {
    const { sessionId } = saved;
    const stored = sessionId === null ? null : await this.#stored(sessionId);
    if (stored !== null) this.#show(conversationOf(stored));
    if (saved.outbox !== null) {
      const { key, text, files } = saved.outbox;
      this.#show(withItem(this.#now, userItem(key, text, files)));
      return this.#send(saved.outbox);
    }
    if (saved.turnId === null && stored?.isBusy !== true) return this.#idle();
    return this.#follow(saved.turnId, null);
  }

  /** Null for one that keeps nothing, or is gone: what is said next will tell. */
  async #stored(sessionId: string): Promise<SessionBody | null> {
    const { signal: ended } = this.#end;
    try {
      return await getJson<SessionBody>(sessionPathOf(sessionId), { signal: ended });
    } catch (thrown) {
      ended.throwIfAborted();
      const isThere = !(thrown instanceof ApiError) || thrown.status !== 404;
      if (isThere && thrown instanceof ApiError) this.trouble.value = thrown;
      return null;
    }
  }

  async #send(message: Message): Promise<void> {
    this.#save(message, null);
    for (let tries = 1; ; tries += 1) {
      this.phase.value = { is: "sending", message, isCancelling: false };
      const sent = await sendTurn(this.target.value, message, this.#end.signal);
      const isCancelling = this.#isCancelling;
      if (sent.is === "accepted") {
        const { sessionId, threadId, turnId } = sent;
        this.target.value = staysIn({ ...this.target.value, threadId }, sessionId);
        this.sessionId.value = sessionId;
        if (isCancelling) void this.#cancelTurn(turnId);
        return this.#follow(turnId, beforeFirstEvent(turnId), isCancelling);
      }
      const { error } = sent;
      const waitMs = isCancelling ? null : waitAfter(error, tries);
      const isSentAgain = waitMs !== null && (await this.#wait(message, error, tries, waitMs));
      if (isSentAgain) continue;
      // The page goes on with it when it is told to: after a reload, too, it must not by itself.
      this.#save(null, null);
      this.phase.value = { is: "refused", message, error };
      return;
    }
  }

  /** False when it was stopped. */
  async #wait(message: Message, error: ApiError, tries: number, waitMs: number): Promise<boolean> {
    const untilMs = Date.now() + waitMs;
    this.#waiting = new AbortController();
    this.phase.value = { is: "waiting", message, error, tries, untilMs };
    await pause(waitMs, this.#waiting.signal);
    this.#end.signal.throwIfAborted();
    return !this.#waiting.signal.aborted;
  }

  /** @param from The last frame that was read; null for all, with what was said before. */
  async #follow(turnId: string | null, from: string | null, isCancelling = false): Promise<void> {
    this.#save(null, turnId);
    // The end of an earlier run must not be taken for that of this one.
    this.#now = { ...this.#now, run: null };
    this.phase.value = { is: "running", turnId, isCancelling, isCutOff: false };
    const runId = newId();
    let lastEventId = from;
    for (let tries = 1; tries <= FOLLOWING.tries; tries += 1) {
      try {
        const { agent, threadId } = this.target.value;
        const { signal: ended } = this.#end;
        const following = { agent, threadId, runId, lastEventId, signal: ended };
        for await (const numbered of followRun(following)) {
          tries = 1;
          lastEventId = numbered.id ?? lastEventId;
          this.#take(numbered);
        }
        if (this.#now.run?.isEnded === true) return this.#ended(turnId);
      } catch (thrown) {
        this.#end.signal.throwIfAborted();
        if (thrown instanceof ApiError && !isPassing(thrown)) {
          // Its place is gone, and what is stored is not.
          if (lastEventId === null) return this.#lose(thrown);
          lastEventId = null;
        }
      }
      this.#running({ isCutOff: true });
      const pauseMs = FOLLOWING.firstPauseMs * 2 ** (tries - 1);
      await pause(Math.min(pauseMs, FOLLOWING.pauseMs), this.#end.signal);
      this.#end.signal.throwIfAborted();
    }
    this.#lose(toApiError(null));
  }

  #take(numbered: NumberedAguiEvent): void {
    this.#now = reduceEvent(this.#now, numbered);
    const { event } = numbered;
    if (event.type === "RUN_STARTED") {
      const { turnId = null, sessionId } = event.metadata ?? {};
      if (sessionId !== undefined) this.sessionId.value = sessionId;
      if (turnId !== null) {
        this.#running({ turnId });
        this.#save(null, turnId);
      }
    }
    this.#running({ isCutOff: false });
    this.#frame ??= requestAnimationFrame(() => this.#show(this.#now));
  }

  /** @param turnId That was followed, as far as it was known. */
  #ended(turnId: string | null): void {
    const { run } = this.#now;
    const isUnknown = run?.turnId === null && turnId !== null;
    if (isUnknown && !this.#now.items.some(({ id }) => id === turnId)) {
      const notice = { kind: "notice", id: turnId, name: "turn_unknown", data: {} } as const;
      this.#now = withItem(this.#now, notice);
    }
    this.#show(this.#now);
    this.#idle();
  }

  #lose(error: ApiError): void {
    this.trouble.value = error;
    this.#show(this.#now);
    this.#idle();
  }

  #idle(): void {
    this.#save(null, null);
    this.phase.value = { is: "idle" };
    const early = this.#saidEarly;
    this.#saidEarly = null;
    if (early !== null) this.say(early);
  }

  #running(change: { turnId?: string; isCutOff?: boolean }): void {
    const phase = this.phase.value;
    if (phase.is !== "running") return;
    const next = { ...phase, ...change };
    const isSame = next.turnId === phase.turnId && next.isCutOff === phase.isCutOff;
    if (!isSame) this.phase.value = next;
  }

  async #cancelTurn(turnId: string): Promise<void> {
    // One that is not known has ended: its stream says how.
    await send(`/v1/turns/${turnId}/cancel`, { method: "POST" }).catch(() => {});
  }

  #show(conversation: Conversation): void {
    if (this.#frame !== null) cancelAnimationFrame(this.#frame);
    this.#frame = null;
    this.#now = conversation;
    this.conversation.value = conversation;
  }

  #save(outbox: Message | null, turnId: string | null): void {
    const { value: target } = this.target;
    const { value: sessionId } = this.sessionId;
    save(this.#store, { owner: this.#owner, target, sessionId, outbox, turnId });
  }

  async #unlessEnded(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (thrown) {
      if (!this.#end.signal.aborted) throw thrown;
    }
  }
}

/** The server is away, or has too much to do. */
function isPassing({ status }: ApiError): boolean {
  return [0, 429, 502, 503, 504].includes(status);
}
