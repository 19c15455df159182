import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { query } from "@anthropic-ai/claude-agent-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { agentTelemetryEnvironment } from "../../src/telemetry/agent-environment.ts";
import { startTurnSpan } from "../../src/telemetry/turn-span.ts";
import { until } from "../helpers/leaks.ts";
import { openCollector, urlOf } from "./collector.ts";

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const PARENT_ID = "b7ad6b7169203331";
const PROMPT = "the words of the user";
const ANSWER = "the words of the model";

/** As much of the Messages API as one answer needs. */
function answer(response: ServerResponse): void {
  const event = (type: string, fields: object) =>
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`);
  response.writeHead(200, { "content-type": "text/event-stream" });
  event("message_start", {
    message: {
      id: "msg_1",
      type: "message",
      role: "assistant",
      model: "claude-sonnet-5",
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: { input_tokens: 100, output_tokens: 1 },
    },
  });
  event("content_block_start", { index: 0, content_block: { type: "text", text: "" } });
  event("content_block_delta", { index: 0, delta: { type: "text_delta", text: ANSWER } });
  event("content_block_stop", { index: 0 });
  const delta = { stop_reason: "end_turn", stop_sequence: null };
  event("message_delta", { delta, usage: { output_tokens: 20 } });
  event("message_stop", {});
  response.end();
}

const model = createServer((request, response) => {
  request.resume().on("end", () => {
    if (request.method === "POST" && request.url?.includes("/messages")) answer(response);
    else response.writeHead(404).end("{}");
  });
});
beforeAll(() => new Promise<void>((resolve) => model.listen(0, "127.0.0.1", resolve)));
afterAll(async () => {
  model.closeAllConnections();
  await new Promise((resolve) => model.close(resolve));
});

function openSpan() {
  return startTurnSpan(
    {
      agentName: "support",
      provider: "anthropic",
      model: "claude-sonnet-5",
      sessionId: "7b2e8a52-1111-5111-8111-111111111111",
      traceparent: `00-${TRACE_ID}-${PARENT_ID}-01`,
    },
    null,
  );
}

/** One turn of a real agent process; the time from its result to its end. */
async function runTurn(telemetry: Readonly<Record<string, string>>): Promise<number> {
  const home = mkdtempSync(join(tmpdir(), "plimsoll-telemetry-"));
  const env = {
    PATH: process.env["PATH"],
    HOME: home,
    CLAUDE_CONFIG_DIR: home,
    ANTHROPIC_API_KEY: "not-a-key",
    ANTHROPIC_BASE_URL: urlOf(model),
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
    ...telemetry,
  };
  const options = { cwd: home, settingSources: [], tools: [], model: "claude-sonnet-5", env };
  try {
    let resultMs = Number.NaN;
    for await (const message of query({ prompt: PROMPT, options })) {
      if (message.type === "result") resultMs = performance.now();
    }
    return performance.now() - resultMs;
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

/** Goal: what the variables promise is what the real Claude Code does with them. */
describe("agentTelemetryEnvironment", () => {
  it("makes the spans of a real agent process children of the turn's, with nothing lost", async () => {
    await using collector = await openCollector();
    const span = openSpan();
    await runTurn(
      agentTelemetryEnvironment(
        {
          otlpEndpoint: collector.url,
          otlpHeaders: { authorization: "Bearer a=b", "x-team": "one" },
        },
        span,
      ),
    );

    // What the process sent as it ended may be read only after that.
    const pathsSeen = () => [...new Set(collector.received.map(({ path }) => path))].sort();
    const namesSeen = () => new Set(collector.spans().map(({ name }) => name));
    await until(
      () =>
        namesSeen().has("claude_code.interaction") &&
        namesSeen().has("claude_code.llm_request") &&
        pathsSeen().length >= 2,
      "the spans and the logs of the turn",
    );
    const spans = collector.spans();
    const interaction = spans.find(({ name }) => name === "claude_code.interaction");
    expect(interaction).toMatchObject({ traceId: TRACE_ID, parentSpanId: span.spanId });
    expect(spans.find(({ name }) => name === "claude_code.llm_request")).toMatchObject({
      traceId: TRACE_ID,
      parentSpanId: interaction?.spanId,
    });
    // No metrics: the server counts its turns itself.
    expect(pathsSeen()).toEqual(["/v1/logs", "/v1/traces"]);
    for (const { headers, body } of collector.received) {
      expect(headers).toMatchObject({ authorization: "Bearer a=b", "x-team": "one" });
      expect(body.includes("gen_ai.agent.name")).toBe(true);
      expect(body.includes(PROMPT) || body.includes(ANSWER)).toBe(false);
    }
  });

  it("does not let a collector that never answers hold a turn for long", async () => {
    await using collector = await openCollector("mute");
    const config = { otlpEndpoint: collector.url, otlpHeaders: {} };
    // A busy machine adds to what is waited for, but not each time.
    let leastTailMs = Infinity;
    for (let turns = 0; turns < 4 && leastTailMs >= 1_800; turns += 1) {
      const tailMs = await runTurn(agentTelemetryEnvironment(config, openSpan()));
      leastTailMs = Math.min(leastTailMs, tailMs);
    }
    expect(collector.received.length).toBeGreaterThan(0);
    expect(leastTailMs).toBeLessThan(1_800);
  });
});
