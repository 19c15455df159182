/**
 * What the attributes of metrics can say. The rooms where it happens use the same words.
 *
 * @module
 */

/** Model providers of the agent file, in the words of the conventions (ours where they have none). */
export const PROVIDER_NAMES = {
  anthropic: "anthropic",
  bedrock: "aws.bedrock",
  vertex: "gcp.vertex_ai",
  foundry: "azure.ai.inference",
  rehearsal: "plimsoll.rehearsal",
} as const;
export type Provider = keyof typeof PROVIDER_NAMES;

/** Why a turn was refused for load. */
export const SHED_REASONS = [
  "memory",
  "max_turns",
  "share",
  "start",
  "pressure",
  "draining",
] as const;
export type ShedReason = (typeof SHED_REASONS)[number];

/**
 * How an agent process came to its end; `failed`: by itself, and its exit code was not 0; `killed`: as
 * we ended it. The others were killed by the memory guard, by the kernel for memory, or by whom
 * nobody knows.
 */
export const EXIT_REASONS = [
  "finished",
  "failed",
  "asked_to_end",
  "killed",
  "killed_by_guard",
  "killed_by_kernel",
  "killed_by_unknown",
  "start_failed",
] as const;
export type ExitReason = (typeof EXIT_REASONS)[number];

/** What the memory guard ends: a tool of a turn, a turn, or a process that was kept for later. */
export const GUARD_TARGETS = ["tool", "turn", "cache"] as const;
export type GuardTarget = (typeof GUARD_TARGETS)[number];

/** Memory was short, nothing got on for want of it, or a turn went over its own ceiling. */
export const GUARD_REASONS = ["short", "stuck", "ceiling", "processes"] as const;
export type GuardReason = (typeof GUARD_REASONS)[number];

/** Where the process of a turn came from; `warmed`: started ahead for this session. */
export const PROCESS_SOURCES = ["started", "resident", "warmed", "spare"] as const;
export type ProcessSource = (typeof PROCESS_SOURCES)[number];

/** Processes without a turn: of a session between its turns, or started ahead. */
export const KEPT_KINDS = ["resident", "spare"] as const;
export type KeptKind = (typeof KEPT_KINDS)[number];

/** Why such a process was ended; `outdated`: its session had a turn elsewhere. */
export const KEPT_END_REASONS = [
  "expired",
  "evicted",
  "outdated",
  "died",
  "deleted",
  "draining",
] as const;
export type KeptEndReason = (typeof KEPT_END_REASONS)[number];

/** Why a session was deleted by itself; what each means is in `session/retention.ts`. */
export const RETENTION_REASONS = [
  "age",
  "idle",
  "tenant_sessions",
  "tenant_bytes",
  "total_bytes",
  "disk",
] as const;
export type RetentionReason = (typeof RETENTION_REASONS)[number];

/** What was put right in a session before a turn; what each means is in `names.ts`. */
export const SESSION_REPAIRS = ["torn_line", "set_aside", "taken_over", "superseded"] as const;
export type SessionRepair = (typeof SESSION_REPAIRS)[number];

/** What the memory of the server's process is for: the four are V8's heap, and what it holds outside. */
export const MEMORY_PARTS = ["objects", "code", "free", "buffers"] as const;

/** What becomes of turns, and holds, that a shared session store does not know of; see `session/store-notice.ts`. */
export const STORE_NOTICES = [
  "unavailable",
  "kept",
  "stuck",
  "delivered",
  "superseded",
  "held",
] as const;
export type StoreNoticeKind = (typeof STORE_NOTICES)[number];
