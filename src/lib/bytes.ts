/**
 * Sizes as people write them: `64KiB`, `512MiB`, `2GiB`, and the decimal `500MB`; or as Kubernetes
 * has them, `2Gi` and the decimal `500M`. Bytes everywhere else.
 *
 * @module
 */

import { z } from "zod";
import { GIB, KIB, MIB } from "./byte-units.ts";
import { needs } from "./schema-issues.ts";

const UNIT_BYTES = {
  B: 1,
  KiB: KIB,
  MiB: MIB,
  GiB: GIB,
  TiB: 2 ** 40,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  Ki: KIB,
  Mi: MIB,
  Gi: GIB,
  Ti: 2 ** 40,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
} as const;
const SIZE = /^(\d{1,12}(?:\.\d{1,3})?)(B|[KMGT](?:iB|i|B)?)$/u;

/** Whole bytes; undefined if the text is not a number with a unit. */
export function parseBytes(text: string): number | undefined {
  const [, number, unit] = SIZE.exec(text) ?? [];
  if (number === undefined || !isUnit(unit)) return undefined;
  return Math.round(Number(number) * UNIT_BYTES[unit]);
}

/**
 * A size in the largest unit that divides it: 1048576 is `1MiB`. A decimal one where it says
 * so in fewer digits, since that is how it was written: 2000000000 is `2GB`.
 */
export function formatBytes(bytes: number): string {
  const units = ["TiB", "TB", "GiB", "GB", "MiB", "MB", "KiB", "KB"] as const;
  const unit = bytes === 0 ? "B" : (units.find((each) => bytes % UNIT_BYTES[each] === 0) ?? "B");
  return `${bytes / UNIT_BYTES[unit]}${unit}`;
}

// Made once: a replica under load writes thousands of refusals a second.
const wholeNumber = new Intl.NumberFormat("en-US");

/** Whole mebibytes as people read them, without the unit: `1,900`. Rounded down. */
export function inMebibytes(bytes: number): string {
  return wholeNumber.format(Math.floor(bytes / UNIT_BYTES.MiB));
}

/** A setting that is a size within bounds, both included; the value is in bytes. */
export function bytesSchema(least: string, most: string) {
  const bounds = { least: parseBytes(least) ?? Number.NaN, most: parseBytes(most) ?? Number.NaN };
  const message = needs("a size with a unit", "Write for example `64KiB`, `512MiB` or `2GiB`");
  return z
    .string({ error: message })
    .regex(SIZE, { error: message, abort: true })
    .meta({ unit: `size, ${least} to ${most}` })
    .transform((text) => parseBytes(text) ?? Number.NaN)
    .refine((bytes) => bytes >= bounds.least && bytes <= bounds.most, {
      error: `needs a size from ${least} to ${most}`,
    });
}

function isUnit(text: string | undefined): text is keyof typeof UNIT_BYTES {
  return text !== undefined && Object.hasOwn(UNIT_BYTES, text);
}
