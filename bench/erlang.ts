/**
 * How much traffic a replica without a queue can take: Erlang's loss formula. Pure.
 *
 * @module
 */

/** Part of the turns that are shed with room for `turns`, at an offered load in Erlang. */
export function shedRatio(turns: number, offered: number): number {
  let ratio = 1;
  for (let k = 1; k <= turns; k += 1) ratio = (offered * ratio) / (k + offered * ratio);
  return ratio;
}

/** The offered load, in Erlang, of which that part is shed. */
export function trafficAt(turns: number, ratio: number): number {
  let [low, high] = [0, turns / (1 - ratio) + 1];
  for (let step = 0; step < 60; step += 1) {
    const middle = (low + high) / 2;
    if (shedRatio(turns, middle) > ratio) high = middle;
    else low = middle;
  }
  return low;
}
