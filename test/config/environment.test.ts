import { describe, expect, it } from "vitest";
import { MODEL_PROVIDERS } from "../../src/agent/definition.ts";
import {
  agentEnvironmentOf,
  providerEnvironment,
  readEnvironment,
} from "../../src/config/environment.ts";

const environment = {
  PATH: "/bin",
  LC_ALL: "C",
  https_proxy: "http://proxy",
  HOME: "/root",
  NODE_OPTIONS: "--inspect",
  DATABASE_URL: "postgres://secret",
  PLIMSOLL_LISTEN_PORT: "1",
  ANTHROPIC_API_KEY: "sk",
  AWS_SECRET_ACCESS_KEY: "aws",
  AWS_WEB_IDENTITY_TOKEN_FILE: "/var/token",
  GOOGLE_APPLICATION_CREDENTIALS: "/gcp.json",
  VERTEX_REGION_CLAUDE_5_SONNET: "europe-west1",
  ANTHROPIC_FOUNDRY_API_KEY: "azure",
  CLAUDE_CODE_USE_BEDROCK: "1",
  EMPTY: undefined,
};
const common = { PATH: "/bin", LC_ALL: "C", https_proxy: "http://proxy" };

describe("providerEnvironment", () => {
  it.each([
    ["anthropic", { ANTHROPIC_API_KEY: "sk" }],
    [
      "bedrock",
      {
        AWS_SECRET_ACCESS_KEY: "aws",
        AWS_WEB_IDENTITY_TOKEN_FILE: "/var/token",
        CLAUDE_CODE_USE_BEDROCK: "1",
      },
    ],
    [
      "vertex",
      {
        GOOGLE_APPLICATION_CREDENTIALS: "/gcp.json",
        VERTEX_REGION_CLAUDE_5_SONNET: "europe-west1",
        CLAUDE_CODE_USE_VERTEX: "1",
      },
    ],
    ["foundry", { ANTHROPIC_FOUNDRY_API_KEY: "azure", CLAUDE_CODE_USE_FOUNDRY: "1" }],
    ["rehearsal", {}],
  ] as const)("gives %s its own credentials only", (provider, own) => {
    expect(providerEnvironment(provider, environment)).toEqual({ ...common, ...own });
  });
});

describe("agentEnvironmentOf", () => {
  it("is what all providers need, so that it can be narrowed for one", () => {
    const all = agentEnvironmentOf(environment);
    expect(all).not.toHaveProperty("DATABASE_URL");
    expect(all).not.toHaveProperty("HOME");
    expect(all).not.toHaveProperty("NODE_OPTIONS");
    for (const provider of MODEL_PROVIDERS) {
      expect(providerEnvironment(provider, all)).toEqual(
        providerEnvironment(provider, environment),
      );
    }
  });
});

describe("readEnvironment", () => {
  it("is a frozen copy", () => {
    const read = readEnvironment();
    expect(read["PATH"]).toBe(process.env["PATH"]);
    expect(Object.isFrozen(read)).toBe(true);
  });
});
