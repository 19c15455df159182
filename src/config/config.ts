/**
 * The settings of a server as the rest of it sees them: frozen, units in the names, paths
 * absolute. `config/schema.ts` says what the user may write, with every default.
 *
 * @module
 */

export interface Config {
  readonly listen: {
    readonly host: string;
    /** 0 lets the system choose. */
    readonly port: number;
  };
  readonly http: {
    readonly bodyLimitBytes: number;
    /** The most that all bodies may have that are being received. */
    readonly bodiesLimitBytes: number;
    /** For the whole request to arrive, headers and body. */
    readonly requestTimeoutMs: number;
    /** Silence on an event stream before a comment is sent to keep it open. */
    readonly heartbeatMs: number;
    readonly maxConnections: number;
    readonly maxStreamsPerCaller: number;
    /** Silence of a reader for whom bytes are waiting before its connection is cut. */
    readonly unreadTimeoutMs: number;
    /** Origins a browser may call from; none by default. */
    readonly corsOrigins: readonly string[];
    /** Names accepted in the Host header besides loopback, while authentication is off. */
    readonly allowedHosts: readonly string[];
  };
  /** What is held of the events of turns. */
  readonly journal: {
    /** Bytes of one turn's events. */
    readonly turnBytes: number;
    /** Bytes of the events of all turns. */
    readonly totalBytes: number;
    /** How long those of a turn are held after its end. */
    readonly keepMs: number;
    /** Most readers of one turn at a time. */
    readonly maxReaders: number;
  };
  readonly auth: {
    /** None: anyone who can reach the port may use the server. */
    readonly keys: readonly AuthKey[];
  };
  readonly capacity: {
    /** Instead of what the system says; null to read it. */
    readonly memoryLimitBytes: number | null;
    /** Whether turns are weighed by what is measured, or by the two reserves alone. */
    readonly admission: "measured" | "static";
    /** Set aside for the server itself, with static admission. */
    readonly parentReserveBytes: number;
    /** Set aside for a turn of which nothing is known. */
    readonly turnReserveBytes: number;
    /** Kept free below the limit; null to measure what is needed. */
    readonly safetyReserveBytes: number | null;
    /** Only for turns of callers with high priority. */
    readonly priorityReserveBytes: number;
    /** Whether who holds more than an equal share gives way to those who were shed. */
    readonly fairShare: boolean;
    /** Processes that start at the same time; null for one for each CPU. */
    readonly startsAtOnce: number | null;
    /** Longest wait of an admitted turn for the start of its process. */
    readonly startWaitMs: number;
    /** Whether the server ends what balloons before the kernel does. */
    readonly guard: boolean;
    /** A ceiling on turns at once, never a way past the load line; null for none. */
    readonly maxTurns: number | null;
    /** Most agent processes that stay between turns. */
    readonly maxResidents: number;
    /** How long a process that was started ahead for a session waits for its turn. */
    readonly warmTimeMs: number;
    /** Longest wait that a caller is told. */
    readonly maxRetryAfterMs: number;
    /** HTTP status of a refusal for load. */
    readonly shedStatus: 429 | 503;
    /** Whether a full replica answers /readyz with 503. */
    readonly unreadyWhenFull: boolean;
  };
  readonly agentProcess: {
    /** From the spawn to the first message of the agent process. */
    readonly startTimeoutMs: number;
    /** Time given to each polite step of ending a process before the next, harder one. */
    readonly endGraceMs: number;
    /** Last part of a process's stderr that is kept for the log. */
    readonly stderrTailBytes: number;
    /** How often the memory of the process trees is sampled. */
    readonly sampleIntervalMs: number;
    /** Whether each process gets a control group of its own where the system allows it. */
    readonly ownGroup: boolean;
  };
  readonly sessions: {
    readonly maxPerTenant: number;
    /** Where replicas share them; null where they are in the data directory of this one. */
    readonly store: URL | null;
    /** Origin at which the others reach this one; null where they do not. */
    readonly replicaAddress: string | null;
    readonly storeTimeoutMs: number;
    readonly leaseTimeMs: number;
    readonly outboxBytes: number;
    /** What copies of those in a store may take of the data directory. */
    readonly copiesBytes: number;
    /** Sessions whose messages are read at once. */
    readonly maxReadsAtOnce: number;
    /** Longest wait for such a read to begin. */
    readonly readWaitMs: number;
  };
  /** When sessions are deleted by themselves; null for no limit. */
  readonly retention: {
    readonly maxIdleMs: number | null;
    readonly maxAgeMs: number | null;
    readonly sessionsPerTenant: number | null;
    readonly bytesPerTenant: number | null;
    readonly maxBytes: number | null;
    readonly keepFreeBytes: number | null;
    readonly sweepIntervalMs: number;
  };
  /** Absolute path. */
  readonly dataDirectory: string;
  readonly drain: {
    /** Time running turns have to end after SIGTERM. */
    readonly graceMs: number;
  };
  /** The page that shows the replica. */
  readonly console: {
    readonly isEnabled: boolean;
    /** What this replica is called; null for its host name. */
    readonly replicaName: string | null;
    /** Whether it offers to send many turns at once. */
    readonly mayTryLoad: boolean;
    /** From a login to its end. */
    readonly sessionTimeMs: number;
    /** Other replicas, asked by this server. */
    readonly replicas: readonly OtherReplica[];
  };
  readonly telemetry: {
    readonly logLevel: "trace" | "debug" | "info" | "warn" | "error" | "silent";
    /** Base URL of an OTLP/HTTP collector; null to export nothing. */
    readonly otlpEndpoint: string | null;
    /** Headers of the OTLP export: secret. */
    readonly otlpHeaders: Readonly<Record<string, string>>;
    /** Whether /metrics needs no key. */
    readonly publicMetrics: boolean;
  };
  /** The part of the server's environment that agent processes get: an allow-list. Secret. */
  readonly agentEnvironment: Readonly<Record<string, string>>;
}

export interface AuthKey {
  readonly id: string;
  readonly tenant: string;
  readonly role: "caller" | "operator";
  readonly priority: "normal" | "high";
  /** SHA-256 of the key in lower-case hex. */
  readonly sha256: string;
}

/** Another replica whose feed the console shows. */
export interface OtherReplica {
  /** Unique. */
  readonly name: string;
  /** Ends in a slash: addresses are below it. */
  readonly url: string;
  /** Secret; null where it has no keys. */
  readonly key: string | null;
}
