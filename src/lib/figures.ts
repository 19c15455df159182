/**
 * Figures as people read them.
 *
 * @module
 */

import { inMebibytes } from "./bytes.ts";

/** `2.4 s`; below a tenth of a second `85 ms`. */
export function seconds(durationMs: number): string {
  if (durationMs < 100) return `${Math.round(durationMs)} ms`;
  return `${(durationMs / 1000).toFixed(1)} s`;
}

/** `$0.0020`: turns cost less than a cent. */
export function dollars(usd: number): string {
  return `$${usd.toFixed(4)}`;
}

/** `24,105 MiB`, rounded down: what is shown is there. */
export function mebibytes(bytes: number): string {
  return `${inMebibytes(bytes)} MiB`;
}

/** `12,345`. */
export function count(number: number): string {
  return number.toLocaleString("en");
}

/** `1 step`, `2 steps`. */
export function countOf(number: number, thing: string): string {
  return `${count(number)} ${thing}${number === 1 ? "" : "s"}`;
}
