/**
 * Goal: the right source wins, and settings that do not fit never start a server.
 * Method: real files in a temporary folder; flags and environment as plain objects.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ConfigInput, loadConfig } from "../../src/config/load.ts";
import { PLAIN_SETTINGS, SETTINGS } from "../../src/config/settings.ts";
import { DiagnosticsError } from "../../src/lib/diagnostics.ts";

const SHA = "a".repeat(64);

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "plimsoll-config-"));
});
afterEach(() => rm(folder, { recursive: true }));

interface Given extends Partial<ConfigInput> {
  /** Content of plimsoll.yaml. */
  readonly yaml?: string;
}

async function load({ yaml, ...input }: Given = {}) {
  if (yaml !== undefined) await writeFile(join(folder, "plimsoll.yaml"), yaml);
  return loadConfig({ flags: {}, environment: {}, workingDirectory: folder, ...input });
}

/** `file:line:column path message | remedy` of each problem. */
async function problems(given: Given): Promise<string[]> {
  const thrown: unknown = await load(given).then(
    () => undefined,
    (error: unknown) => error,
  );
  if (thrown === undefined) return [];
  if (!(thrown instanceof DiagnosticsError)) throw new Error("not a diagnostic", { cause: thrown });
  expect(thrown.code).toBe("config_invalid");
  return thrown.diagnostics.map(
    ({ file, line, column, path, message, remedy }) =>
      `${file}:${line}:${column} ${path} ${message} | ${remedy}`,
  );
}

