/**
 * Goal: every example does what its README says.
 * Method: each is served by the built program, in rehearsal, and takes turns over HTTP.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Plan } from "../src/sizing/plan.ts";
import type { SimulationResult } from "../src/sizing/simulate/result.ts";
import { run as runPlimsoll } from "./cli/plimsoll.ts";
import { ask, get, ROOT, serveExample } from "./helpers/example.ts";

const TESTED = [
  "agui-page",
  "fleet",
  "hello-agent",
  "mcp-stdio",
  "single-container",
  "structured-output",
  "tools-typescript",
  "two-agents",
];

describe("examples", () => {
  it("are all tested here", async () => {
    const entries = await readdir(join(ROOT, "examples"), { withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
    expect(folders.sort()).toEqual(TESTED);
  });

  it("hello-agent tells the time with its tool", async () => {
    await using server = await serveExample("hello-agent/agent.yaml");
    const { toolCalls } = await ask(server, "hello", "What does current_time say?");
    expect(toolCalls).toMatchObject([{ name: "current_time", isError: false }]);
  });

  it("tools-typescript runs tools that nobody compiled", async () => {
    await using server = await serveExample("tools-typescript/agent.yaml");
    const { toolCalls } = await ask(server, "converter", "Use convert_length");
    expect(toolCalls).toMatchObject([
      { name: "convert_length", input: { from: "mm" }, result: '{"value":1,"unit":"mm"}' },
    ]);
  });

  it("fleet is simulated in seconds, and scales with its day", async () => {
    const directory = join(ROOT, "examples/fleet");
    const args = ["simulate", "scenario.yaml", "--format", "json"];
    const { code, stdout } = await runPlimsoll(args, { directory });
    expect(code).toBe(0);
    const { shedRatio, replicas } = JSON.parse(stdout) as SimulationResult;
    expect(shedRatio.value).toBeLessThan(0.05);
    expect(replicas.mostUp).toBeGreaterThan(replicas.fewestUp);
  });

  it("fleet has a plan for its users, at a price", async () => {
    const directory = join(ROOT, "examples/fleet");
    const { code, stdout, stderr } = await runPlimsoll(["plan", "--format", "json"], { directory });
    expect([code, stderr]).toEqual([0, ""]);
    const { advised, workload } = JSON.parse(stdout) as Plan;
    expect(advised?.shedRatio).toBeLessThanOrEqual(workload.shedTargetRatio);
    expect(advised?.hourly).toBeGreaterThan(0);
  });

  it("mcp-stdio starts its server from beside the agent file", async () => {
    await using server = await serveExample("mcp-stdio/agent.yaml");
    const { toolCalls } = await ask(server, "librarian", "Use look_up");
    expect(toolCalls).toMatchObject([{ name: "look_up", server: "glossary" }]);
    expect(toolCalls[0]?.result).toMatch(/glossary does not have/);
  });

  it("structured-output answers with a ticket", async () => {
    await using server = await serveExample("structured-output/agent.yaml");
    const { structuredOutput } = await ask(server, "triage", "My kettle leaks");
    expect(structuredOutput).toEqual({
      title: expect.any(String),
      urgency: "low",
      products: expect.any(Array),
      needsHuman: expect.any(Boolean),
    });
  });

  it("single-container serves one session; its dispatcher has a test of its own", async () => {
    await using server = await serveExample("single-container/agent.yaml");
    const turn = async (threadId: string) => {
      const response = await fetch(`${server.url}/v1/agents/companion/turns`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ input: "Hello", threadId }),
      });
      return [response.status, ((await response.json()) as { code?: string }).code];
    };
    expect(await turn("ada")).toEqual([200, undefined]);
    expect(await turn("bob")).toEqual([421, "other_session"]);
    const readiness = await fetch(`${server.url}/readyz`);
    expect(await readiness.json()).toMatchObject({ status: "bound" });
  });

  it("two-agents keeps the sessions of two tenants apart", async () => {
    await using server = await serveExample("two-agents/agents", ["--config", "../plimsoll.yaml"]);
    const [acme, globex] = ["example-key-of-acme", "example-key-of-globex"];
    await ask(server, "greeter", "Hello", acme);
    await ask(server, "critic", "Hello", globex);
    const agentsOf = async (key: string) => {
      const { sessions } = (await get(server, "/v1/sessions", key)) as {
        sessions: { agent: string }[];
      };
      return sessions.map(({ agent }) => agent);
    };
    expect(await agentsOf(acme)).toEqual(["greeter"]);
    expect(await agentsOf(globex)).toEqual(["critic"]);
    expect(await get(server, "/capacity", acme)).toMatchObject({ code: "forbidden" });
    expect(await get(server, "/capacity", "example-key-of-ops")).toMatchObject({ maxTurns: 8 });
  });

  it("agui-page reads a conversation, also from another origin", async () => {
    const origin = "http://127.0.0.1:8000";
    const settings = ["--set", `http.corsOrigins=${origin}`];
    await using server = await serveExample("hello-agent/agent.yaml", settings);
    const preflight = await fetch(`${server.url}/agui`, {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
      },
    });
    expect(preflight.headers.get("access-control-allow-origin")).toBe(origin);

    const { runAgent } = (await import(join(ROOT, "examples/agui-page/agui.js"))) as AguiPage;
    const run = async (messages: readonly object[]) => {
      const conversation = { threadId: "page", messages };
      const signal = AbortSignal.timeout(20_000);
      const events: AguiEvent[] = [];
      for await (const event of runAgent(`${server.url}/agui`, conversation, signal)) {
        events.push(event);
      }
      return events;
    };
    const events = await run([{ id: "1", role: "user", content: "Hello" }]);
    expect(events[0]?.type).toBe("RUN_STARTED");
    expect(events.map(({ delta = "" }) => delta).join("")).toContain("You said: “Hello”");
    expect(events.at(-1)).toMatchObject({
      type: "RUN_FINISHED",
      metadata: { costUsd: expect.any(Number), durationMs: expect.any(Number) },
    });
    await expect(run([])).rejects.toThrow(/does not fit/);
  });
});

interface AguiEvent {
  readonly type: string;
  readonly delta?: string;
}

interface AguiPage {
  readonly runAgent: (
    url: string,
    conversation: { threadId: string; messages: readonly object[] },
    signal: AbortSignal,
  ) => AsyncIterable<AguiEvent>;
}
