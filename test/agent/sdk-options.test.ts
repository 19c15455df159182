import { describe, expect, it } from "vitest";

import { type InitFacts, postureFault, sdkOptionsOf } from "../../src/agent/sdk-options.ts";
import { definitionOf } from "../turn/real-agents.ts";

const NEW = { sessionId: "s1", isNew: true, workDirectory: "/data/work" };

describe("sdkOptionsOf", () => {
  it("gives a plain agent nothing that its file does not name", () => {
    expect(sdkOptionsOf(definitionOf(), NEW, undefined)).toEqual({
      cwd: "/data/work",
      sessionId: "s1",
      persistSession: true,
      model: "claude-sonnet-5",
      systemPrompt: { type: "custom", prompt: "You are a test.", snapshot: false },
      tools: [],
      allowedTools: [],
      permissionMode: "dontAsk",
      permissionPrompts: "none",
      mcpServers: {},
      mcpServersDelivery: "initialize",
      strictMcpConfig: true,
      settingSources: [],
      settings: { cleanupPeriodDays: 36_500 },
      verbatimPrompts: true,
      includePartialMessages: true,
      maxTurns: 5,
    });
  });

  it("resumes a session there is, and keeps none of an ephemeral agent", () => {
    const resumed = sdkOptionsOf(definitionOf(), { ...NEW, isNew: false }, undefined);
    expect(resumed).toMatchObject({ resume: "s1" });
    expect(resumed).not.toHaveProperty("sessionId");
    const ephemeral = definitionOf({ hosting: { pattern: "ephemeral" } });
    expect(sdkOptionsOf(ephemeral, NEW, undefined)).toMatchObject({ persistSession: false });
  });

  it("names every tool, and waits for every server of tools", () => {
    const stdio = {
      type: "stdio",
      command: "vault",
      args: ["-x"],
      env: { KEY: "k" },
    } as const;
    const http = {
      type: "http",
      url: "https://x/mcp",
      headers: { authorization: "a" },
    } as const;
    const mcp = { vault: { ...stdio, required: true }, web: { ...http, required: false } };
    const agent = definitionOf({ tools: { builtin: ["Bash"], mcp } });
    const functions = { type: "sse", url: "https://functions" } as const;
    const options = sdkOptionsOf(agent, NEW, functions);
    expect(options.mcpServers?.["vault"]).not.toHaveProperty("required");
    expect(options).toMatchObject({
      tools: ["Bash"],
      allowedTools: ["Bash", "mcp__tools", "mcp__vault", "mcp__web"],
      mcpServers: {
        tools: functions,
        vault: { ...stdio, alwaysLoad: true },
        web: { ...http, alwaysLoad: true },
      },
    });
  });

  it("passes on what the file says of the model, its limits and its output", () => {
    const schema = { type: "object" };
    const agent = definitionOf({
      model: {
        effort: "low",
        thinking: { type: "enabled", budgetTokens: 2_000 },
        fallback: ["claude-sonnet-5", "claude-haiku-4-5", "claude-opus-5"],
      },
      limits: { budgetUsd: 0.5, steps: 9 },
      outputSchema: schema,
    });
    expect(sdkOptionsOf(agent, NEW, undefined)).toMatchObject({
      effort: "low",
      thinking: { type: "enabled", budgetTokens: 2_000 },
      fallbackModel: "claude-haiku-4-5,claude-opus-5",
      maxBudgetUsd: 0.5,
      maxTurns: 9,
      outputFormat: { type: "json_schema", schema },
    });
    const same = definitionOf({ model: { fallback: ["claude-sonnet-5"] } });
    expect(sdkOptionsOf(same, NEW, undefined)).not.toHaveProperty("fallbackModel");
  });
});

describe("postureFault", () => {
  const web = { type: "http", url: "https://x", headers: {}, required: true } as const;
  const agent = definitionOf({ tools: { builtin: ["Bash", "Read"], mcp: { web } } });
  const all = ["Bash", "Read", "mcp__tools__greet"];

  it.each([
    ["agrees", all, null],
    ["agrees in any order", ["mcp__tools__greet", "Read", "Bash"], null],
    ["may have what a declared server offers", [...all, "mcp__web__find"], null],
    ["has a built-in too many", [...all, "Write"], "offers undeclared tools: Write"],
    ["has a foreign server", [...all, "mcp__evil__x"], "offers undeclared tools: mcp__evil__x"],
    ["has a server of a longer name", [...all, "mcp__webs__x"], "undeclared tools: mcp__webs__x"],
    [
      "has a function too many",
      [...all, "mcp__tools__x"],
      "offers undeclared tools: mcp__tools__x",
    ],
    ["has structured output unasked", [...all, "StructuredOutput"], "undeclared tools: Structured"],
    ["lacks a built-in", ["Bash", "mcp__tools__greet"], "lacks declared tools: Read"],
    ["lacks a function", ["Bash", "Read"], "lacks declared tools: mcp__tools__greet"],
  ])("of a process that %s", (_what, effective, expected) => {
    const fault = postureFault(agent, ["greet"], initOf(effective, { web: "connected" }));
    if (expected === null) expect(fault).toBeNull();
    else expect(fault?.code).toBe("agent_posture_mismatch");
    if (expected !== null) expect(fault?.detail).toContain(expected);
  });

  it("expects the tool of structured output where that is asked for", () => {
    const structured = definitionOf({ outputSchema: { type: "object" } });
    expect(postureFault(structured, [], initOf(["StructuredOutput"]))).toBeNull();
    expect(postureFault(structured, [], initOf([]))).toBeNull();
  });

  it.each(["failed", "needs-auth", "pending", "disabled"])(
    "names the servers that are %s, where they are required",
    (status) => {
      const some = definitionOf({ tools: { mcp: { web, spare: { ...web, required: false } } } });
      const fault = postureFault(some, [], initOf([], { web: status, spare: status }));
      const detail = `lacks MCP servers: web (${status})`;
      expect(fault).toEqual({ code: "mcp_server_unavailable", detail });
      expect(postureFault(some, [], initOf([], { web: "connected", spare: status }))).toBeNull();
    },
  );

  it("takes a server that the process does not name for one that is not there", () => {
    expect(postureFault(agent, ["greet"], initOf(all))?.detail).toContain("web (unknown)");
  });
});

function initOf(
  tools: readonly string[],
  servers: Readonly<Record<string, string>> = {},
): InitFacts {
  const mcp_servers = Object.entries(servers).map(([name, status]) => ({ name, status }));
  return { tools: [...tools], mcp_servers };
}
