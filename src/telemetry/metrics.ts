/**
 * Records what happens as metrics, and renders them for Prometheus. Methods are named after events;
 * names, units and buckets are in `names.ts`, and the compiler holds each recording to the
 * attributes of its metric there. Gauges are asked only when somebody reads.
 *
 * @module
 */

import type { Attributes, Meter } from "@opentelemetry/api";
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import type { Resource } from "@opentelemetry/resources";
import { type IMetricReader, MeterProvider } from "@opentelemetry/sdk-metrics";
import type { ErrorCode } from "../lib/errors.ts";
import { promptTokens } from "../lib/tokens.ts";
import type { TurnOutcome } from "../turn/turn.ts";
import { type ExitFacts, exitReason } from "./exit-reason.ts";
import {
  ATTRIBUTES,
  type AttributesOf,
  type MetricKey,
  type MetricKeyOf,
  METRICS,
} from "./names.ts";
import {
  EXIT_REASONS,
  KEPT_END_REASONS,
  type KeptEndReason,
  KEPT_KINDS,
  type KeptKind,
  type Provider,
  GUARD_REASONS,
  type GuardReason,
  GUARD_TARGETS,
  type GuardTarget,
  type ProcessSource,
  PROVIDER_NAMES,
  RETENTION_REASONS,
  SESSION_REPAIRS,
  type SessionRepair,
  MEMORY_PARTS,
  STORE_NOTICES,
  type StoreNoticeKind,
  type RetentionReason,
  SHED_REASONS,
  type ShedReason,
} from "./values.ts";
import { readServerMemory } from "./server-memory.ts";

/** What goes beside the text of {@link Metrics.renderPrometheus} in a response. */
export const PROMETHEUS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** The answer to every gauge of `names.ts` that has one number. */
export type GaugeNumbers = Readonly<
  Record<Exclude<MetricKeyOf<"gauge">, "serverMemoryBytes">, number>
>;

export interface CapacityNumbers extends GaugeNumbers {
  /** Refusals for load since the start: the gate counts them, at next to no cost. */
  readonly shed: Readonly<Record<ShedReason, number>>;
}

/** A turn that has ended, with what the metrics tell of it. */
export interface EndedTurn {
  readonly agentName: string;
  readonly provider: Provider;
  /** The model as the agent file names it. */
  readonly model: string;
  readonly outcome: TurnOutcome;
  /** Most private memory of the process tree; null when it ended before it could be measured. */
  readonly peakMemoryBytes: number | null;
  readonly predictedBytes: number;
}

export interface MetricsDeps {
  /** Called once each time the metrics are read. */
  readonly capacityNumbers: () => CapacityNumbers;
  readonly resource: Resource;
  /** The readers that push to a collector. */
  readonly readers: readonly IMetricReader[];
  /** Hears of gauges that could not be read; the other metrics are rendered all the same. */
  readonly onReadError: (error: unknown) => void;
}

export class Metrics {
  readonly #provider: MeterProvider;
  readonly #prometheus = new PrometheusExporter({ preventServerStart: true });
  // Without a label for the scope: there is but one.
  readonly #serializer = new PrometheusSerializer(undefined, false, undefined, false, true);
  readonly #record: Instruments;
  readonly #refused = new Map<ErrorCode, number>();
  readonly #onReadError: (error: unknown) => void;

  constructor({ capacityNumbers, resource, readers, onReadError }: MetricsDeps) {
    this.#provider = new MeterProvider({ resource, readers: [this.#prometheus, ...readers] });
    const meter = this.#provider.getMeter("plimsoll");
    this.#record = openInstruments(meter);
    this.#onReadError = onReadError;
    startAtZero(this.#record);
    observeCapacity(meter, capacityNumbers);
    observeRefused(meter, this.#refused);
    observeServerMemory(meter);
  }

  turnAdmitted(agentName: string): void {
    this.#record.turnsAdmitted(1, { agentName });
  }

  /** Once the process tree of the turn is gone, with all that the turn used. */
  turnEnded(turn: EndedTurn): void {
    const { agentName, outcome } = turn;
    const { usage } = outcome;
    this.#record.turnDuration(usage.durationMs / 1000, {
      ...generativeAi(turn),
      requestModel: turn.model,
      outcome: outcome.status,
      ...(outcome.status === "failed" && { errorType: outcome.code }),
    });
    this.#record.modelCalls(usage.steps, { agentName });
    if (usage.firstTokenMs !== null) {
      this.#record.firstToken(usage.firstTokenMs / 1000, { agentName });
    }
    if (turn.peakMemoryBytes !== null) {
      this.#record.turnMemoryPeak(turn.peakMemoryBytes, { agentName });
      this.#record.turnMemoryRatio(turn.peakMemoryBytes / turn.predictedBytes, { agentName });
    }
    for (const used of usage.byModel) {
      const model = { agentName, responseModel: used.model };
      const tokens = { ...model, ...generativeAi(turn) };
      this.#record.tokens(promptTokens(used), { ...tokens, tokenType: "input" });
      this.#record.tokens(used.outputTokens, { ...tokens, tokenType: "output" });
      this.#record.cacheTokens(used.cacheReadTokens, { ...model, cacheOperation: "read" });
      this.#record.cacheTokens(used.cacheWriteTokens, { ...model, cacheOperation: "write" });
      this.#record.cost(used.costUsd, model);
    }
  }

