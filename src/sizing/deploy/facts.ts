/**
 * What an artefact says, whatever the platform: the values that have to agree with the plan, each with
 * its place. Read back from files, which may have been edited. Pure.
 *
 * @module
 */

import { GIB, KIB, MIB } from "../../lib/byte-units.ts";
import { parseBytes } from "../../lib/bytes.ts";
import type { Target } from "./targets.ts";

/** A value that an artefact has, and where it stands there. */
export interface PlacedValue<Value> {
  readonly place: string;
  readonly value: Value;
}

/** What one file says. Null: it is there and cannot be read, or is not there though it should be. */
export interface ArtefactFacts {
  readonly file: string;
  readonly target: Target;
  /** Images of what runs, and of what it is built on. */
  readonly images: readonly PlacedValue<string>[];
  readonly user?: PlacedValue<string | null>;
  readonly isRootReadOnly?: PlacedValue<boolean>;
  readonly memoryBytes?: PlacedValue<number | null>;
  /** Set aside on the node, where that can be less. */
  readonly requestBytes?: PlacedValue<number | null>;
  /** File systems in memory. */
  readonly filesBytes: readonly PlacedValue<number | null>[];
  /** Requests that the platform sends at once; null for any number. */
  readonly concurrency?: PlacedValue<number | null>;
  /** From SIGTERM to SIGKILL, less what is before SIGTERM. */
  readonly stopMs?: PlacedValue<number | null>;
  readonly drainMs?: PlacedValue<number | null>;
  readonly min?: PlacedValue<number | null>;
  readonly max?: PlacedValue<number | null>;
  readonly targetRatio?: PlacedValue<number | null>;
  readonly maxTurns?: PlacedValue<number | null>;
  /** Disk of the data directory, where the artefact bounds it; null where it does not. */
  readonly volumeBytes?: PlacedValue<number | null>;
  /** What copies of sessions may take of it. */
  readonly copiesBytes?: PlacedValue<number | null>;
  readonly livenessPath?: PlacedValue<string | null>;
  /** Whether there can be a control group for each turn. */
  readonly isDelegated?: PlacedValue<boolean>;
  /** A volume that all replicas would share. */
  readonly sharedVolume?: PlacedValue<string>;
  /** Works against another scaler of the same replicas. */
  readonly secondScaler?: PlacedValue<string>;
}

/** `2Gi`, `500M`, or plain bytes; null for what is none. */
export function quantityBytes(value: unknown): number | null {
  const text = String(value);
  return /^\d+$/u.test(text) ? Number(text) : (parseBytes(text) ?? null);
}

const BINARY: Readonly<Record<string, number>> = {
  b: 1,
  k: KIB,
  m: MIB,
  g: GIB,
  t: 2 ** 40,
};

/** `2g`, `512mb`, `2G`: of Compose and systemd, binary in both. */
export function binaryBytes(value: unknown): number | null {
  const [, number = "", unit = "b"] = /^(\d+(?:\.\d+)?)([bkmgt]?)b?$/iu.exec(String(value)) ?? [];
  if (number === "") return null;
  return Number(number) * (BINARY[unit.toLowerCase() || "b"] ?? Number.NaN);
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  sec: 1_000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
};

/** `90s`, `1m30s`, `1min 30s`; a plain number is seconds. */
export function durationMs(value: unknown): number | null {
  const text = String(value).trim();
  if (/^\d+(\.\d+)?$/u.test(text)) return Number(text) * 1_000;
  if (!/^(\d+(\.\d+)?(ms|sec|min|s|m|h)\s*)+$/u.test(text)) return null;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|sec|min|s|m|h)/gu)];
  return parts.reduce(
    (sum, [, number, unit = ""]) => sum + Number(number) * (UNIT_MS[unit] ?? 0),
    0,
  );
}

/** `540m` or `0.54`. */
export function ratioOf(value: unknown): number | null {
  const [, number, milli] = /^(\d+(?:\.\d+)?)(m?)$/u.exec(String(value)) ?? [];
  return number === undefined ? null : Number(number) / (milli === "m" ? 1000 : 1);
}

export function wholeNumber(value: unknown): number | null {
  return /^\d+$/u.test(String(value)) ? Number(value) : null;
}
