/**
 * The environment: read here and nowhere else, and what of it an agent process may see. That is an
 * allow-list, because whatever the process can read, its tools can find.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Environment } from "../lib/substitute.ts";

/** A copy of the process's environment. */
export function ownEnvironment(): Environment {
  return Object.freeze({ ...process.env });
}

/** For every agent. `HOME` and `TMPDIR` are set for each session. A `*` at the end is any rest. */
const COMMON = [
  "PATH",
  "LANG",
  "LC_*",
  "TZ",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  "NODE_EXTRA_CA_CERTS",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
  "http_proxy",
  "https_proxy",
  "no_proxy",
];

/** Names as documented for Claude Code: https://code.claude.com/docs/en/env-vars */
const BY_PROVIDER = {
  anthropic: [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_CUSTOM_HEADERS",
    "CLAUDE_CODE_OAUTH_TOKEN",
  ],
  bedrock: [
    "ANTHROPIC_BEDROCK_*",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CA_BUNDLE",
    // Roles of a Kubernetes service account and of an ECS task.
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_*",
    "CLAUDE_CODE_SKIP_BEDROCK_AUTH",
  ],
  vertex: [
    "ANTHROPIC_VERTEX_*",
    "CLOUD_ML_REGION",
    "VERTEX_REGION_*",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT",
    "GCLOUD_PROJECT",
    "CLAUDE_CODE_SKIP_VERTEX_AUTH",
  ],
  foundry: [
    "ANTHROPIC_FOUNDRY_*",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "AZURE_TENANT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
    "AZURE_CONFIG_DIR",
    "CLAUDE_CODE_SKIP_FOUNDRY_AUTH",
  ],
  // The server gives the address of its own scripted model, and there is no key.
  rehearsal: [],
} as const satisfies Readonly<Record<string, readonly string[]>>;

type Provider = keyof typeof BY_PROVIDER;

/** What makes Claude Code use a provider. */
const SWITCHES: Readonly<Partial<Record<Provider, string>>> = {
  bedrock: "CLAUDE_CODE_USE_BEDROCK",
  vertex: "CLAUDE_CODE_USE_VERTEX",
  foundry: "CLAUDE_CODE_USE_FOUNDRY",
};

/** Where the tools of the clouds keep credentials below `HOME`, and the variable that names the place. */
const CREDENTIALS_AT_HOME = {
  AWS_CONFIG_FILE: ".aws/config",
  AWS_SHARED_CREDENTIALS_FILE: ".aws/credentials",
  GOOGLE_APPLICATION_CREDENTIALS: ".config/gcloud/application_default_credentials.json",
  AZURE_CONFIG_DIR: ".azure",
} as const;

/** What agent processes may see together: the union over all providers. */
export function agentEnvironmentOf(environment: Environment): Readonly<Record<string, string>> {
  const allowed = pick([...COMMON, ...Object.values(BY_PROVIDER).flat()], environment);
  return { ...allowed, ...credentialsAtHome(environment) };
}

/** An agent process has a `HOME` of its session: without this it would look for them there. */
function credentialsAtHome(environment: Environment): Record<string, string> {
  const home = environment["HOME"] ?? "";
  if (home === "") return {};
  const found = Object.entries(CREDENTIALS_AT_HOME)
    .filter(([name]) => (environment[name] ?? "") === "")
    .map(([name, place]) => [name, join(home, place)] as const)
    // Named and not there, Google's would fail where the machine itself has credentials.
    .filter(([, path]) => existsSync(path));
  return Object.fromEntries(found);
}

/** What an agent gets for its own provider, with the switch that selects it: nothing of others. */
export function providerEnvironment(
  provider: Provider,
  environment: Environment,
): Readonly<Record<string, string>> {
  const selector = SWITCHES[provider];
  return {
    ...pick([...COMMON, ...BY_PROVIDER[provider]], environment),
    ...(selector !== undefined && { [selector]: "1" }),
  };
}

function pick(allowed: readonly string[], environment: Environment): Record<string, string> {
  const exact = new Set(allowed);
  const starts = allowed.filter((name) => name.endsWith("*")).map((name) => name.slice(0, -1));
  const picked = Object.entries(environment).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined &&
      (exact.has(entry[0]) || starts.some((start) => entry[0].startsWith(start))),
  );
  return Object.fromEntries(picked);
}
