/**
 * Durations as people write them: `250ms`, `30s`, `5m`, `1h`, `30d`. Milliseconds everywhere else.
 *
 * @module
 */

import { z } from "zod";
import { needs } from "./schema-issues.ts";

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const DURATION = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/u;

/** Whole milliseconds; undefined if the text is not a number with a unit. */
export function parseDuration(text: string): number | undefined {
  const [, number, unit] = DURATION.exec(text) ?? [];
  if (number === undefined || !isUnit(unit)) return undefined;
  return Math.round(Number(number) * UNIT_MS[unit]);
}

/** A duration in the largest unit that divides it: 90000 is `90s`. */
export function formatDuration(durationMs: number): string {
  if (durationMs === 0) return "0s";
  const unit =
    (["d", "h", "m", "s"] as const).find((each) => durationMs % UNIT_MS[each] === 0) ?? "ms";
  return `${durationMs / UNIT_MS[unit]}${unit}`;
}

/** A setting that is a duration within bounds, both included; the value is in milliseconds. */
export function durationSchema(least: string, most: string) {
  const bounds = {
    least: parseDuration(least) ?? Number.NaN,
    most: parseDuration(most) ?? Number.NaN,
  };
  const message = needs(
    "a duration with a unit",
    "Write for example `250ms`, `30s`, `5m`, `1h` or `30d`",
  );
  return z
    .string({ error: message })
    .regex(DURATION, { error: message, abort: true })
    .meta({ unit: `duration, ${least} to ${most}` })
    .transform((text) => parseDuration(text) ?? Number.NaN)
    .refine((durationMs) => durationMs >= bounds.least && durationMs <= bounds.most, {
      error: `needs a duration from ${least} to ${most}`,
    });
}

function isUnit(text: string | undefined): text is keyof typeof UNIT_MS {
  return text !== undefined && Object.hasOwn(UNIT_MS, text);
}
