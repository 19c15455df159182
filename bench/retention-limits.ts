/**
 * The limits of `retention`, and what must have become of the sessions when a sweep has gone by them.
 * Pure, but for what it reads of the disk.
 *
 * @module
 */

import {
  bytesOf,
  bytesOfSession,
  countOf,
  freeBytesOf,
  idleMsOf,
  isThere,
  type MadeSession,
  TENANTS,
} from "./retention-world.ts";

const HOUR_MS = 3_600_000;
const MAX_AGE_HOURS = 300 * 24;
/** By so much the turns that run change what is on the disk while one looks. */
const SLACK_BYTES = 2 ** 20;

/** Of whoever asks without being one of the tenants that were made: the turns beside the sweep. */
export const LOAD_TENANT = "load";

/** What the server says of a sweep that let sessions go. */
export interface SweepLine {
  readonly seen: number;
  readonly seenBytes: number;
  readonly deleted: number;
  readonly bytes: number;
  readonly reasons: Readonly<Record<string, number>>;
}

export interface State {
  readonly dataDirectory: string;
  /** Those that were made and are there, in the order in which they have to go. */
  readonly sessions: readonly MadeSession[];
  readonly cohortSize: number;
}

export interface Swept extends State {
  readonly line: SweepLine;
  /** Not on hold. */
  readonly free: readonly MadeSession[];
  readonly gone: readonly MadeSession[];
  /** Just before the first of them went. */
  readonly freeBytesBefore: number;
}

/** Whether the limit is reached, and how many sessions went for it that could have stayed. */
export interface Verdict {
  readonly isReached: boolean;
  readonly needless: number;
}

export interface Limit {
  readonly name: string;
  readonly reason: string;
  readonly setting: string;
  readonly judge: (swept: Swept) => Verdict;
}

export type RoundName = "time" | "number" | "bytes" | "disk";

/** The limits of a round, as they have to be for the next cohort to go. */
export function limitsOf(round: RoundName, state: State): readonly Limit[] {
  if (round === "time") return [idleLimit(), ageLimit()];
  if (round === "number") return [numberLimit(state)];
  if (round === "bytes") return bytesLimits(state);
  return [freeLimit(state)];
}

function idleLimit(): Limit {
  const hours = idleMsOf(0) / HOUR_MS - 12;
  const isDue = ({ cohort, isAged }: MadeSession) => cohort === 0 && !isAged;
  return { name: "maxIdle", reason: "idle", setting: `${hours}h`, judge: exactly(isDue) };
}

function ageLimit(): Limit {
  const isDue = ({ isAged }: MadeSession) => isAged;
  return { name: "maxAge", reason: "age", setting: `${MAX_AGE_HOURS}h`, judge: exactly(isDue) };
}

/** All that are due go, and of the others none. */
function exactly(isDue: (session: MadeSession) => boolean): Limit["judge"] {
  return ({ dataDirectory, free, gone }) => ({
    isReached: !free.some((each) => isDue(each) && isThere(dataDirectory, each)),
    // Of the two limits by time, each lets go what is of the first cohort.
    needless: gone.filter(({ cohort }) => cohort !== 0).length,
  });
}

function numberLimit({ dataDirectory, cohortSize }: State): Limit {
  const counts = TENANTS.map((tenant) => countOf(dataDirectory, tenant));
  const most = Math.min(...counts) - cohortSize / TENANTS.length;
  return {
    name: "sessionsPerTenant",
    reason: "tenant_sessions",
    setting: String(most),
    judge(swept) {
      const left = TENANTS.map((tenant) => countOf(swept.dataDirectory, tenant));
      const missing = left.reduce((sum, count) => sum + Math.max(0, most - count), 0);
      return {
        isReached: left.every((count) => count <= most),
        needless: missing + outOfOrder(swept, TENANTS),
      };
    },
  };
}

/** Of a tenant first, then of all: each lets go half of a cohort. */
function bytesLimits(state: State): readonly Limit[] {
  const { dataDirectory, cohortSize, sessions } = state;
  const each = bytesOfSession(dataDirectory, sessions[0] as MadeSession);
  const ofTenants = TENANTS.map((tenant) => bytesOf(dataDirectory, tenant));
  const all = ofTenants.reduce((sum, bytes) => sum + bytes, bytesOf(dataDirectory, LOAD_TENANT));
  const ofTenant = Math.min(...ofTenants) - Math.ceil((each * cohortSize) / 2 / TENANTS.length);
  const total = all - each * cohortSize;
  const expected = ofTenants.reduce((sum, bytes) => sum + Math.ceil((bytes - ofTenant) / each), 0);
  return [
    {
      name: "bytesPerTenant",
      reason: "tenant_bytes",
      setting: `${ofTenant}B`,
      judge: (swept) => ({
        isReached: TENANTS.every((tenant) => {
          return bytesOf(swept.dataDirectory, tenant) <= ofTenant + SLACK_BYTES;
        }),
        // One more, as the session in a turn takes some of the bytes.
        needless: Math.max(0, (swept.line.reasons["tenant_bytes"] ?? 0) - expected - 1),
      }),
    },
    {
      name: "maxBytes",
      reason: "total_bytes",
      setting: `${total}B`,
      judge(swept) {
        const leftBytes = swept.line.seenBytes - swept.line.bytes;
        return {
          isReached: leftBytes <= total,
          needless:
            Math.max(0, Math.floor((total - leftBytes) / each)) + outOfOrder(swept, TENANTS),
        };
      },
    },
  ];
}

function freeLimit({ dataDirectory, cohortSize, sessions }: State): Limit {
  const each = bytesOfSession(dataDirectory, sessions[0] as MadeSession);
  const keepBytes = freeBytesOf(dataDirectory) + each * cohortSize;
  return {
    name: "keepFree",
    reason: "disk",
    setting: `${keepBytes}B`,
    judge(swept) {
      const neededBytes = keepBytes - swept.freeBytesBefore;
      const { bytes } = swept.line;
      const surplus = Math.floor((bytes - neededBytes - SLACK_BYTES) / each);
      return {
        // What turns took while it deleted is the next sweep's.
        isReached: bytes >= neededBytes - SLACK_BYTES,
        needless: Math.max(0, surplus) + outOfOrder(swept, [null]),
      };
    },
  };
}

/** How many went while one stayed that had been idle for longer, of the same tenant or of all (null). */
function outOfOrder(
  { free, gone }: Pick<Swept, "free" | "gone">,
  scopes: readonly (string | null)[],
): number {
  const went = new Set(gone);
  return scopes.reduce((sum, scope) => {
    const own = free.filter(({ tenant }) => scope === null || tenant === scope);
    const firstLeft = own.findIndex((each) => !went.has(each));
    const after = firstLeft === -1 ? [] : own.slice(firstLeft);
    return sum + after.filter((each) => went.has(each)).length;
  }, 0);
}
