/**
 * The one table of telemetry: every metric with its kind, unit, buckets and attributes, and every
 * attribute with the values it can take (`values.ts`). `docs/metrics.md` is written from it.
 *
 * Names of the OpenTelemetry conventions for generative AI are used where they exist; they are
 * still in development there, which is why they are spelled here and nowhere else. Ours begin with
 * `plimsoll.`. Every attribute of a metric is bounded: a tenant, a session or a thread never is one.
 *
 * @module
 */

import { MIB } from "../lib/byte-units.ts";
import { ERRORS } from "../lib/errors.ts";
import type { TurnOutcome } from "../turn/turn.ts";
import {
  EXIT_REASONS,
  GUARD_REASONS,
  GUARD_TARGETS,
  KEPT_END_REASONS,
  KEPT_KINDS,
  MEMORY_PARTS,
  PROCESS_SOURCES,
  PROVIDER_NAMES,
  RETENTION_REASONS,
  SESSION_REPAIRS,
  STORE_NOTICES,
  SHED_REASONS,
} from "./values.ts";

const OUTCOMES = [
  "completed",
  "limit_reached",
  "cancelled",
  "failed",
] as const satisfies readonly TurnOutcome["status"][];

export interface AttributeSpec {
  readonly name: string;
  /** All values there can be; or, where they depend on the agent files, what they are. */
  readonly values: readonly string[] | string;
}

export const ATTRIBUTES = {
  agentName: { name: "gen_ai.agent.name", values: "name of a served agent" },
  operation: { name: "gen_ai.operation.name", values: ["invoke_agent"] },
  provider: { name: "gen_ai.provider.name", values: Object.values(PROVIDER_NAMES) },
  requestModel: { name: "gen_ai.request.model", values: "model id of an agent file" },
  responseModel: { name: "gen_ai.response.model", values: "model that the turn used" },
  tokenType: { name: "gen_ai.token.type", values: ["input", "output"] },
  cacheOperation: { name: "plimsoll.cache.operation", values: ["read", "write"] },
  outcome: { name: "plimsoll.turn.outcome", values: OUTCOMES },
  errorType: { name: "error.type", values: Object.keys(ERRORS) },
  shedReason: { name: "plimsoll.shed.reason", values: SHED_REASONS },
  exitReason: { name: "plimsoll.exit.reason", values: EXIT_REASONS },
  processSource: { name: "plimsoll.agent_process.source", values: PROCESS_SOURCES },
  keptKind: { name: "plimsoll.kept.kind", values: KEPT_KINDS },
  keptEndReason: { name: "plimsoll.kept.end_reason", values: KEPT_END_REASONS },
  guardTarget: { name: "plimsoll.guard.target", values: GUARD_TARGETS },
  guardReason: { name: "plimsoll.guard.reason", values: GUARD_REASONS },
  retentionReason: { name: "plimsoll.retention.reason", values: RETENTION_REASONS },
  repairKind: { name: "plimsoll.repair.kind", values: SESSION_REPAIRS },
  memoryPart: { name: "plimsoll.memory.part", values: MEMORY_PARTS },
  storeNotice: { name: "plimsoll.store.notice", values: STORE_NOTICES },
} as const satisfies Record<string, AttributeSpec>;

/** What the span of a turn carries besides attributes of {@link ATTRIBUTES}. */
export const SPAN_ATTRIBUTES = {
  conversationId: "gen_ai.conversation.id",
  inputTokens: "gen_ai.usage.input_tokens",
  outputTokens: "gen_ai.usage.output_tokens",
  cacheReadTokens: "gen_ai.usage.cache_read.input_tokens",
  cacheWriteTokens: "gen_ai.usage.cache_creation.input_tokens",
  finishReasons: "gen_ai.response.finish_reasons",
  costUsd: "plimsoll.turn.cost_usd",
  steps: "plimsoll.turn.steps",
  firstTokenMs: "plimsoll.turn.first_token_ms",
  cancelCause: "plimsoll.turn.cancel_cause",
  limit: "plimsoll.turn.limit",
} as const;

export interface MetricSpec {
  readonly name: string;
  /** A gauge and an observed counter are asked when somebody reads; the others are told. */
  readonly kind: "counter" | "observed_counter" | "gauge" | "histogram";
  /** UCUM: `s`, `By`, or what is counted in braces. */
  readonly unit: string;
  readonly description: string;
  readonly attributes: readonly (keyof typeof ATTRIBUTES)[];
  /** Upper bounds of a histogram's buckets, in the unit. */
  readonly buckets?: readonly number[];
}

// Those of the conventions, and two more because a turn may well take ten minutes.
const TURN_SECONDS = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 300, 600];
const START_SECONDS = [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30];
const TOKENS = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304];
const CALLS = [1, 2, 4, 8, 16, 32, 64, 128];
const MEMORY_RATIOS = [0.5, 0.7, 0.8, 0.9, 0.95, 1, 1.05, 1.1, 1.2, 1.5, 2, 4];
// Dense where turns without a runaway tool are: 96 to 185 MiB measured.
const TURN_BYTES = [64, 96, 112, 128, 144, 160, 192, 224, 256, 384, 512, 768, 1024, 2048, 4096].map(
  (mebibytes) => mebibytes * MIB,
);

