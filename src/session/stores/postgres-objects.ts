/**
 * Objects in one table of PostgreSQL: `postgres://user@host:5432/database?schema=plimsoll`. All
 * other parameters of the URL are the driver's, e.g. `sslmode=verify-full`.
 *
 * The store itself asks only for a way to send a statement, so that it runs on anything that speaks
 * PostgreSQL's SQL.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { monotonicMs } from "../../lib/monotonic-clock.ts";
import { settlesWithin } from "../../lib/settles-within.ts";
import { checkObjectBody, checkName, checkPage, rangeOf } from "./object-checks.ts";
import type {
  ObjectStore,
  ObjectStoreOptions,
  Page,
  PutCondition,
  StoredObject,
} from "./object-store.ts";
import {
  type Backend,
  calling,
  type DriverError,
  loadDriver,
  refuse,
  type Trouble,
  within,
} from "./store-calls.ts";

/** Connections of one replica: a server takes some hundred of all its clients together. */
const MAX_CONNECTIONS = 8;
const DELETED_AT_ONCE = 10_000;
/** A statement that crossed another one has done nothing, and is sent again after this, at most. */
const LONGEST_PAUSE_MS = 20;
const DEADLOCK = "40P01";
const SERIALIZATION_FAILURE = "40001";

/** Quoted wherever it is used; one that needs no quotes spares people from having to. */
const SCHEMA = /^(?!pg_)[a-z_][a-z0-9_]{0,62}$/;

export type Row = Readonly<Record<string, unknown>>;

/** A way to send statements, each a transaction of its own; `bytea` comes back as bytes. */
export interface SqlClient {
  query(statement: string, values?: readonly unknown[]): Promise<{ readonly rows: readonly Row[] }>;
  end(): Promise<void>;
}

export const postgresBackend: Backend = { open: openPostgresObjects, troubleOf };

async function openPostgresObjects(
  options: ObjectStoreOptions,
  place: string,
): Promise<ObjectStore> {
  const { timeoutMs } = options;
  const url = new URL(options.url);
  const schema = url.searchParams.get("schema") ?? "plimsoll";
  url.searchParams.delete("schema");
  const client = await connect(url, timeoutMs);
  try {
    return await setUpPostgresObjects({ client, place, schema, timeoutMs });
  } catch (thrown) {
    await settlesWithin(client.end(), timeoutMs);
    throw thrown;
  }
}

async function connect(url: URL, timeoutMs: number): Promise<SqlClient> {
  const { default: pg } = await loadDriver("pg", () => import("pg"));
  const pool = new pg.Pool({
    connectionString: url.href,
    application_name: "plimsoll",
    max: MAX_CONNECTIONS,
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs,
    keepAlive: true,
    // Not as a parameter of the connection: poolers such as PgBouncer refuse those they do not know.
    // The pool waits for what it returns, though its types do not say so.
    onConnect: (client): unknown => client.query(`set statement_timeout = ${Math.ceil(timeoutMs)}`),
  });
  // A connection that breaks while nobody uses it is replaced; nothing waits for it.
  pool.on("error", () => undefined);
  return {
    query: (statement, values = []) => pool.query(statement, [...values]),
    end: () => pool.end(),
  };
}

export interface PostgresObjectsOptions {
  /** The store's from now on: it ends it. */
  readonly client: SqlClient;
  readonly place: string;
  readonly schema: string;
  readonly timeoutMs: number;
}

/** Makes the table if there is none. @throws What the client throws. */
export async function setUpPostgresObjects(options: PostgresObjectsOptions): Promise<ObjectStore> {
  const { client, place, schema, timeoutMs } = options;
  if (!SCHEMA.test(schema)) {
    refuse(place, "`schema` must be a letter or `_`, then letters, digits or `_`, in lower case");
  }
  // Looked for first: a user who may use the table need not be one who may make it.
  const found = await within(
    timeoutMs,
    client.query("select to_regclass($1) is not null as found", [`"${schema}".objects`]),
  );
  if (found.rows[0]?.["found"] !== true) await within(timeoutMs, client.query(tableOf(schema)));
  const warnings = await within(timeoutMs, warningsOf(client));
  return new PostgresObjects(options, warnings);
}

/**
 * One statement, and so one transaction. Replicas that start at once make the table one after the
 * other: even `if not exists` fails when two do it at the same time.
 */
function tableOf(schema: string): string {
  return `do $$ begin
    perform pg_advisory_xact_lock(hashtext('plimsoll objects'));
    create schema if not exists "${schema}";
    create table if not exists "${schema}".objects (
      name text collate "C" primary key,
      body bytea not null,
      version bigint not null
    );
  end $$`;
}

async function warningsOf(client: SqlClient): Promise<string[]> {
  const warnings: string[] = [];
  for (const setting of ["fsync", "synchronous_commit"]) {
    const { rows } = await client.query("select current_setting($1) as value", [setting]);
    if (rows[0]?.["value"] !== "off") continue;
    const loss = "loses what it has acknowledged when its machine crashes";
    warnings.push(`PostgreSQL ${loss}, and so turns: set \`${setting} = on\``);
  }
  return warnings;
}

class PostgresObjects implements ObjectStore {
  readonly place: string;
  readonly warnings: readonly string[];
  readonly #client: SqlClient;
  readonly #table: string;
  readonly #timeoutMs: number;

