import { resourceFromAttributes } from "@opentelemetry/resources";
import { afterEach, describe, expect, it } from "vitest";

import { type CapacityNumbers, Metrics } from "../../src/telemetry/metrics.ts";
import { ATTRIBUTES, METRICS, type MetricSpec } from "../../src/telemetry/names.ts";
import { CAPACITY, COMPLETED, FAILED } from "./fixtures.ts";

const MEBIBYTE = 1024 * 1024;
const TURN = {
  agentName: "support",
  provider: "anthropic",
  model: "claude-sonnet-5",
  predictedBytes: 140 * MEBIBYTE,
} as const;

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What Prometheus understands of the text: types by metric, and samples. */
function parse(text: string) {
  const types = new Map<string, string>();
  const samples: Sample[] = [];
  for (const line of text.trimEnd().split("\n")) {
    const type = /^# TYPE (\w+) (\w+)$/.exec(line);
    if (type !== null) types.set(type[1]!, type[2]!);
    if (line.startsWith("#") || line === "") continue;
    const sample = /^([a-zA-Z_][\w]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (sample === null) throw new Error(`Not a line of Prometheus text: ${line}`);
    const labels = [...(sample[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
    samples.push({
      name: sample[1]!,
      labels: Object.fromEntries(labels.map((label) => [label[1]!, label[2]!])),
      value: Number(sample[3] === "+Inf" ? Infinity : sample[3]),
    });
  }
  return { types, samples };
}

const opened: Metrics[] = [];
afterEach(async () => {
  for (const metrics of opened.splice(0)) await metrics.shutdown();
});

function open(
  capacityNumbers: () => CapacityNumbers = () => CAPACITY,
  onReadError: (error: unknown) => void = (error) => {
    throw error;
  },
): Metrics {
  const resource = resourceFromAttributes({ "service.name": "plimsoll" });
  const metrics = new Metrics({ capacityNumbers, resource, readers: [], onReadError });
  opened.push(metrics);
  return metrics;
}

/** One of everything that can happen. */
function live(metrics: Metrics): void {
  metrics.turnAdmitted("support");
  metrics.agentProcessStarted("support", 330);
  metrics.turnEnded({ ...TURN, outcome: COMPLETED, peakMemoryBytes: 123 * MEBIBYTE });
  metrics.turnEnded({ ...TURN, outcome: FAILED, peakMemoryBytes: null });
  metrics.guardActed("tool", "short");
  metrics.agentProcessTaken("helper", "spare");
  metrics.keptProcessEnded("spare", "evicted");
  const exit = { code: 0, step: "exited", outOfMemory: false, oomKillCounterRose: null } as const;
  metrics.agentProcessExited(exit);
  metrics.straysKilled(2);
  metrics.uncleanEndsFound(1);
  metrics.requestRefused("session_busy");
}

async function read(metrics: Metrics) {
  const { types, samples } = parse(await metrics.renderPrometheus());
  const value = (name: string, labels: Readonly<Record<string, string>> = {}) =>
    samples.find(
      (sample) =>
        sample.name === name &&
        Object.entries(labels).every(([key, text]) => sample.labels[key] === text),
    )?.value;
  return { types, samples, value };
}

function prometheusName({ name, kind }: MetricSpec): string {
  const total = kind.endsWith("counter") ? "_total" : "";
  return name.replaceAll(".", "_") + total;
}

describe("Metrics", () => {
  it("renders every metric of the table, of its kind, and no other", async () => {
    const metrics = open();
    live(metrics);
    const { types } = await read(metrics);
    const expected = Object.values(METRICS).map(
      (spec) => [prometheusName(spec), spec.kind.replace("observed_", "")] as const,
    );
    expect(new Map([...types].filter(([name]) => name !== "target_info"))).toEqual(
      new Map(expected),
    );
  });

  it("gives a metric only the attributes and values that the table allows", async () => {
    const metrics = open();
    live(metrics);
    const { samples } = await read(metrics);
    const specs: readonly MetricSpec[] = Object.values(METRICS);
    let checked = 0;
    for (const { name, labels } of samples) {
      const spec = specs.find(
        (one) => name.replace(/_(bucket|sum|count)$/, "") === prometheusName(one),
      );
      if (spec === undefined) continue;
      const allowed = new Map(
        spec.attributes.map((key) => {
          const { name: attribute, values } = ATTRIBUTES[key];
          return [attribute.replaceAll(".", "_"), values] as const;
        }),
      );
      for (const [label, text] of Object.entries(labels)) {
        if (label === "le") continue;
        expect([...allowed.keys()], name).toContain(label);
        const values = allowed.get(label);
        if (Array.isArray(values)) expect(values, `${name} ${label}`).toContain(text);
        checked += 1;
      }
    }
    expect(checked).toBeGreaterThan(50);
  });

  it("tells a turn in base units: seconds, tokens, dollars, bytes", async () => {
    const metrics = open();
    live(metrics);
    const { value } = await read(metrics);
    const completed = { plimsoll_turn_outcome: "completed", gen_ai_agent_name: "support" };
    expect(value("gen_ai_invoke_agent_duration_sum", completed)).toBe(4);
    expect(value("gen_ai_invoke_agent_duration_bucket", { ...completed, le: "3.2" })).toBe(0);
    expect(value("gen_ai_invoke_agent_duration_bucket", { ...completed, le: "6.4" })).toBe(1);
    expect(value("gen_ai_invoke_agent_duration_count", { error_type: "turn_timeout" })).toBe(1);
    expect(value("plimsoll_turn_time_to_first_token_count")).toBe(1);
    expect(value("plimsoll_turn_time_to_first_token_sum")).toBe(0.35);
    expect(value("gen_ai_client_token_usage_sum", { gen_ai_token_type: "input" })).toBe(5_400);
    expect(value("gen_ai_client_token_usage_sum", { gen_ai_token_type: "output" })).toBe(20);
    expect(value("plimsoll_token_cache_total", { plimsoll_cache_operation: "read" })).toBe(5_000);
    expect(value("plimsoll_turn_cost_total")).toBe(0.25);
    expect(value("plimsoll_turn_memory_peak_sum")).toBe(123 * MEBIBYTE);
    expect(value("plimsoll_agent_process_start_duration_sum")).toBe(0.33);
  });

  it("asks for the capacity once for each reading, and not between", async () => {
    let asked = 0;
    const metrics = open(() => ({ ...CAPACITY, turnsInFlight: (asked += 1) }));
    live(metrics);
    expect(asked).toBe(0);
    await metrics.renderPrometheus();
    const { value } = await read(metrics);
    expect(asked).toBe(2);
    expect(value("plimsoll_turn_in_flight")).toBe(2);
    expect(value("plimsoll_memory_limit")).toBe(2048 * MEBIBYTE);
    expect(value("plimsoll_turn_shed_total", { plimsoll_shed_reason: "memory" })).toBe(7);
  });

  it("renders the rest when the capacity cannot be read, and says so", async () => {
    const errors: unknown[] = [];
    const broken = () => {
      throw new Error("no such file");
    };
    const metrics = open(broken, (error) => errors.push(error));
    metrics.turnAdmitted("support");
    const { value } = await read(metrics);
    expect(value("plimsoll_turn_admitted_total")).toBe(1);
    expect(errors).toEqual([expect.objectContaining({ message: "no such file" })]);
  });

  it("has counters to alert on before the first event", async () => {
    const { value } = await read(open());
    expect(value("plimsoll_turn_shed_total", { plimsoll_shed_reason: "draining" })).toBe(0);
    expect(value("plimsoll_agent_process_exits_total", { plimsoll_exit_reason: "killed" })).toBe(0);
    expect(value("plimsoll_replica_unclean_ends_total")).toBe(0);
  });

  it("counts a storm of refusals at little cost", async () => {
    let leastCpuMs = Infinity;
    // A busy machine makes some of them dearer.
    for (let storms = 0; storms < 3; storms += 1) {
      const metrics = open();
      const before = process.cpuUsage();
      for (let i = 0; i < 30_000; i += 1) metrics.requestRefused("at_capacity");
      const { user, system } = process.cpuUsage(before);
      leastCpuMs = Math.min(leastCpuMs, (user + system) / 1000);
      const { value } = await read(metrics);
      expect(value("plimsoll_request_refused_total", { error_type: "at_capacity" })).toBe(30_000);
    }
    // Ten seconds of 3,000 a second, for less than a twentieth of the time.
    expect(leastCpuMs).toBeLessThan(500);
  });
});
