/**
 * Erlang's loss formula from elsewhere: values as they are printed in tables of traffic, and the
 * formula in whole numbers, without rounding.
 *
 * @module
 */

/**
 * Offered traffic in Erlang, of which so much is lost, as printed.
 *
 * Source: the Erlang B tables of ITU-D Study Group 2, "Teletraffic Engineering Handbook", and of many
 * textbooks.
 */
export const PRINTED_TRAFFIC: readonly (readonly [
  turns: number,
  ratio: number,
  traffic: number,
])[] = [
  [1, 0.01, 0.0101],
  [2, 0.01, 0.153],
  [3, 0.01, 0.455],
  [4, 0.01, 0.869],
  [5, 0.01, 1.361],
  [6, 0.01, 1.909],
  [7, 0.01, 2.501],
  [8, 0.01, 3.128],
  [9, 0.01, 3.783],
  [10, 0.01, 4.461],
  [15, 0.01, 8.108],
  [20, 0.01, 12.031],
  [30, 0.01, 20.337],
  [50, 0.01, 37.901],
  [100, 0.01, 84.064],
  [1, 0.02, 0.0204],
  [2, 0.02, 0.223],
  [3, 0.02, 0.602],
  [4, 0.02, 1.092],
  [5, 0.02, 1.657],
  [10, 0.02, 5.084],
  [20, 0.02, 13.182],
  [10, 0.05, 6.216],
  [20, 0.05, 15.249],
  [5, 0.001, 0.762],
  [10, 0.001, 3.092],
  [20, 0.001, 9.411],
];

/** Shed ratios, as printed, or as they are by hand for one to three turns. */
export const PRINTED_RATIOS: readonly (readonly [turns: number, offered: number, ratio: number])[] =
  [
    [1, 1, 0.5],
    [2, 1, 0.2],
    [3, 1, 0.0625],
    [3, 3, 0.346154],
    [5, 3, 0.110054],
    [10, 5, 0.018385],
    [15, 15, 0.180316],
  ];

/** Of the formula in whole numbers: turns, and the traffic as a fraction. */
export const EXACT_CASES: readonly (readonly [
  turns: number,
  numerator: number,
  denominator: number,
])[] = [
  [1, 1, 10],
  [1, 5, 1],
  [2, 3, 2],
  [3, 1, 4],
  [4, 4, 1],
  [5, 1, 2],
  [6, 7, 2],
  [7, 12, 1],
  [8, 5, 1],
  [10, 10, 1],
  [12, 15, 2],
  [15, 9, 1],
  [20, 12, 1],
  [20, 40, 1],
  [30, 25, 1],
  [40, 61, 2],
  [50, 50, 1],
  [75, 60, 1],
  [100, 84, 1],
  [100, 120, 1],
  [150, 140, 1],
  [200, 180, 1],
  [200, 250, 1],
  [500, 480, 1],
];

const DIGITS = 10n ** 25n;

/** Aⁿ/n! of the sum of Aᵏ/k!, with A = p/q: both times qⁿ n!, so that all are whole numbers. */
export function exactShedRatio(turns: number, numerator: number, denominator: number): number {
  const [p, q] = [BigInt(numerator), BigInt(denominator)];
  let sum = 0n;
  let falling = 1n;
  for (let k = turns; k >= 0; k -= 1) {
    sum += p ** BigInt(k) * q ** BigInt(turns - k) * falling;
    falling *= BigInt(k);
  }
  return Number((DIGITS * p ** BigInt(turns)) / sum) / Number(DIGITS);
}