  constructor(options: PostgresObjectsOptions, warnings: readonly string[]) {
    this.place = options.place;
    this.warnings = warnings;
    this.#client = options.client;
    this.#table = `"${options.schema}".objects`;
    this.#timeoutMs = options.timeoutMs;
  }

  async get(name: string): Promise<StoredObject | null> {
    checkName(name);
    const statement = `select body, version::text as version from ${this.#table} where name = $1`;
    const [row] = await this.#rows("read from the session store", statement, [name]);
    if (row === undefined) return null;
    const body = row["body"] as Uint8Array;
    return {
      body: Buffer.from(body.buffer, body.byteOffset, body.byteLength),
      version: String(row["version"]),
    };
  }

  async put(name: string, body: Uint8Array, condition: PutCondition): Promise<string | null> {
    checkName(name);
    checkObjectBody(body);
    const version = newVersion();
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    const values = [name, bytes, version];
    if (typeof condition === "object") values.push(versionIn(condition.version));
    const written = await this.#rows("write to the session store", this.#putOf(condition), values);
    return written.length === 1 ? version : null;
  }

  async delete(names: readonly string[]): Promise<void> {
    names.forEach(checkName);
    const statement = `delete from ${this.#table} where name = any($1::text[])`;
    for (let first = 0; first < names.length; first += DELETED_AT_ONCE) {
      const some = names.slice(first, first + DELETED_AT_ONCE);
      await this.#rows("delete from the session store", statement, [some]);
    }
  }

  async list(page: Page): Promise<readonly string[]> {
    checkPage(page);
    const { from, isFromIncluded, before } = rangeOf(page);
    const isWithin = `name ${isFromIncluded ? ">=" : ">"} $1 and name < $2`;
    const statement = `select name from ${this.#table} where ${isWithin} order by name limit $3`;
    const values = [from, before, page.limit];
    const rows = await this.#rows("list the session store", statement, values);
    return rows.map((row) => String(row["name"]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await settlesWithin(this.#client.end(), this.#timeoutMs);
  }

  #putOf(condition: PutCondition): string {
    if (typeof condition === "object") {
      const isThere = "name = $1 and version = $4::bigint";
      const set = "body = $2::bytea, version = $3::bigint";
      return `update ${this.#table} set ${set} where ${isThere} returning name`;
    }
    const row = "(name, body, version) values ($1, $2::bytea, $3::bigint)";
    const otherwise =
      condition === "absent"
        ? "do nothing"
        : "(name) do update set body = excluded.body, version = excluded.version";
    return `insert into ${this.#table} ${row} on conflict ${otherwise} returning name`;
  }

  async #rows(
    action: string,
    statement: string,
    values: readonly unknown[],
  ): Promise<readonly Row[]> {
    const { rows } = await this.#call(action, () => this.#untilUncrossed(statement, values));
    return rows;
  }

  /**
   * Two deletions that lock rows in different orders may block each other: one is broken off. And where
   * the database is set to isolate more than it need, so is a write that was not the first: sent again,
   * it finds what the other one has written. No number of attempts is enough for that: an insertion
   * crosses each replacement that begins after its snapshot. So it goes on while there is time.
   */
  async #untilUncrossed(statement: string, values: readonly unknown[]) {
    const deadlineMs = monotonicMs() + this.#timeoutMs - LONGEST_PAUSE_MS;
    for (;;) {
      try {
        return await this.#client.query(statement, values);
      } catch (thrown) {
        const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
        const isCrossed = code === DEADLOCK || code === SERIALIZATION_FAILURE;
        if (!isCrossed || monotonicMs() >= deadlineMs) throw thrown;
      }
      await setTimeout(Math.random() * LONGEST_PAUSE_MS);
    }
  }

  #call<T>(action: string, work: () => Promise<T>): Promise<T> {
    return calling(action, this.#timeoutMs, work);
  }
}

/** Random, as a sequence may give a number again after a failover to a standby that lagged. */
function newVersion(): string {
  return String(randomBytes(8).readBigInt64BE() & MAX_BIGINT);
}

const MAX_BIGINT = 2n ** 63n - 1n;

/** One that is none of ours is that of no object. */
function versionIn(version: string): string {
  return /^\d{1,19}$/.test(version) && BigInt(version) <= MAX_BIGINT ? version : "-1";
}

function troubleOf({ code = "", message }: DriverError): Trouble | undefined {
  const state = STATES[code] ?? DRIVER_STATES.find(([text]) => message.includes(text))?.[1];
  return state === undefined ? undefined : { code: "store_unusable", state };
}

/** By SQLSTATE. */
const STATES: Readonly<Record<string, string>> = {
  "28P01": "its user or password is wrong",
  "28000": "it does not let this user in",
  "3D000": "it has no database of this name",
  "3F000": "it has no schema of this name",
  "42501": "its user may not do what is needed; it needs to create a schema, or to use its table",
  "42P07": "its schema has another table `objects`",
  "42703": "its schema has another table `objects`",
  "25006": "it can only be read",
};

/** By what the driver says, where nobody gives it a code. */
const DRIVER_STATES: readonly (readonly [text: string, state: string])[] = [
  ["does not support SSL", "it does not speak TLS, and `sslmode` asks for it"],
  ["client password must be", "it asks for a password, and the URL has none"],
  ["no such file or directory", "a file that its URL names is not there"],
];
