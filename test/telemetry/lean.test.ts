import { createRequire } from "node:module";

import { describe, expect, it } from "vitest";

import { startTelemetry } from "../../src/telemetry/start.ts";
import { CAPACITY } from "./fixtures.ts";

const EXPORTERS = /exporter-(trace|metrics)-otlp|otlp-transformer|sdk-trace-base/;

const loaded = () => Object.keys(createRequire(import.meta.url).cache);
const deps = { capacityNumbers: () => CAPACITY, logDestination: { write: () => undefined } };

async function startAndStop(otlpEndpoint: string | null): Promise<void> {
  const config = { logLevel: "silent", otlpHeaders: {}, publicMetrics: false } as const;
  const telemetry = await startTelemetry({ ...config, otlpEndpoint }, deps);
  await telemetry[Symbol.asyncDispose]();
}

describe("startTelemetry", () => {
  it("loads what sends to a collector only when there is one", async () => {
    await startAndStop(null);
    expect(loaded().some((file) => file.includes("exporter-prometheus"))).toBe(true);
    expect(loaded().filter((file) => EXPORTERS.test(file))).toEqual([]);
    await startAndStop("http://127.0.0.1:9");
    expect(loaded().some((file) => EXPORTERS.test(file))).toBe(true);
  });
});
