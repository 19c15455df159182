/**
 * Goal: the settings of the console are what they say, and no key of another replica is ever shown.
 * Method: server files and variables, as an operator writes them.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadConfig } from "../../src/config/load.ts";
import { DiagnosticsError } from "../../src/lib/diagnostics.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "plimsoll-console-config-"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function load(yaml: string, environment: Record<string, string> = {}) {
  const file = join(folder, "server.yaml");
  await writeFile(file, yaml);
  return loadConfig({ file, flags: {}, environment, workingDirectory: folder });
}

/** All that is told of a file with problems, as one text. */
async function told(yaml: string, environment: Record<string, string> = {}): Promise<string> {
  const thrown: unknown = await load(yaml, environment).catch((error: unknown) => error);
  if (!(thrown instanceof DiagnosticsError)) throw new Error("There is no problem");
  return JSON.stringify(thrown.diagnostics) + thrown.message;
}

const anyone = "auth: { allowAnyone: true }";

describe("console.tryLoad", () => {
  it.each([
    ["", "127.0.0.1", true],
    ["", "localhost", true],
    ["", "0.0.0.0", false],
    ["tryLoad: always", "0.0.0.0", true],
    ["tryLoad: never", "127.0.0.1", false],
  ])("'%s' on %s: %s", async (setting, host, expected) => {
    const { config } = await load(`listen: { host: ${host} }\nconsole: {${setting}}\n${anyone}`);
    expect(config.console.mayTryLoad).toBe(expected);
  });

  it("has a variable, as the other settings have", async () => {
    const { config } = await load("", {
      PLIMSOLL_CONSOLE_ENABLED: "false",
      PLIMSOLL_CONSOLE_TRY_LOAD: "never",
      PLIMSOLL_CONSOLE_SESSION_TIME: "5m",
    });
    expect(config.console).toEqual({
      isEnabled: false,
      replicaName: null,
      mayTryLoad: false,
      sessionTimeMs: 300_000,
      replicas: [],
    });
  });
});

describe("console.replicaName", () => {
  it("is from the file or its variable, and fits into a line", async () => {
    const { config } = await load("console: { replicaName: harbour-1.eu }");
    expect(config.console.replicaName).toBe("harbour-1.eu");
    const named = await load("", { PLIMSOLL_CONSOLE_REPLICA_NAME: "agents-7d9f" });
    expect(named.config.console.replicaName).toBe("agents-7d9f");
    for (const name of [`"two words"`, `""`, "a".repeat(65)]) {
      expect(await told(`console: { replicaName: ${name} }`)).toContain("needs a name");
    }
  });
});

describe("console.replicas", () => {
  const KEY = "pk_other-replica-93f1";

  it("are named, with the key from a variable", async () => {
    const yaml = `
console:
  replicas:
    - { name: b, url: "https://b.internal:8443", key: "\${B_KEY}" }
    - { name: c, url: "http://gate.internal/c//" }
`;
    const { config, effective } = await load(yaml, { B_KEY: KEY });
    expect(config.console.replicas).toEqual([
      { name: "b", url: "https://b.internal:8443/", key: KEY },
      { name: "c", url: "http://gate.internal/c/", key: null },
    ]);
    const shown = JSON.stringify([...effective]);
    expect(shown).not.toContain(KEY);
    expect(effective.get("console.replicas")).toContain('"b"');
  });

  it.each([
    ["ftp://b.internal", "http or https"],
    ["b.internal:8080", "http or https"],
    ["/v1/feed", "http or https"],
    [`https://user:${KEY}@b.internal`, "http or https"],
    [`https://b.internal/?key=${KEY}`, "http or https"],
    [`https://b.internal/#${KEY}`, "http or https"],
  ])("may not be at %s", async (url, needed) => {
    const text = await told(`console: { replicas: [{ name: b, url: "${url}" }] }`);
    expect(text).toContain(needed);
    expect(text).not.toContain(KEY);
  });

  it("need keys that a header can have, and show none that does not fit", async () => {
    for (const key of [`${KEY} x`, `${KEY}\n`, `${KEY}é`, ""]) {
      const yaml = `console: { replicas: [{ name: b, url: "http://b", key: "\${B_KEY}" }] }`;
      const text = await told(yaml, { B_KEY: key });
      expect(text).toContain("needs a key");
      expect(text).not.toContain(KEY);
    }
    const misspelt = `console: { replicas: [{ name: b, url: "http://b", kye: ${KEY} }] }`;
    expect(await told(misspelt)).not.toContain(KEY);
  });

  it("have names of their own that fit into an address, and are not without number", async () => {
    const entry = (name: string) => `{ name: ${name}, url: "http://b" }`;
    const of = (names: readonly string[]) =>
      `console: { replicas: [${names.map(entry).join(",")}] }`;
    expect(await told(of(["b", "b"]))).toContain("different names");
    expect(await told(of(["b/../c"]))).toContain("a name of 1 to 64");
    const many = Array.from({ length: 33 }, (_, at) => `b${at}`);
    expect(await told(of(many))).toContain("32");
    expect((await load(of(many.slice(1)))).config.console.replicas).toHaveLength(32);
  });
});
