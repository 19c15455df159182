/**
 * Shares as people write them: `1%`, `0.5%`. Ratios in [0, 1] everywhere else.
 *
 * @module
 */

import { z } from "zod";
import { needs } from "./schema-issues.ts";

const PERCENT = /^(\d{1,3}(?:\.\d{1,6})?)%$/u;

/** In [0, 1]; undefined if the text is not a percentage. */
function parsePercent(text: string): number | undefined {
  const [, number] = PERCENT.exec(text) ?? [];
  if (number === undefined || Number(number) > 100) return undefined;
  return Number(number) / 100;
}

/** A setting that is a share within bounds in percent, both included; the value is a ratio. */
export function percentSchema(leastPercent: number, mostPercent: number) {
  const message = needs("a percentage", "Write for example `1%` or `0.5%`");
  return z
    .string({ error: message })
    .regex(PERCENT, { error: message, abort: true })
    .meta({ unit: `percentage, ${leastPercent}% to ${mostPercent}%` })
    .transform((text) => parsePercent(text) ?? Number.NaN)
    .refine((ratio) => ratio >= leastPercent / 100 && ratio <= mostPercent / 100, {
      error: `needs a percentage from ${leastPercent}% to ${mostPercent}%`,
    });
}