describe("loadConfig, sources", () => {
  it("has a default for everything", async () => {
    const { config, sources, file, effective } = await load();
    expect(file).toBeNull();
    expect(new Set(sources.values())).toEqual(new Set(["default"]));
    expect(config).toEqual({
      listen: { host: "127.0.0.1", port: 8080 },
      http: {
        bodyLimitBytes: 1_048_576,
        bodiesLimitBytes: 67_108_864,
        requestTimeoutMs: 30_000,
        heartbeatMs: 15_000,
        unreadTimeoutMs: 60_000,
        maxConnections: 10_000,
        maxStreamsPerCaller: 64,
        corsOrigins: [],
        allowedHosts: [],
      },
      journal: {
        turnBytes: 4_194_304,
        totalBytes: 33_554_432,
        keepMs: 120_000,
        maxReaders: 16,
      },
      auth: { keys: [] },
      capacity: {
        memoryLimitBytes: null,
        admission: "measured",
        parentReserveBytes: 400 * 1_048_576,
        turnReserveBytes: 500 * 1_048_576,
        safetyReserveBytes: null,
        priorityReserveBytes: 0,
        fairShare: true,
        startsAtOnce: null,
        startWaitMs: 10_000,
        guard: true,
        maxTurns: null,
        maxResidents: 1000,
        warmTimeMs: 60_000,
        maxRetryAfterMs: 600_000,
        shedStatus: 429,
        unreadyWhenFull: false,
      },
      agentProcess: {
        startTimeoutMs: 30_000,
        endGraceMs: 2_000,
        stderrTailBytes: 65_536,
        sampleIntervalMs: 100,
        ownGroup: true,
      },
      sessions: {
        maxPerTenant: 100_000,
        store: null,
        replicaAddress: null,
        storeTimeoutMs: 5_000,
        leaseTimeMs: 30_000,
        outboxBytes: 2 ** 30,
        copiesBytes: 10 * 2 ** 30,
        maxReadsAtOnce: 2,
        readWaitMs: 5_000,
      },
      retention: {
        maxIdleMs: 90 * 86_400_000,
        maxAgeMs: null,
        sessionsPerTenant: null,
        bytesPerTenant: null,
        maxBytes: null,
        keepFreeBytes: null,
        sweepIntervalMs: 3_600_000,
      },
      dataDirectory: join(folder, ".plimsoll"),
      drain: { graceMs: 25_000 },
      console: {
        isEnabled: true,
        replicaName: null,
        mayTryLoad: true,
        sessionTimeMs: 12 * 3_600_000,
        replicas: [],
      },
      telemetry: { logLevel: "info", otlpEndpoint: null, otlpHeaders: {}, publicMetrics: false },
      agentEnvironment: {},
    });
    expect([...effective.keys()]).toEqual(SETTINGS.map(({ name }) => name));
    expect(effective.get("http.bodySize")).toBe("1MiB");
    expect(effective.get("drain.grace")).toBe("25s");
  });

  it("takes a file of comments for one that sets nothing", async () => {
    for (const yaml of ["", "# listen: { port: 1 }\n"]) {
      const { sources, file } = await load({ yaml });
      expect(file).toBe(join(folder, "plimsoll.yaml"));
      expect(new Set(sources.values())).toEqual(new Set(["default"]));
    }
  });

  it("takes the flag before the environment, the environment before the file", async () => {
    const yaml = "listen: { port: 1 }\nhttp: { heartbeat: 10s }\ndrain: { grace: 5s }\n";
    const { config, sources } = await load({
      yaml,
      flags: { "listen.port": "3" },
      environment: { PLIMSOLL_LISTEN_PORT: "2", PLIMSOLL_HTTP_HEARTBEAT: "20s" },
    });
    expect([config.listen.port, config.http.heartbeatMs, config.drain.graceMs]).toEqual([
      3, 20_000, 5_000,
    ]);
    const names = ["listen.port", "http.heartbeat", "drain.grace", "listen.host"];
    expect(names.map((name) => sources.get(name))).toEqual([
      "flag",
      "environment",
      "file",
      "default",
    ]);
  });

  it("lets a good flag stand in for a bad value of the file", async () => {
    const { config } = await load({ yaml: "listen: {port: x}", flags: { "listen.port": "0" } });
    expect(config.listen.port).toBe(0);
  });

  it("takes text, numbers, words, lists and maps from the environment", async () => {
    const { config } = await load({
      environment: {
        PLIMSOLL_HTTP_BODY_SIZE: "2MiB",
        PLIMSOLL_HTTP_CORS_ORIGINS: "https://a.example, https://b.example",
        PLIMSOLL_CAPACITY_UNREADY_WHEN_FULL: "true",
        PLIMSOLL_CAPACITY_SHED_STATUS: "503",
        PLIMSOLL_TELEMETRY_OTLP_HEADERS: "a=b=c,d=e%20f",
      },
    });
    expect(config.http.bodyLimitBytes).toBe(2_097_152);
    expect(config.http.corsOrigins).toEqual(["https://a.example", "https://b.example"]);
    expect(config.capacity).toMatchObject({ unreadyWhenFull: true, shedStatus: 503 });
    expect(config.telemetry.otlpHeaders).toEqual({ a: "b=c", d: "e f" });
  });

  it("has a variable of its own for every setting that fits into one", () => {
    const variables = PLAIN_SETTINGS.map(({ variable }) => variable);
    expect(new Set(variables).size).toBe(variables.length);
    const others = SETTINGS.filter((setting) => !PLAIN_SETTINGS.includes(setting));
    expect(others.map(({ name }) => name)).toEqual(["auth.keys", "console.replicas"]);
  });

  it("falls back to OpenTelemetry's variables", async () => {
    const environment = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://a:4318" };
    const first = await load({ environment });
    expect(first.config.telemetry.otlpEndpoint).toBe("http://a:4318");
    expect(first.sources.get("telemetry.otlpEndpoint")).toBe("environment");
    const own = { ...environment, PLIMSOLL_TELEMETRY_OTLP_ENDPOINT: "http://b:4318" };
    const second = await load({ environment: own });
    expect(second.config.telemetry.otlpEndpoint).toBe("http://b:4318");
  });

  it("resolves the data directory against the file that names it", async () => {
    await mkdir(join(folder, "etc"));
    const file = join(folder, "etc", "server.yaml");
    await writeFile(file, "data: { directory: state }\n");
    const named = await load({ file });
    expect(named.config.dataDirectory).toBe(join(folder, "etc", "state"));
    const flags = { "data.directory": "state" };
    expect((await load({ file, flags })).config.dataDirectory).toBe(join(folder, "state"));
  });

  it("gives a value that cannot be changed", async () => {
    const { config } = await load({ yaml: `auth: {keys: [{id: a, sha256: "${SHA}"}]}` });
    expect(Object.isFrozen(config.auth.keys[0])).toBe(true);
    expect(() => Object.assign(config.listen, { port: 1 })).toThrow(TypeError);
  });

  it("hides secrets in what it shows", async () => {
    const { config, effective } = await load({
      yaml: `auth: {keys: [{id: a, sha256: "${SHA}"}]}\ntelemetry: {otlpHeaders: {k: hush}, otlpEndpoint: "http://u:hush@c"}`,
    });
    expect(config.telemetry.otlpHeaders).toEqual({ k: "hush" });
    const shown = [...effective.values()].join("\n");
    expect(shown).not.toContain(SHA);
    expect(shown).not.toContain("hush");
  });
});

