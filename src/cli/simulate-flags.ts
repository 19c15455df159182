/**
 * Flags of `plimsoll simulate` that stand for keys of a scenario, and go before it.
 *
 * @module
 */

import { z } from "zod";
import { bytesSchema } from "../lib/bytes.ts";
import { DiagnosticsError, placeless } from "../lib/diagnostics.ts";
import { durationSchema } from "../lib/duration.ts";
import { rateSchema } from "../lib/rate.ts";
import { checkValue } from "../lib/schema-issues.ts";
import {
  ReplicaCount,
  RunCount,
  type ScenarioFile,
  Seed,
} from "../sizing/simulate/scenario-schema.ts";

/** The flags as they were given. */
export interface SimulateFlags {
  readonly rate?: string;
  readonly duration?: string;
  readonly replicas?: string;
  readonly memory?: string;
  readonly seed?: string;
  readonly runs?: string;
}

const Flags = z.strictObject({
  rate: rateSchema.optional(),
  duration: durationSchema("1s", "365d").optional(),
  replicas: ReplicaCount.optional(),
  memory: bytesSchema("64MiB", "16TiB").optional(),
  seed: Seed.optional(),
  runs: RunCount.optional(),
});

type ReadFlags = z.output<typeof Flags>;

/** @throws {DiagnosticsError} `config_invalid` with every flag that does not fit. */
export function readSimulateFlags(flags: SimulateFlags): ReadFlags {
  const { rate, duration, replicas, memory, seed, runs } = flags;
  const given = {
    ...(rate !== undefined && { rate }),
    ...(duration !== undefined && { duration }),
    ...(replicas !== undefined && { replicas: numberIn(replicas) }),
    ...(memory !== undefined && { memory }),
    ...(seed !== undefined && { seed: numberIn(seed) }),
    ...(runs !== undefined && { runs: numberIn(runs) }),
  };
  const checked = checkValue(Flags, given);
  if (checked.ok) return checked.value;
  const diagnostics = checked.issues.map(({ path, message, remedy }) =>
    placeless(`--${String(path[0])}`, message, remedy),
  );
  throw new DiagnosticsError("config_invalid", diagnostics);
}

export function withFlags(scenario: ScenarioFile, flags: ReadFlags): ScenarioFile {
  const { rate, duration, replicas, memory, seed, runs } = flags;
  return {
    ...scenario,
    ...(duration !== undefined && { duration }),
    ...(seed !== undefined && { seed }),
    ...(runs !== undefined && { runs }),
    arrivals: { ...scenario.arrivals, ...(rate !== undefined && { rate }) },
    replicas: {
      ...scenario.replicas,
      ...(replicas !== undefined && { count: replicas }),
      ...(memory !== undefined && { memory }),
    },
  };
}

/** The text itself where it is no number, which then does not fit. */
function numberIn(text: string): number | string {
  return /^\d{1,15}$/u.test(text) ? Number(text) : text;
}
