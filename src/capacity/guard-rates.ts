/**
 * From running totals to rates, over the last half to one second, or since the last look where that
 * is longer ago: a guard that is itself held up by the thrashing it is to end looks seldom, and has
 * to see it all the same. Pure.
 *
 * @module
 */

/** Running totals of the kernel at one moment; null where they are not told. */
export interface Totals {
  readonly refaultedPages: number | null;
  readonly majorFaults: number | null;
  readonly stallMs: number | null;
}

/** Null until there is enough to tell, and where the totals are not told. */
export interface Rates {
  readonly refaultsPerSecond: number | null;
  readonly faultsPerSecond: number | null;
  /** Share of the time in which nothing got on for want of memory, 0 to 1. */
  readonly stallRatio: number | null;
}

export type TotalsAt = Totals & { readonly atMs: number };

export const NO_RATES: Rates = {
  refaultsPerSecond: null,
  faultsPerSecond: null,
  stallRatio: null,
};

const LONGEST_MS = 1000;
const SHORTEST_MS = 500;
/** The least time between two totals that are kept: those between would be of no more use. */
const KEPT_EVERY_MS = 50;

/** The totals to keep for later rates, and the rates now. */
export function nextRates(
  before: readonly TotalsAt[],
  now: TotalsAt,
): { readonly kept: readonly TotalsAt[]; readonly rates: Rates } {
  const last = before.at(-1);
  const isRecent = ({ atMs }: TotalsAt) => now.atMs - atMs <= LONGEST_MS;
  const recent = before.filter((each) => isRecent(each) || each === last);
  const kept =
    last !== undefined && now.atMs - last.atMs < KEPT_EVERY_MS ? recent : [...recent, now];
  const [first] = recent;
  if (first === undefined || now.atMs - first.atMs < SHORTEST_MS) return { kept, rates: NO_RATES };
  const spanMs = now.atMs - first.atMs;
  const stalledMs = growth(first.stallMs, now.stallMs);
  return {
    kept,
    rates: {
      refaultsPerSecond: perSecond(growth(first.refaultedPages, now.refaultedPages), spanMs),
      faultsPerSecond: perSecond(growth(first.majorFaults, now.majorFaults), spanMs),
      stallRatio: stalledMs === null ? null : Math.min(1, stalledMs / spanMs),
    },
  };
}

/**
 * How much a figure has grown; null where it is not told, and where it fell: a total that falls is of
 * another group now, or lies.
 */
export function growth(from: number | null, to: number | null): number | null {
  if (from === null || to === null || !(to >= from)) return null;
  return to - from;
}

function perSecond(grown: number | null, spanMs: number): number | null {
  return grown === null ? null : (grown * 1000) / spanMs;
}
