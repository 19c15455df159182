import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { MODEL_PROVIDERS } from "../../src/agent/definition.ts";
import {
  agentEnvironmentOf,
  providerEnvironment,
  ownEnvironment,
} from "../../src/config/environment.ts";

const environment = {
  PATH: "/bin",
  LC_ALL: "C",
  https_proxy: "http://proxy",
  HOME: "/not/there",
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

describe("credentials in files", () => {
  const FILES = {
    AWS_CONFIG_FILE: ".aws/config",
    AWS_SHARED_CREDENTIALS_FILE: ".aws/credentials",
    GOOGLE_APPLICATION_CREDENTIALS: ".config/gcloud/application_default_credentials.json",
    AZURE_CONFIG_DIR: ".azure/azureProfile.json",
  };

  async function homeWith(files: readonly string[]): Promise<string> {
    const home = await mkdtemp(join(tmpdir(), "plimsoll-home-"));
    onTestFinished(() => rm(home, { recursive: true }));
    for (const file of files) {
      await mkdir(dirname(join(home, file)), { recursive: true });
      await writeFile(join(home, file), "");
    }
    return home;
  }

  it("are found at the server's home, each by the agents of its provider alone", async () => {
    const home = await homeWith(Object.values(FILES));
    const all = agentEnvironmentOf({ HOME: home, AWS_PROFILE: "dev" });
    expect(providerEnvironment("bedrock", all)).toEqual({
      AWS_PROFILE: "dev",
      AWS_CONFIG_FILE: join(home, ".aws/config"),
      AWS_SHARED_CREDENTIALS_FILE: join(home, ".aws/credentials"),
      CLAUDE_CODE_USE_BEDROCK: "1",
    });
    expect(providerEnvironment("vertex", all)).toEqual({
      GOOGLE_APPLICATION_CREDENTIALS: join(home, FILES.GOOGLE_APPLICATION_CREDENTIALS),
      CLAUDE_CODE_USE_VERTEX: "1",
    });
    expect(providerEnvironment("foundry", all)).toEqual({
      AZURE_CONFIG_DIR: join(home, ".azure"),
      CLAUDE_CODE_USE_FOUNDRY: "1",
    });
    expect(providerEnvironment("anthropic", all)).toEqual({});
    expect(providerEnvironment("rehearsal", all)).toEqual({});
  });

  it("are those that the environment names, where it names some", async () => {
    const home = await homeWith(Object.values(FILES));
    const named = Object.fromEntries(Object.keys(FILES).map((name) => [name, "/elsewhere"]));
    expect(agentEnvironmentOf({ HOME: home, ...named })).toEqual(named);
  });

  it("are not named where they are not, so that a role of the machine is found", async () => {
    const home = await homeWith([FILES.AWS_CONFIG_FILE]);
    expect(agentEnvironmentOf({ HOME: home, AWS_CONFIG_FILE: "" })).toEqual({
      AWS_CONFIG_FILE: join(home, ".aws/config"),
    });
    expect(agentEnvironmentOf({ HOME: "" })).toEqual({});
    expect(agentEnvironmentOf({})).toEqual({});
  });
});

describe("ownEnvironment", () => {
  it("is a frozen copy", () => {
    const read = ownEnvironment();
    expect(read["PATH"]).toBe(process.env["PATH"]);
    expect(Object.isFrozen(read)).toBe(true);
  });
});
