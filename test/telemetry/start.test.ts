import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";

import type { Config } from "../../src/config/config.ts";
import { startTelemetry } from "../../src/telemetry/start.ts";
import { openCollector } from "./collector.ts";
import { CAPACITY, COMPLETED, FAILED } from "./fixtures.ts";

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const PARENT_ID = "b7ad6b7169203331";
const TURN = {
  agentName: "support",
  provider: "anthropic",
  model: "claude-sonnet-5",
  sessionId: "7b2e8a52-1111-5111-8111-111111111111",
} as const;

async function start(settings: Partial<Config["telemetry"]> = {}) {
  const lines: string[] = [];
  const telemetry = await startTelemetry(
    {
      logLevel: "debug",
      otlpEndpoint: null,
      otlpHeaders: {},
      publicMetrics: false,
      ...settings,
    },
    {
      capacityNumbers: () => CAPACITY,
      logDestination: { write: (line: string) => void lines.push(line) },
    },
  );
  return { telemetry, lines };
}

describe("startTelemetry, without a collector", () => {
  it("gives a turn the caller's trace and a span id of its own", async () => {
    const { telemetry } = await start();
    await using _telemetry = telemetry;
    const span = telemetry.startTurnSpan({
      ...TURN,
      traceparent: `00-${TRACE_ID}-${PARENT_ID}-01`,
      tracestate: "vendor=value",
    });
    expect(span.traceId).toBe(TRACE_ID);
    expect(span.spanId).toMatch(/^[0-9a-f]{16}$/);
    expect(span.spanId).not.toBe(PARENT_ID);
    expect(span.traceparent).toBe(`00-${TRACE_ID}-${span.spanId}-01`);
    expect(span.tracestate).toBe("vendor=value");
    expect(telemetry.agentEnvironment(span)).toEqual({
      TRACEPARENT: span.traceparent,
      TRACESTATE: "vendor=value",
    });
    span.end(COMPLETED);
  });

  it.each([
    undefined,
    "",
    "nonsense",
    `00-${"0".repeat(32)}-${PARENT_ID}-01`,
    `00-${TRACE_ID}-${"0".repeat(16)}-01`,
    `ff-${TRACE_ID}-${PARENT_ID}-01`,
    `00-${TRACE_ID.toUpperCase()}-${PARENT_ID}-01`,
    `00-${TRACE_ID}-${PARENT_ID}-01-more`,
  ])("makes a trace of its own from %j, not sampled", async (traceparent) => {
    const { telemetry } = await start();
    await using _telemetry = telemetry;
    const context = traceparent === undefined ? {} : { traceparent, tracestate: "vendor=value" };
    const span = telemetry.startTurnSpan({ ...TURN, ...context });
    expect(span.traceId).toMatch(/^(?!0{32})[0-9a-f]{32}$/);
    expect(span.traceId).not.toBe(TRACE_ID);
    expect(span.traceparent).toBe(`00-${span.traceId}-${span.spanId}-00`);
    expect(span.tracestate).toBeUndefined();
  });
});

/** What two turns send, one in the caller's trace, and whether all of it was sent in time. */
async function sendTwoTurns() {
  await using collector = await openCollector();
  const { telemetry, lines } = await start({
    otlpEndpoint: `${collector.url}/`,
    otlpHeaders: { "x-collector-key": "opaque" },
  });
  const joined = telemetry.startTurnSpan({
    ...TURN,
    traceparent: `00-${TRACE_ID}-${PARENT_ID}-01`,
  });
  const alone = telemetry.startTurnSpan(TURN);
  telemetry.metrics.turnAdmitted("support");
  joined.end(COMPLETED);
  alone.end(FAILED);
  await telemetry[Symbol.asyncDispose]();
  return { collector, joined, alone, wasCutOff: lines.join("").includes("did not answer within") };
}

describe("startTelemetry, with a collector", () => {
  it("sends one span a turn, joined to the caller's trace, and the metrics", async () => {
    let sent = await sendTwoTurns();
    // Who sends and who takes are both in this process, which may be held up for the time there is.
    for (let tries = 1; tries < 5 && sent.wasCutOff; tries += 1) sent = await sendTwoTurns();
    const { collector, joined, alone } = sent;

    expect(collector.spans()).toEqual([
      {
        traceId: TRACE_ID,
        spanId: joined.spanId,
        parentSpanId: PARENT_ID,
        name: "invoke_agent support",
      },
      {
        traceId: alone.traceId,
        spanId: alone.spanId,
        parentSpanId: "",
        name: "invoke_agent support",
      },
    ]);
    expect(alone.traceparent).toMatch(/-01$/);
    const paths = collector.received.map(({ path }) => path).sort();
    expect(paths).toEqual(["/v1/metrics", "/v1/traces"]);
    for (const { headers, body } of collector.received) {
      expect(headers["x-collector-key"]).toBe("opaque");
      expect(headers["content-type"]).toBe("application/x-protobuf");
      expect(body.includes("plimsoll")).toBe(true);
      expect(body.includes("service.instance.id")).toBe(true);
      expect(body.includes("what the model said")).toBe(false);
    }
    const traces = collector.received.find(({ path }) => path === "/v1/traces")!.body;
    for (const text of ["gen_ai.usage.input_tokens", TURN.sessionId, "turn_timeout"]) {
      expect(traces.includes(text), text).toBe(true);
    }
    const metrics = collector.received.find(({ path }) => path === "/v1/metrics")!.body;
    expect(metrics.includes("plimsoll.turn.admitted")).toBe(true);
    expect(metrics.includes(TURN.sessionId)).toBe(false);
  });

  it("exports nothing of a trace that the caller does not sample", async () => {
    await using collector = await openCollector();
    const { telemetry } = await start({ otlpEndpoint: collector.url });
    const span = telemetry.startTurnSpan({
      ...TURN,
      traceparent: `00-${TRACE_ID}-${PARENT_ID}-00`,
    });
    span.end(COMPLETED);
    await telemetry[Symbol.asyncDispose]();
    expect(span.traceparent).toBe(`00-${TRACE_ID}-${span.spanId}-00`);
    expect(collector.spans()).toEqual([]);
  });

  it.each(["away", "mute"])("ends in time when the collector is %s, and says so", async (how) => {
    const collector = await openCollector("mute");
    if (how === "away") await collector[Symbol.asyncDispose]();
    const { telemetry, lines } = await start({ otlpEndpoint: collector.url });
    telemetry.startTurnSpan(TURN).end(COMPLETED);
    expect(await telemetry.metrics.renderPrometheus()).toContain("plimsoll_turn_in_flight 3");
    const isEnded = telemetry[Symbol.asyncDispose]().then(() => "ended");
    // Two seconds are the promise, and five what the export itself would wait.
    const isLate = delay(4_500, "late", { ref: false });
    expect(await Promise.race([isEnded, isLate])).toBe("ended");
    expect(lines.join("")).toMatch(
      /"level":"warn".*did not answer within 2000 ms.*Cannot send the last telemetry/,
    );
    if (how === "mute") await collector[Symbol.asyncDispose]();
  });
});
