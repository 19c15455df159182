/**
 * Goal: what `measure` says of the server's memory is what the server's own metrics tell.
 * Method: the metrics as a server answers with them, not a text that was made for it.
 */
import { resourceFromAttributes } from "@opentelemetry/resources";
import { expect, it } from "vitest";
import { heapIn } from "../../../src/sizing/measure/server-heap.ts";
import { Metrics } from "../../../src/telemetry/metrics.ts";
import { CAPACITY } from "../../telemetry/fixtures.ts";
import { MIB } from "./results.ts";

it("reads objects, code, free heap and buffers", async () => {
  const metrics = new Metrics({
    capacityNumbers: () => CAPACITY,
    resource: resourceFromAttributes({ "service.name": "plimsoll" }),
    readers: [],
    onReadError: (error) => {
      throw error;
    },
  });
  try {
    const heap = heapIn(await metrics.renderPrometheus());
    const { heapTotal } = process.memoryUsage();
    const { objectsBytes = 0, codeBytes = 0, freeBytes = 0, buffersBytes = 0 } = heap ?? {};
    expect(objectsBytes).toBeGreaterThan(MIB);
    expect(codeBytes).toBeGreaterThan(0);
    expect(buffersBytes).toBeGreaterThan(0);
    // The heap as a whole: it may have grown or shrunk by some pages since.
    const wholeBytes = objectsBytes + codeBytes + freeBytes;
    expect(wholeBytes).toBeGreaterThan(heapTotal / 2);
    expect(wholeBytes).toBeLessThan(heapTotal * 2);
  } finally {
    await metrics.shutdown();
  }
});

it("says nothing where the server did not", () => {
  expect(heapIn("plimsoll_turn_in_flight 3\n")).toBeNull();
});
