/**
 * The profile of an agent: what its turns cost, as `plimsoll measure` found. Written as JSON by it,
 * read by `plan`, `simulate` and `deploy`. All memory is private memory in bytes, as the gate counts
 * it; all CPU time is of all processes of a turn together.
 *
 * @module
 */

import { resolve } from "node:path";
import { z } from "zod";
import { MIB } from "../lib/byte-units.ts";
import { type Diagnostic, DiagnosticsError, placeless } from "../lib/diagnostics.ts";
import { readTextFile } from "../lib/text-file.ts";
import { readYaml } from "../lib/yaml-file.ts";
import { sdkVersion } from "../server/sdk-version.ts";

/** Raised when a profile of an older version could be misread. */
export const PROFILE_VERSION = 1;

const bytes = z
  .number()
  .min(0)
  .max(2 ** 50);
const durationMs = z.number().min(0).max(86_400_000);
const text = z.string().max(200);

/** Times of several turns. */
const Times = z.strictObject({
  medianMs: durationMs,
  p95Ms: durationMs,
  meanMs: durationMs,
});

const Point = z.strictObject({ carriedBytes: bytes, peakBytes: bytes });

/** The steps of `plimsoll measure`, as far as they are shown. */
const Measured = z.strictObject({
  isQuick: z.boolean(),
  server: z.strictObject({
    /** Resident pages of no file, of files (its text), and shared ones. */
    anonymousBytes: bytes,
    fileBytes: bytes,
    sharedBytes: bytes,
    /**
     * What the pages of no file are for, as the server itself tells: V8's heap, and buffers outside
     * of it.
     */
    heap: z
      .strictObject({
        objectsBytes: bytes,
        codeBytes: bytes,
        freeBytes: bytes,
        buffersBytes: bytes,
      })
      .optional(),
    /** CPU time that it uses itself for a turn. */
    turnCpuMs: durationMs,
  }),
  firstTurn: z.strictObject({ peakBytes: bytes, firstTokenMs: durationMs, cpuMs: durationMs }),
  /** Peaks of the turns that carry nothing. */
  peaks: z.array(bytes).max(10_000),
  /** Turns that were asked for at the same moment. */
  bursts: z
    .array(
      z.strictObject({
        starts: z.int().min(1).max(100_000),
        completed: z.int().min(0),
        shed: z.int().min(0),
        firstTokenMedianMs: durationMs,
        firstTokenP95Ms: durationMs,
        /** Most that all of them held at one moment. */
        peakBytes: bytes,
        cpuMs: durationMs,
        lastedMs: durationMs,
      }),
    )
    .max(100),
  /** What set an end to the bursts; null if nothing did. */
  burstBound: z.enum(["memory", "cpu", "model"]).nullable(),
  idleSessions: z.int().min(0),
  transcripts: z.array(Point).max(1_000),
  tools: z
    .array(z.strictObject({ name: text, peakBytes: bytes, cpuMs: durationMs, durationMs }))
    .max(1_000),
  /** Tools that were declared and not called. */
  toolsNotCalled: z.array(text).max(1_000),
  notes: z.array(z.string().max(1_000)).max(100),
});