  /** @param durationMs From the spawn to the first message. */
  agentProcessStarted(agentName: string, durationMs: number): void {
    this.#record.processStart(durationMs / 1000, { agentName });
  }

  agentProcessTaken(agentName: string, processSource: ProcessSource): void {
    this.#record.processesTaken(1, { agentName, processSource });
  }

  keptProcessEnded(keptKind: KeptKind, keptEndReason: KeptEndReason): void {
    this.#record.keptEnded(1, { keptKind, keptEndReason });
  }

  /** Once nothing of its tree is left. */
  agentProcessExited(exit: ExitFacts): void {
    this.#record.processExits(1, { exitReason: exitReason(exit) });
  }

  /** In one turn, once it is over. */
  toolsKilledByKernel(count: number): void {
    this.#record.toolOomKills(count, {});
  }

  sessionExpired(retentionReason: RetentionReason): void {
    this.#record.sessionsExpired(1, { retentionReason });
  }

  sessionRepaired(repairKind: SessionRepair): void {
    this.#record.sessionRepairs(1, { repairKind });
  }

  requestForwarded(): void {
    this.#record.requestsForwarded(1, {});
  }

  storeNotice(storeNotice: StoreNoticeKind): void {
    this.#record.storeNotices(1, { storeNotice });
  }

  guardActed(guardTarget: GuardTarget, guardReason: GuardReason): void {
    this.#record.guardActions(1, { guardTarget, guardReason });
  }

  /** At start, for processes that an earlier run left behind. */
  straysKilled(count: number): void {
    this.#record.straysKilled(count, {});
  }

  /** At start, for earlier runs that left no mark of a shutdown. */
  uncleanEndsFound(count: number): void {
    this.#record.uncleanEnds(count, {});
  }

  /** Counted here and told when the metrics are read: refusals come by the thousand. */
  requestRefused(code: ErrorCode): void {
    this.#refused.set(code, (this.#refused.get(code) ?? 0) + 1);
  }

  /** All metrics in the text format of Prometheus. */
  async renderPrometheus(): Promise<string> {
    const { resourceMetrics, errors } = await this.#prometheus.collect();
    for (const error of errors) this.#onReadError(error);
    return this.#serializer.serialize(resourceMetrics);
  }

  /** Sends what there is to the collector, if there is one, and stops. */
  async shutdown(): Promise<void> {
    await this.#provider.shutdown();
  }
}

/** What the conventions ask of every metric of generative AI. */
function generativeAi({ agentName, provider }: EndedTurn) {
  return { agentName, operation: "invoke_agent", provider: PROVIDER_NAMES[provider] };
}

type Instruments = ReturnType<typeof openInstruments>;

function openInstruments(meter: Meter) {
  return {
    turnsAdmitted: counterOf(meter, "turnsAdmitted"),
    turnDuration: histogramOf(meter, "turnDuration"),
    firstToken: histogramOf(meter, "firstToken"),
    modelCalls: histogramOf(meter, "modelCalls"),
    tokens: histogramOf(meter, "tokens"),
    cacheTokens: counterOf(meter, "cacheTokens"),
    cost: counterOf(meter, "cost"),
    turnMemoryPeak: histogramOf(meter, "turnMemoryPeak"),
    turnMemoryRatio: histogramOf(meter, "turnMemoryRatio"),
    guardActions: counterOf(meter, "guardActions"),
    processStart: histogramOf(meter, "processStart"),
    processesTaken: counterOf(meter, "processesTaken"),
    keptEnded: counterOf(meter, "keptEnded"),
    processExits: counterOf(meter, "processExits"),
    toolOomKills: counterOf(meter, "toolOomKills"),
    straysKilled: counterOf(meter, "straysKilled"),
    uncleanEnds: counterOf(meter, "uncleanEnds"),
    sessionsExpired: counterOf(meter, "sessionsExpired"),
    sessionRepairs: counterOf(meter, "sessionRepairs"),
    storeNotices: counterOf(meter, "storeNotices"),
    requestsForwarded: counterOf(meter, "requestsForwarded"),
  };
}

