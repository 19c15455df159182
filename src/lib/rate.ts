/**
 * Rates as people write them: `2/s`, `90/min`, `5000/h`. Per millisecond everywhere else.
 *
 * @module
 */

import { z } from "zod";
import { needs } from "./schema-issues.ts";

// Wide, so that a rate that is too high is told as that, and not as one without a unit.
const RATE = /^(\d{1,18}(?:\.\d{1,6})?)\/(s|min|h|d)$/u;
const PER_MS: Readonly<Record<string, number>> = {
  s: 1 / 1000,
  min: 1 / 60_000,
  h: 1 / 3_600_000,
  d: 1 / 86_400_000,
};
const MOST_PER_MS = 1000;
const message = needs("a rate with a unit", "Write for example `2/s`, `90/min` or `5000/h`");

/** A setting that is a rate above 0; the value is per millisecond. */
export const rateSchema = z
  .string({ error: message })
  .regex(RATE, { error: message, abort: true })
  .meta({ unit: "rate, up to 1000000/s" })
  .transform((text) => {
    const [, number = "", unit = ""] = RATE.exec(text) ?? [];
    return Number(number) * (PER_MS[unit] ?? Number.NaN);
  })
  .refine((rate) => rate > 0 && rate <= MOST_PER_MS, {
    error: "needs a rate above 0 and up to 1000000/s",
  });
