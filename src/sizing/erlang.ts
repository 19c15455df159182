/**
 * Erlang's loss formula: how many turns are shed by a gate that has room for so many and no queue.
 * Offered traffic is in Erlang: turns that would be in flight at once if none were shed. How long
 * turns take matters by its mean alone, whatever its distribution. Pure.
 *
 * Source: A. K. Erlang, 1917; the recurrence and the extension to callers who try again as in
 * V. B. Iversen, "Teletraffic Engineering and Network Planning", chapters 7 and 8.
 *
 * @module
 */

/**
 * Part of the attempts that are shed, in [0, 1] (Erlang B). Takes time with `turns`. Stable: each
 * step adds and divides positive numbers, so that no factorial overflows and nothing cancels out.
 */
export function shedRatio(turns: number, offered: number): number {
  let ratio = 1;
  for (let k = 1; k <= turns; k += 1) ratio = (offered * ratio) / (k + offered * ratio);
  return ratio;
}

/** The offered traffic, in Erlang, of which that part is shed. @param ratio In [0, 1). */
export function trafficAt(turns: number, ratio: number): number {
  // What is carried, offered × (1 − ratio), is no more than there is room for.
  return root((offered) => shedRatio(turns, offered) - ratio, 0, turns / (1 - ratio) + 1);
}

/**
 * The least room for which no more than that part is shed. Takes time with the answer, which is
 * about the offered traffic.
 *
 * @param ratio In (0, 1].
 */
export function turnsNeeded(offered: number, ratio: number): number {
  let turns = 0;
  for (let shed = 1; shed > ratio; shed = (offered * shed) / (turns + offered * shed)) turns += 1;
  return turns;
}

/** What a gate does to callers of whom some try again. All ratios are in [0, 1]. */
export interface Retried {
  /** First and further attempts together, in Erlang; infinite if they never come to an end. */
  readonly offered: number;
  /** The part of all attempts that is shed. */
  readonly shedRatio: number;
  /** The part of all turns that are never served: their callers gave up. */
  readonly lostRatio: number;
}

/**
 * Erlang B where part of the shed callers try again, each time with the same probability (extended
 * Erlang B). They come back when the replica may be as full as before, so this is what blind retry
 * does; who waits as long as Retry-After says finds room more often.
 *
 * @param offered First attempts, in Erlang.
 * @param retryRatio In [0, 1].
 */
export function shedWithRetries(turns: number, offered: number, retryRatio: number): Retried {
  if (offered === 0) return { offered: 0, shedRatio: turns === 0 ? 1 : 0, lostRatio: 0 };
  const firstOf = (all: number) => all * (1 - retryRatio * shedRatio(turns, all));
  // Grows with `all`; and what is not retried is a part of at least 1 − retryRatio, or is served.
  let most = offered;
  while (firstOf(most) < offered && most < Number.MAX_SAFE_INTEGER) most *= 2;
  if (firstOf(most) < offered) return { offered: Infinity, shedRatio: 1, lostRatio: 1 };
  const all = root((candidate) => firstOf(candidate) - offered, offered, most);
  const shed = shedRatio(turns, all);
  return {
    offered: all,
    shedRatio: shed,
    lostRatio: (shed * (1 - retryRatio)) / (1 - retryRatio * shed),
  };
}

/** Where a function that does not decrease is 0, as closely as numbers can tell. */
function root(of: (value: number) => number, from: number, to: number): number {
  let [low, high] = [from, to];
  for (;;) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) return low;
    if (of(middle) > 0) high = middle;
    else low = middle;
  }
}