/** A counter that appears with its first event has no increase to alert on. */
function startAtZero(record: Instruments): void {
  for (const reason of EXIT_REASONS) record.processExits(0, { exitReason: reason });
  for (const guardTarget of GUARD_TARGETS) {
    for (const guardReason of GUARD_REASONS) record.guardActions(0, { guardTarget, guardReason });
  }
  for (const keptKind of KEPT_KINDS) {
    for (const keptEndReason of KEPT_END_REASONS) record.keptEnded(0, { keptKind, keptEndReason });
  }
  for (const retentionReason of RETENTION_REASONS) record.sessionsExpired(0, { retentionReason });
  for (const repairKind of SESSION_REPAIRS) record.sessionRepairs(0, { repairKind });
  for (const storeNotice of STORE_NOTICES) record.storeNotices(0, { storeNotice });
  record.toolOomKills(0, {});
  record.straysKilled(0, {});
  record.uncleanEnds(0, {});
  record.requestsForwarded(0, {});
}

type Recording<Key extends MetricKey> = (value: number, attributes: AttributesOf<Key>) => void;

function counterOf<Key extends MetricKeyOf<"counter">>(meter: Meter, key: Key): Recording<Key> {
  const { name, ...spec } = METRICS[key];
  const counter = meter.createCounter(name, spec);
  return (value, attributes) => counter.add(value, named(attributes));
}

function histogramOf<Key extends MetricKeyOf<"histogram">>(meter: Meter, key: Key): Recording<Key> {
  const { name, buckets, ...spec } = METRICS[key];
  const advice = { explicitBucketBoundaries: [...buckets] };
  const histogram = meter.createHistogram(name, { ...spec, advice });
  return (value, attributes) => histogram.record(value, named(attributes));
}

const GAUGES = [
  "turnsInFlight",
  "turnsThatFit",
  "memoryLimitBytes",
  "loadLineBytes",
  "memoryUsedBytes",
  "committedBytes",
  "promisedBytes",
  "poolBytes",
  "headroomBytes",
  "guardLevel",
  "startsWaiting",
  "residents",
  "spares",
  "liveStrays",
] as const satisfies readonly (keyof GaugeNumbers)[];

function observeRefused(meter: Meter, refused: ReadonlyMap<ErrorCode, number>): void {
  const { name, ...spec } = METRICS.requestsRefused;
  meter.createObservableCounter(name, spec).addCallback((result) => {
    for (const [errorType, count] of refused) result.observe(count, named({ errorType }));
  });
}

function observeServerMemory(meter: Meter): void {
  const { name, ...spec } = METRICS.serverMemoryBytes;
  meter.createObservableGauge(name, spec).addCallback((result) => {
    const parts = readServerMemory();
    for (const memoryPart of MEMORY_PARTS) {
      result.observe(parts[memoryPart], named({ memoryPart }));
    }
  });
}

/** One reading answers them all, so that the numbers of one moment fit together. */
function observeCapacity(meter: Meter, capacityNumbers: () => CapacityNumbers): void {
  const gauges = GAUGES.map((key) => {
    const { name, ...spec } = METRICS[key];
    return { key, gauge: meter.createObservableGauge(name, spec) };
  });
  const { name, ...spec } = METRICS.turnsShed;
  const shedCounter = meter.createObservableCounter(name, spec);
  meter.addBatchObservableCallback(
    (result) => {
      const numbers = capacityNumbers();
      for (const { key, gauge } of gauges) result.observe(gauge, numbers[key]);
      for (const shedReason of SHED_REASONS) {
        result.observe(shedCounter, numbers.shed[shedReason], named({ shedReason }));
      }
    },
    [...gauges.map(({ gauge }) => gauge), shedCounter],
  );
}

const NAME_OF: ReadonlyMap<string, string> = new Map(
  Object.entries(ATTRIBUTES).map(([key, { name }]) => [key, name]),
);

/** The attributes under the names that they go out with. */
function named(attributes: Readonly<Partial<Record<keyof typeof ATTRIBUTES, string>>>): Attributes {
  return Object.fromEntries(
    Object.entries(attributes).map(([key, value]) => [NAME_OF.get(key) ?? key, value]),
  );
}