export const Profile = z.strictObject({
  plimsollProfile: z.literal(PROFILE_VERSION, {
    error: `needs ${PROFILE_VERSION}, the version of a profile of \`plimsoll measure\`\nMeasure the agent again`,
  }),
  measuredAt: z.iso.datetime(),
  versions: z.strictObject({ plimsoll: text, sdk: text, claudeCode: text }),
  agent: z.strictObject({
    name: text,
    /** What footprints depend on, as the server tells it of an agent. */
    version: text,
  }),
  /** `rehearsal`, or provider and model that answered. */
  model: text,
  machine: z.strictObject({
    /** That measuring could use; a fraction where a quota says so. */
    cpus: z.number().positive().max(100_000),
    cpuModel: text,
    memoryBytes: bytes,
    platform: text,
    node: text,
  }),
  /** The limit of the control group in which it was measured; null where none could be made. */
  groupLimitBytes: bytes.nullable(),
  server: z.strictObject({
    /** Held by the server with no session and no turn. */
    idleBytes: bytes,
    /** Held by it for each session that is open and has no turn. */
    idleSessionBytes: bytes,
    /** Held by it for each turn in flight, beside the turn's own processes. */
    inflightTurnBytes: bytes,
    /** File pages that are mapped while turns run: the text of the programs, shared by all. */
    sharedTextBytes: bytes,
    /** What the gate keeps for it to grow by, beside what it holds; nothing where absent. */
    growthBytes: bytes.optional(),
    /**
     * What the server uses itself for each turn, of as many at once as were measured: CPU time at its
     * start and end, and of a core while it is in flight. Not counted where absent.
     */
    turn: z.strictObject({ cpuMs: durationMs, cores: z.number().min(0).max(1_000) }).optional(),
  }),
  start: z.strictObject({
    /** Most that a process holds that starts and does nothing. */
    peakBytes: bytes,
    /** CPU time of a start. */
    cpuMs: durationMs,
    /** Time to first token of a turn with the machine to itself, started cold. */
    firstToken: Times,
  }),
  turn: z.strictObject({
    /** Turns that the figures rest on. */
    turns: z.int().min(1).max(1_000_000),
    /** Most that a turn's processes held, of turns that carry nothing. */
    peak: z.strictObject({
      medianBytes: bytes.positive(),
      meanBytes: bytes.positive(),
      deviationBytes: bytes,
      p95Bytes: bytes.positive(),
      p99Bytes: bytes.positive(),
      mostBytes: bytes.positive(),
    }),
    /** How much more a turn holds for each byte of transcript that it resumes. */
    bytesPerCarriedByte: z.number().min(0).max(1_000),
    /** By how much a turn makes the transcript longer, on average. */
    transcriptBytesPerTurn: bytes,
    /** CPU time of a whole turn, its start included. */
    cpuMs: durationMs,
    duration: Times,
    /**
     * What a turn takes whose answer is a word, and so any turn beside its answer. Not there where
     * that is not known.
     */
    short: z.strictObject({ cpuMs: durationMs, durationMs }).optional(),
  }),
  /** What it was reckoned from, for reports. */
  measured: Measured.optional(),
});

export type Profile = z.output<typeof Profile>;
export type Measured = z.output<typeof Measured>;

/** A process that holds less is none: whoever wrote it meant another unit. */
const LEAST_PEAK_BYTES = MIB;
/** Nor does one start in less. */
const LEAST_CPU_MS = 1;
const MAX_FILE_BYTES = 4 * MIB;

/**
 * A profile as it is read: refused also for figures that are valid one by one, and make no sense
 * together.
 */
const ProfileFile = Profile.superRefine(({ turn: { peak, cpuMs } }, context) => {
  const wrong = (path: readonly string[], message: string) =>
    context.addIssue({ code: "custom", path: [...path], message });
  const order = ["medianBytes", "p95Bytes", "p99Bytes", "mostBytes"] as const;
  if (peak.medianBytes < LEAST_PEAK_BYTES) {
    const remedy = "Write bytes, and no MiB: 131 MiB are 137363456";
    wrong(["turn", "peak", "medianBytes"], `needs at least 1 MiB, in bytes\n${remedy}`);
  }
  for (const [at, name] of order.entries()) {
    const before = order[at - 1];
    if (before === undefined || peak[name] >= peak[before]) continue;
    wrong(["turn", "peak", name], `needs at least as much as \`${before}\``);
  }
  if (cpuMs > 0 && cpuMs < LEAST_CPU_MS) {
    const remedy = "Write milliseconds, and no seconds";
    wrong(["turn", "cpuMs"], `needs at least 1, in milliseconds\n${remedy}`);
  }
});

export interface ReadProfile {
  readonly profile: Profile;
  /** What whoever relies on it should know. */
  readonly warnings: readonly string[];
}

/**
 * Reads a profile.
 *
 * @param file As the user named it.
 * @throws {DiagnosticsError} `profile_invalid` with every problem and its place.
 */
export async function readProfile(
  file: string,
  workingDirectory: string,
  installedSdk = sdkVersion(),
): Promise<ReadProfile> {
  const read = await readTextFile(resolve(workingDirectory, file), MAX_FILE_BYTES);
  if (!read.ok) {
    const remedy = read.isMissing ? "Make one: `plimsoll measure agent.yaml`" : read.remedy;
    throw invalid([placeless(file, `the profile ${read.message}`, remedy)]);
  }
  // JSON is YAML. What looks like a variable is none: no environment is put in.
  const result = readYaml({ file, text: read.text }, ProfileFile, {});
  if (!result.ok) throw invalid(result.diagnostics);
  const profile = result.value;
  return { profile, warnings: warningsOf(profile, installedSdk) };
}

function warningsOf({ versions: { sdk } }: Profile, installedSdk: string): readonly string[] {
  if (sdk === installedSdk) return [];
  return [
    `The profile was measured with version ${sdk} of the Agent SDK, installed is ${installedSdk}: ` +
      "another Claude Code holds another amount of memory; measure again",
  ];
}

function invalid(diagnostics: readonly Diagnostic[]): DiagnosticsError {
  return new DiagnosticsError("profile_invalid", diagnostics);
}