describe("loadConfig, problems", () => {
  it.each<[yaml: string, ...problems: string[]]>([
    [
      "listen:\n  prot: 1\n",
      "plimsoll.yaml:2:3 listen.prot is not a key that is known here | Did you mean `port`?",
    ],
    ["listen: {port: 70000}", "plimsoll.yaml:1:16 listen.port needs at most 65535: got 70000 | "],
    [
      "drain: {grace: 30}",
      "plimsoll.yaml:1:16 drain.grace needs a duration with a unit: got 30 | Write for example `250ms`, `30s`, `5m`, `1h` or `30d`",
    ],
    [
      "drain: {grace: 30x}",
      'plimsoll.yaml:1:16 drain.grace needs a duration with a unit: got "30x" | Write for example `250ms`, `30s`, `5m`, `1h` or `30d`',
    ],
    [
      "drain: {grace: 2h}",
      'plimsoll.yaml:1:16 drain.grace needs a duration from 0s to 1h: got "2h" | ',
    ],
    [
      "http: {bodySize: 1048576}",
      "plimsoll.yaml:1:18 http.bodySize needs a size with a unit: got 1048576 | Write for example `64KiB`, `512MiB` or `2GiB`",
    ],
    [
      "http: {bodySize: 1GiB}",
      'plimsoll.yaml:1:18 http.bodySize needs a size from 1KiB to 64MiB: got "1GiB" | ',
    ],
    [
      "http: {corsOrigins: [https://a.example/]}",
      'plimsoll.yaml:1:22 http.corsOrigins[0] needs an origin: got "https://a.example/" | Write scheme and host only, such as `https://app.example.com`',
    ],
    ...[
      "agents.internal:8080",
      "https://agents.internal",
      "*.internal",
      "agents/",
      "bücher.de",
    ].map((host): [string, string] => [
      `http: {allowedHosts: ["${host}"]}`,
      `plimsoll.yaml:1:23 http.allowedHosts[0] needs the name of a host: got "${host}" | Write the name only, such as \`agents.internal\`, without scheme, port, path or \`*\`; a name of other letters as \`xn--…\``,
    ]),
    [
      'telemetry: {otlpHeaders: {"api key": a}}',
      "plimsoll.yaml:1:27 telemetry.otlpHeaders.api key needs the name of a header: letters, digits and `-`, without blanks or a colon | Write for example `X-Api-Key`",
    ],
    [
      'telemetry: {otlpHeaders: {key: "a\\nb"}}',
      "plimsoll.yaml:1:27 telemetry.otlpHeaders.key needs a value that a header can have: one line of Latin letters and signs | Take out line breaks, also one at its end, and what is not in Latin-1",
    ],
    [
      "capacity: {shedStatus: 500}",
      "plimsoll.yaml:1:24 capacity.shedStatus needs `429` or `503`: got 500 | ",
    ],
    [
      "capacity: {admission: static, memoryLimit: 512MiB}",
      'plimsoll.yaml:1:44 capacity.memoryLimit needs at least `parentReserve` + `turnReserve` with static admission: got "512MiB" | Raise the limit or lower a reserve',
    ],
    [
      "auth: {keys: [{id: a, sha256: secret}]}",
      'plimsoll.yaml:1:31 auth.keys[0].sha256 needs a SHA-256 in 64 lower-case hex digits | Make it with `printf %s "$KEY" | sha256sum`',
    ],
    [
      `auth: {keys: [{id: a, sha256: ${SHA}}], allowAnyone: true}`,
      "plimsoll.yaml:1:112 auth.allowAnyone needs to be false while there are keys: got true | Remove the keys, or this line",
    ],
    [
      `auth: {keys: [{id: a, sha256: ${SHA}}, {id: a, sha256: ${"b".repeat(64)}}]}`,
      "plimsoll.yaml:1:14 auth.keys needs keys with different ids: got a list | ",
    ],
    [
      "listen: {host: 0.0.0.0}",
      'plimsoll.yaml:1:16 listen.host needs `auth.keys`, as other machines can reach this address: got "0.0.0.0" | Make a key by `plimsoll keys new`, or say `auth.allowAnyone: true` (--allow-anyone), or listen on 127.0.0.1',
    ],
    [
      "telemetry: {otlpEndpoint: localhost:4318}",
      "plimsoll.yaml:1:27 telemetry.otlpEndpoint needs an http or https URL | Write for example `http://localhost:4318`",
    ],
    ["listen: 3", "plimsoll.yaml:1:9 listen needs a map of keys: got 3 | "],
  ])("%s", async (yaml, ...expected) => expect(await problems({ yaml })).toEqual(expected));

  it("tells of flags, environment and file together", async () => {
    const found = await problems({
      yaml: "drain: {grace: 30}\nlisten: {prot: 1}\n",
      flags: { "listen.port": "eighty", "listen.hots": "x" },
      flagNames: { "listen.port": "--port" },
      environment: { PLIMSOLL_HTTP_HEARTBEAT: "15", PLIMSOLL_LISTEN_PROT: "1" },
    });
    expect(found).toEqual([
      "plimsoll.yaml:1:16 drain.grace needs a duration with a unit: got 30 | Write for example `250ms`, `30s`, `5m`, `1h` or `30d`",
      "plimsoll.yaml:2:10 listen.prot is not a key that is known here | Did you mean `port`?",
      '--port:1:1 listen.port needs a whole number: got "eighty" | ',
      'PLIMSOLL_HTTP_HEARTBEAT:1:1 http.heartbeat needs a duration with a unit: got "15" | Write for example `250ms`, `30s`, `5m`, `1h` or `30d`',
      "--set listen.hots:1:1  does not name a setting | Did you mean `--set listen.host`?",
      "PLIMSOLL_LISTEN_PROT:1:1  does not name a setting | Did you mean `PLIMSOLL_LISTEN_PORT`?",
    ]);
  });

  it("shows no secret of a variable", async () => {
    const environment = {
      PLIMSOLL_TELEMETRY_OTLP_ENDPOINT: "hush",
      PLIMSOLL_TELEMETRY_OTLP_HEADERS: "hush",
    };
    const found = await problems({ environment });
    expect(found).toHaveLength(2);
    expect(found.join()).not.toContain("hush");
  });

  it("does not fall back when an explicit file is missing, a folder or not text", async () => {
    expect(await problems({ file: "none.yaml" })).toEqual([
      "none.yaml:1:1  the server file does not exist | Correct the path",
    ]);
    expect(await problems({ file: "." })).toEqual([
      ".:1:1  the server file is a directory | Name a file",
    ]);
    await writeFile(join(folder, "bad.yaml"), Buffer.from([0x6c, 0xff, 0xfe]));
    expect(await problems({ file: "bad.yaml" })).toEqual([
      "bad.yaml:1:1  the server file is not UTF-8 text | Save it as UTF-8",
    ]);
  });

  it("does not pass over a server file whose name is nearly right", async () => {
    await writeFile(join(folder, "plimsoll.yml"), "listen: { port: 1 }\n");
    const told =
      "plimsoll.yml:1:1  is not read: the server file is called `plimsoll.yaml` | Rename it to `plimsoll.yaml`, or name it by --config";
    expect(await problems({})).toEqual([told]);
    expect(await problems({ flags: { "listen.prot": "1" } })).toHaveLength(2);
    const named = await load({ file: "plimsoll.yml" });
    expect(named.config.listen.port).toBe(1);
    // Whoever has both has the right one.
    expect((await load({ yaml: "listen: { port: 2 }\n" })).config.listen.port).toBe(2);
  });

  it("also holds defaults to the relations between settings", async () => {
    expect(await problems({ flags: { "listen.host": "0.0.0.0" } })).toEqual([
      '--set listen.host:1:1 listen.host needs `auth.keys`, as other machines can reach this address: got "0.0.0.0" | Make a key by `plimsoll keys new`, or say `auth.allowAnyone: true` (--allow-anyone), or listen on 127.0.0.1',
    ]);
  });

  it("ignores what Kubernetes sets for a Service of our name, and our own marks", async () => {
    const environment = {
      PLIMSOLL_SERVICE_HOST: "10.0.0.1",
      PLIMSOLL_SERVICE_PORT: "80",
      PLIMSOLL_SERVICE_PORT_HTTP: "80",
      PLIMSOLL_PORT: "tcp://10.0.0.1:80",
      PLIMSOLL_PORT_80_TCP: "tcp://10.0.0.1:80",
      PLIMSOLL_PORT_80_TCP_ADDR: "10.0.0.1",
      PLIMSOLL_TURN_ID: "x",
    };
    expect(await problems({ environment })).toEqual([]);
    expect(await problems({ environment: { PLIMSOLL_PORT: "80" } })).toHaveLength(1);
  });
});