export const METRICS = {
  turnsInFlight: {
    name: "plimsoll.turn.in_flight",
    kind: "gauge",
    unit: "{turn}",
    description: "Turns that hold a permit now",
    attributes: [],
  },
  turnsThatFit: {
    name: "plimsoll.turn.capacity",
    kind: "gauge",
    unit: "{turn}",
    description:
      "Turns at once as the gate would admit them: those in flight and those still to come",
    attributes: [],
  },
  turnsAdmitted: {
    name: "plimsoll.turn.admitted",
    kind: "counter",
    unit: "{turn}",
    description: "Turns that were given a permit",
    attributes: ["agentName"],
  },
  turnsShed: {
    name: "plimsoll.turn.shed",
    // The gate counts them: a storm of refusals must cost next to nothing.
    kind: "observed_counter",
    unit: "{turn}",
    description: "Turns refused for load, at once and without having started anything",
    attributes: ["shedReason"],
  },
  turnDuration: {
    name: "gen_ai.invoke_agent.duration",
    kind: "histogram",
    unit: "s",
    description: "From the admission of a turn to the end of its process tree",
    attributes: ["agentName", "operation", "provider", "requestModel", "outcome", "errorType"],
    buckets: TURN_SECONDS,
  },
  firstToken: {
    name: "plimsoll.turn.time_to_first_token",
    kind: "histogram",
    unit: "s",
    description: "From the admission of a turn to its first text, reasoning or tool call",
    attributes: ["agentName"],
    buckets: TURN_SECONDS,
  },
  modelCalls: {
    name: "gen_ai.invoke_agent.inference_calls",
    kind: "histogram",
    unit: "{inference_call}",
    description: "Model calls of a turn's main loop",
    attributes: ["agentName"],
    buckets: CALLS,
  },
  tokens: {
    name: "gen_ai.client.token.usage",
    kind: "histogram",
    unit: "{token}",
    description: "Tokens of a turn, for each model it used; input includes what the cache held",
    attributes: ["agentName", "operation", "provider", "responseModel", "tokenType"],
    buckets: TOKENS,
  },
  cacheTokens: {
    name: "plimsoll.token.cache",
    kind: "counter",
    unit: "{token}",
    description: "Input tokens read from and written to the provider's prompt cache",
    attributes: ["agentName", "responseModel", "cacheOperation"],
  },
  cost: {
    name: "plimsoll.turn.cost",
    kind: "counter",
    unit: "USD",
    description: "What turns cost, as Claude Code reckons it",
    attributes: ["agentName", "responseModel"],
  },
  turnMemoryPeak: {
    name: "plimsoll.turn.memory.peak",
    kind: "histogram",
    unit: "By",
    description: "Most private memory that the process tree of a turn held",
    attributes: ["agentName"],
    buckets: TURN_BYTES,
  },
  turnMemoryRatio: {
    name: "plimsoll.turn.memory.predicted_ratio",
    kind: "histogram",
    unit: "1",
    description: "Most private memory that a turn held, divided by what was predicted for it",
    attributes: ["agentName"],
    buckets: MEMORY_RATIOS,
  },
  memoryLimitBytes: {
    name: "plimsoll.memory.limit",
    kind: "gauge",
    unit: "By",
    description: "Memory that the replica may use: the tightest limit above it",
    attributes: [],
  },
  loadLineBytes: {
    name: "plimsoll.memory.load_line",
    kind: "gauge",
    unit: "By",
    description: "Mark that no admission may cross: the limit less the safety reserve",
    attributes: [],
  },
  memoryUsedBytes: {
    name: "plimsoll.memory.used",
    kind: "gauge",
    unit: "By",
    description: "Memory in use that cannot be reclaimed, as the gate counts it",
    attributes: [],
  },
  serverMemoryBytes: {
    name: "plimsoll.memory.server",
    kind: "gauge",
    unit: "By",
    description:
      "Memory of the server's own process, by what it is for: objects of the heap, code that V8 has " +
      "compiled, heap that is free, and buffers outside of it",
    attributes: ["memoryPart"],
  },
  committedBytes: {
    name: "plimsoll.memory.committed",
    kind: "gauge",
    unit: "By",
    description: "Memory in use, promised to turns in flight and pooled for them",
    attributes: [],
  },
  promisedBytes: {
    name: "plimsoll.memory.promised",
    kind: "gauge",
    unit: "By",
    description:
      "Memory predicted for turns in flight and processes started ahead, and not yet held by them",
    attributes: [],
  },
  poolBytes: {
    name: "plimsoll.memory.pool",
    kind: "gauge",
    unit: "By",
    description: "Memory set aside for all turns together, since some outgrow their prediction",
    attributes: [],
  },
  guardLevel: {
    name: "plimsoll.guard.level",
    kind: "gauge",
    unit: "{level}",
    description:
      "How short memory is: 0 enough, 1 no admissions, 2 what is cached is evicted, 3 one after " +
      "another is ended; -1 while nobody looks",
    attributes: [],
  },
  guardActions: {
    name: "plimsoll.guard.actions",
    kind: "counter",
    unit: "{action}",
    description: "What the memory guard has ended, and why",
    attributes: ["guardTarget", "guardReason"],
  },
  startsWaiting: {
    name: "plimsoll.agent_process.start.waiting",
    kind: "gauge",
    unit: "{turn}",
    description: "Admitted turns that wait for the start of their process",
    attributes: [],
  },
  headroomBytes: {
    name: "plimsoll.memory.headroom",
    kind: "gauge",
    unit: "By",
    description: "Bytes left between what is committed and the load line; 0 beyond it",
    attributes: [],
  },
  processStart: {
    name: "plimsoll.agent_process.start.duration",
    kind: "histogram",
    unit: "s",
    description: "From the spawn of an agent process to its first message",
    attributes: ["agentName"],
    buckets: START_SECONDS,
  },
  processExits: {
    name: "plimsoll.agent_process.exits",
    kind: "counter",
    unit: "{process}",
    description: "Agent processes that ended, by how",
    attributes: ["exitReason"],
  },
  toolOomKills: {
    name: "plimsoll.tool.oom_kills",
    kind: "counter",
    unit: "{process}",
    description:
      "Processes of tools that the kernel killed for memory in the control group of their turn; " +
      "always 0 where turns have none of their own",
    attributes: [],
  },
  processesTaken: {
    name: "plimsoll.agent_process.taken",
    kind: "counter",
    unit: "{turn}",
    description: "Turns by where their process came from: started, or there already",
    attributes: ["agentName", "processSource"],
  },
  residents: {
    name: "plimsoll.agent_process.residents",
    kind: "gauge",
    unit: "{process}",
    description: "Processes that stay between the turns of their session",
    attributes: [],
  },
  spares: {
    name: "plimsoll.agent_process.spares",
    kind: "gauge",
    unit: "{process}",
    description: "Processes that were started ahead and wait for the first turn of a session",
    attributes: [],
  },
  keptEnded: {
    name: "plimsoll.agent_process.kept.ended",
    kind: "counter",
    unit: "{process}",
    description: "Residents and spares that were ended, and why",
    attributes: ["keptKind", "keptEndReason"],
  },
  liveStrays: {
    name: "plimsoll.agent_process.stray.live",
    kind: "gauge",
    unit: "{process}",
    description: "Processes that outlived their turn and have not been ended yet; 0 in full health",
    attributes: [],
  },
  straysKilled: {
    name: "plimsoll.agent_process.stray.killed",
    kind: "counter",
    unit: "{process}",
    description: "Processes of an earlier run of the server that were ended when this one started",
    attributes: [],
  },
  sessionsExpired: {
    name: "plimsoll.session.expired",
    kind: "counter",
    unit: "{session}",
    description:
      "Sessions that were deleted by themselves, by the limit of `retention` they crossed",
    attributes: ["retentionReason"],
  },
  sessionRepairs: {
    name: "plimsoll.session.repairs",
    kind: "counter",
    unit: "{repair}",
    description:
      "Sessions put right after a crash or an outage: a torn last line cut off or completed " +
      "(`torn_line`), a transcript without a message set aside (`set_aside`), a session taken that " +
      "an earlier turn never gave back (`taken_over`), a turn that others went on " +
      "without (`superseded`)",
    attributes: ["repairKind"],
  },
  storeNotices: {
    name: "plimsoll.store.notices",
    kind: "counter",
    unit: "{notice}",
    description:
      "Trouble with a shared session store: calls without an answer while a turn ran " +
      "(`unavailable`), turns that ended without it (`kept`), of these what it cannot hear of though " +
      "it answers (`stuck`) and what it has heard of since (`delivered`), turns that no session " +
      "has (`superseded`), and sessions on hold that it does not have (`held`)",
    attributes: ["storeNotice"],
  },
  uncleanEnds: {
    name: "plimsoll.replica.unclean_ends",
    kind: "counter",
    unit: "{run}",
    description:
      "Earlier runs of the server found to have ended without a shutdown, as by an OOM kill",
    attributes: [],
  },
  requestsForwarded: {
    name: "plimsoll.request.forwarded",
    kind: "counter",
    unit: "{request}",
    description: "Requests for turns of other replicas that were passed on to them and answered",
    attributes: [],
  },
  requestsRefused: {
    name: "plimsoll.request.refused",
    kind: "counter",
    unit: "{request}",
    description: "Requests answered with an error before a turn began, by its code",
    attributes: ["errorType"],
  },
} as const satisfies Record<string, MetricSpec>;

export type MetricKey = keyof typeof METRICS;

/** The metrics of one kind. */
export type MetricKeyOf<Kind extends MetricSpec["kind"]> = {
  [Key in MetricKey]: (typeof METRICS)[Key]["kind"] extends Kind ? Key : never;
}[MetricKey];

/** The attributes of one metric, by their keys in {@link ATTRIBUTES}. */
export type AttributesOf<Key extends MetricKey> = Readonly<
  Partial<Record<(typeof METRICS)[Key]["attributes"][number], string>>
>;
