/**
 * A load that is tried: so many turns, each with where it is. Pure.
 *
 * @module
 */

export type TrialTurn =
  | { readonly state: "sent" }
  | { readonly state: "running"; readonly turnId: string; readonly sessionId: string | null }
  | { readonly state: "ended"; readonly turnId: string; readonly sessionId: string | null }
  /** `retryAtMs` where it will be sent again, by the clock of the browser. */
  | {
      readonly state: "shed";
      readonly code: string;
      readonly retryAfterSeconds: number | null;
      readonly retryAtMs: number | null;
    }
  | { readonly state: "failed"; readonly message: string }
  | { readonly state: "cancelled" };

export const STATES = ["sent", "running", "ended", "shed", "failed", "cancelled"] as const;
export type TrialState = (typeof STATES)[number];

export interface Trial {
  readonly turns: readonly TrialTurn[];
  /** Refusals in all, those included that were admitted later. */
  readonly refusals: number;
  /** Of the refusals: the shortest and the longest Retry-After; null if there was none. */
  readonly retryAfterSeconds: readonly [least: number, most: number] | null;
}

export const MOST_TURNS = 64;

export function newTrial(count: number): Trial {
  const turns = Array.from({ length: count }, () => ({ state: "sent" }) as const);
  return { turns, refusals: 0, retryAfterSeconds: null };
}

export function withTurn(trial: Trial, index: number, turn: TrialTurn): Trial {
  const turns = trial.turns.map((known, at) => (at === index ? turn : known));
  if (turn.state !== "shed") return { ...trial, turns };
  const { retryAfterSeconds: known, refusals } = trial;
  const seconds = turn.retryAfterSeconds;
  return {
    turns,
    refusals: refusals + 1,
    retryAfterSeconds:
      seconds === null
        ? known
        : [Math.min(known?.[0] ?? seconds, seconds), Math.max(known?.[1] ?? seconds, seconds)],
  };
}

/** @param hasEnded Of a turn, as the feed tells. */
export function withEnds(trial: Trial, hasEnded: (turnId: string) => boolean): Trial {
  const isNews = (turn: TrialTurn) => turn.state === "running" && hasEnded(turn.turnId);
  if (!trial.turns.some(isNews)) return trial;
  const turns = trial.turns.map((turn) =>
    turn.state === "running" && hasEnded(turn.turnId) ? { ...turn, state: "ended" as const } : turn,
  );
  return { ...trial, turns };
}

function countsOf({ turns }: Trial): Readonly<Record<TrialState, number>> {
  const counts = { sent: 0, running: 0, ended: 0, shed: 0, failed: 0, cancelled: 0 };
  for (const { state } of turns) counts[state] += 1;
  return counts;
}

/** Whether nothing of it will change by itself. */
export function isOver({ turns }: Trial): boolean {
  return turns.every((turn) =>
    turn.state === "shed"
      ? turn.retryAtMs === null
      : turn.state !== "sent" && turn.state !== "running",
  );
}

/** e.g. `12 on board, 8 shed. 8 refusals in all, …`. */
export function trialText(trial: Trial): string {
  const counts = countsOf(trial);
  const parts = [
    counts.sent > 0 && `${counts.sent} on their way`,
    counts.running > 0 && `${counts.running} on board`,
    counts.ended > 0 && `${counts.ended} ended`,
    counts.shed > 0 && `${counts.shed} shed`,
    counts.failed > 0 && `${counts.failed} failed`,
    counts.cancelled > 0 && `${counts.cancelled} cancelled`,
  ].filter((part) => part !== false);
  const { refusals, retryAfterSeconds } = trial;
  const text = `${parts.join(", ")}.`;
  if (refusals === 0) return text;
  const times = refusals === 1 ? "One refusal" : `${refusals} refusals`;
  if (retryAfterSeconds === null) return `${text} ${times} in all.`;
  const [least, most] = retryAfterSeconds;
  const span = least === most ? `${most} s` : `${least} to ${most} s`;
  return `${text} ${times} in all, each at once and with Retry-After: ${span}.`;
}

/**
 * The countdown of those that come back, e.g. `8 come again, the first in 4 s.`; empty for none.
 *
 * @param nowMs By the clock of the browser.
 */
export function againText({ turns }: Trial, nowMs: number): string {
  const times = turns.flatMap((turn) =>
    turn.state === "shed" && turn.retryAtMs !== null ? [turn.retryAtMs] : [],
  );
  if (times.length === 0) return "";
  const seconds = Math.max(0, Math.ceil((Math.min(...times) - nowMs) / 1000));
  if (times.length === 1) return `1 comes again in ${seconds} s.`;
  return `${times.length} come again, the first in ${seconds} s.`;
}

/**
 * What to say to the rehearsal model, which quotes it: so many words take it about so long.
 * @param wordsASecond What the built-in script streams.
 */
export function promptFor(seconds: number, wordsASecond = 40): string {
  const words = "all hands on deck and mind the line".split(" ");
  const count = Math.max(1, Math.round(seconds * wordsASecond));
  return Array.from({ length: count }, (_, index) => words[index % words.length]).join(" ");
}
