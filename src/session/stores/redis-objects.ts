/**
 * Objects in Redis, or what speaks as Redis does: `redis://host:6379/0?prefix=plimsoll`.
 *
 *     {plimsoll}:o:<name>    hash: body, version
 *     {plimsoll}:names       sorted set of all names, for pages of them
 *
 * One script writes both, so that no crash leaves one without the other. The braces put all keys of
 * a store into one slot, as scripts need it in a Cluster; a store is then as large as one node.
 *
 * What Redis has acknowledged it may still lose: within a second of a crash of its machine
 * (`appendfsync everysec`), and what a replica had not got yet when it is made the primary.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import type { Redis, Result } from "ioredis";
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
  wasLate,
  loadDriver,
  parametersOf,
  refuse,
  type Trouble,
  within,
} from "./store-calls.ts";

declare module "ioredis" {
  interface RedisCommander<Context> {
    plimsollPut(
      objectKey: string,
      namesKey: string,
      ...rest: readonly (string | Buffer)[]
    ): Result<number, Context>;
    plimsollDelete(namesKey: string, objects: string, ...names: string[]): Result<number, Context>;
  }
}

/**
 * Arguments: name, condition, version it must have, new version, body. A Redis that is full refuses what
 * may need memory, but not in a script that has changed something: what is no larger than what it replaces
 * is written all the same, as is a deletion of a session.
 */
const PUT = `
local found = redis.call('HGET', KEYS[1], 'version')
if ARGV[2] == 'absent' and found then return 0 end
if ARGV[2] == 'version' and found ~= ARGV[3] then return 0 end
if found and redis.call('HSTRLEN', KEYS[1], 'body') >= #ARGV[5] then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 'body', ARGV[5], 'version', ARGV[4])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return 1`;

/** Keys: that of the names, then of the objects; arguments: the names, in the same order. */
const DELETE = `
for place, name in ipairs(ARGV) do
  redis.call('DEL', KEYS[place + 1])
  redis.call('ZREM', KEYS[1], name)
end
return #ARGV`;

/** Names deleted in one step: Redis does nothing else meanwhile, and Lua unpacks no more than 8000. */
const DELETED_AT_ONCE = 500;

const PREFIX = /^[A-Za-z0-9._-]{1,64}$/;

export const redisBackend: Backend = { open: openRedisObjects, troubleOf };

async function openRedisObjects(options: ObjectStoreOptions, place: string): Promise<ObjectStore> {
  const { url, timeoutMs } = options;
  const prefix = parametersOf(url, ["prefix"], place).get("prefix") ?? "plimsoll";
  if (!PREFIX.test(prefix)) refuse(place, "`prefix` must be letters, digits, `.`, `_` or `-`");
  const client = await connect(options, place);
  try {
    const warnings = await within(timeoutMs, warningsOf(client));
    return new RedisObjects({ client, place, prefix, timeoutMs, warnings });
  } catch (thrown) {
    client.disconnect();
    throw thrown;
  }
}

/** @throws What the driver says of the first connection; later ones are tried without end. */
async function connect({ url, timeoutMs }: ObjectStoreOptions, place: string): Promise<Redis> {
  const database = /^\/?(\d{0,5})$/.exec(url.pathname)?.[1];
  if (database === undefined) refuse(place, "the path of its URL must be a number, as in `/0`");
  const ioredis = await loadDriver("ioredis", () => import("ioredis"));
  let isOpen = false;
  const client = new ioredis.Redis({
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: Number(url.port === "" ? 6379 : url.port),
    db: Number(database),
    ...(url.username !== "" && { username: decodeURIComponent(url.username) }),
    ...(url.password !== "" && { password: decodeURIComponent(url.password) }),
    ...(url.protocol === "rediss:" && { tls: {} }),
    lazyConnect: true,
    connectTimeout: timeoutMs,
    commandTimeout: timeoutMs,
    // A connection that a firewall has forgotten says nothing: the next command finds it out.
    socketTimeout: timeoutMs,
    // A write whose answer was lost must not be sent again: the second would find the first, and
    // its caller would be told that nothing was written.
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    retryStrategy: (times) => (isOpen ? Math.min(50 * times, LONGEST_RETRY_MS) : null),
    // After a failover the connection may still be to the old primary.
    reconnectOnError: ({ message }) => message.startsWith("READONLY"),
  });
  let problem: Error | undefined;
  // Also what keeps an outage from being an unhandled `error`: its calls tell of it.
  client.on("error", (error: Error) => (problem = error));
  try {
    await within(timeoutMs, client.connect());
    if (problem !== undefined) throw problem;
  } catch (thrown) {
    client.disconnect();
    throw problem ?? thrown;
  }
  isOpen = true;
  return client;
}

const LONGEST_RETRY_MS = 1_000;

/** None where the server does not let us ask: those who run it for others see to it. */
async function warningsOf(client: Redis): Promise<string[]> {
  const memory = await client.info("memory").catch(() => "");
  const persistence = await client.info("persistence").catch(() => "");
  const save = await client.config("GET", "save").catch(() => null);
  const policy = /^maxmemory_policy:(\S+)/m.exec(memory)?.[1] ?? "noeviction";
  const isAppending = !/^aof_enabled:0/m.test(persistence);
  const isSaving = !(Array.isArray(save) && save[1] === "");
  const warnings: string[] = [];
  if (policy !== "noeviction") {
    const remedy = "set `maxmemory-policy noeviction`";
    warnings.push(
      `Redis drops keys when its memory is full (${policy}), and so sessions: ${remedy}`,
    );
  }
  if (!isAppending && !isSaving) {
    const remedy = "set `appendonly yes`";
    warnings.push(`Redis keeps nothing on disk, and loses all sessions when it ends: ${remedy}`);
  }
  return warnings;
}

interface RedisObjectsOptions {
  readonly client: Redis;
  readonly place: string;
  readonly prefix: string;
  readonly timeoutMs: number;
  readonly warnings: readonly string[];
}

class RedisObjects implements ObjectStore {
  readonly place: string;
  readonly warnings: readonly string[];
  readonly #client: Redis;
  readonly #prefix: string;
  readonly #timeoutMs: number;

  constructor({ client, place, prefix, timeoutMs, warnings }: RedisObjectsOptions) {
    this.place = place;
    this.warnings = warnings;
    this.#client = client;
    this.#prefix = prefix;
    this.#timeoutMs = timeoutMs;
    client.defineCommand("plimsollPut", { numberOfKeys: 2, lua: PUT });
    client.defineCommand("plimsollDelete", { lua: DELETE });
  }

  async get(name: string): Promise<StoredObject | null> {
    checkName(name);
    return this.#call("read from the session store", async () => {
      const key = this.#keyOf(name);
      const [body, version] = await this.#client.hmgetBuffer(key, "body", "version");
      if (body === null || body === undefined) return null;
      return { body, version: String(version) };
    });
  }

  async put(name: string, body: Uint8Array, condition: PutCondition): Promise<string | null> {
    checkName(name);
    checkObjectBody(body);
    const version = randomUUID();
    const [kind, expected] =
      typeof condition === "string" ? [condition, ""] : ["version", condition.version];
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    return this.#call("write to the session store", async () => {
      const [object, names] = [this.#keyOf(name), this.#namesKey];
      const rest = [name, kind, expected, version, bytes];
      const written = await this.#client.plimsollPut(object, names, ...rest);
      return written === 1 ? version : null;
    });
  }

  async delete(names: readonly string[]): Promise<void> {
    names.forEach(checkName);
    for (let first = 0; first < names.length; first += DELETED_AT_ONCE) {
      const some = names.slice(first, first + DELETED_AT_ONCE);
      const keys = [this.#namesKey, ...some.map((name) => this.#keyOf(name))];
      await this.#call("delete from the session store", () =>
        this.#client.plimsollDelete(String(keys.length), ...(keys as [string]), ...some),
      );
    }
  }

  async list(page: Page): Promise<readonly string[]> {
    checkPage(page);
    const { from, isFromIncluded, before } = rangeOf(page);
    const low = `${isFromIncluded ? "[" : "("}${from}`;
    return this.#call("list the session store", () =>
      this.#client.zrangebylex(this.#namesKey, low, `(${before}`, "LIMIT", 0, page.limit),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.disconnect();
  }

  get #namesKey(): string {
    return `{${this.#prefix}}:names`;
  }

  #keyOf(name: string): string {
    return `{${this.#prefix}}:o:${name}`;
  }

  #call<T>(action: string, work: () => Promise<T>): Promise<T> {
    return calling(action, this.#timeoutMs, async () => {
      if (this.#client.status !== "ready") await this.#reconnected();
      return work();
    });
  }

  /** Ends with the attempt to connect that is under way, or the next one: no call waits for more. */
  #reconnected(): Promise<void> {
    const client = this.#client;
    return new Promise((resolve, reject) => {
      const forget = (): void => {
        clearTimeout(timer);
        client.off("ready", isReady).off("error", hasFailed).off("end", hasEnded);
      };
      const isReady = (): void => {
        forget();
        resolve();
      };
      const hasFailed = (error: Error): void => {
        forget();
        reject(error);
      };
      const hasEnded = (): void => hasFailed(new Error("The store is closed"));
      const timer = setTimeout(forget, this.#timeoutMs);
      if (client.status === "end") return hasEnded();
      client.on("ready", isReady).on("error", hasFailed).on("end", hasEnded);
    });
  }
}

function troubleOf(error: DriverError, { protocol }: URL): Trouble | undefined {
  const { code, message } = error;
  // A server that awaits commands waits for the end of one when it is greeted by TLS.
  if (protocol === "rediss:" && wasLate(error)) {
    const late =
      "it does not answer in time over TLS, which `rediss:` asks for; it may not speak it";
    return { code: "store_unavailable", state: late };
  }
  // And one that awaits TLS breaks off when it is sent a command; but so does many a proxy.
  if (protocol === "redis:" && code === "ECONNRESET") {
    const broken = "the connection broke off; it may speak TLS alone, which `rediss:` asks for";
    return { code: "store_unavailable", state: broken };
  }
  const state = [
    [/^(?:WRONGPASS|NOAUTH|ERR invalid password|ERR AUTH)/, "its user or password is wrong"],
    [/^NOPERM/, "its user may not do what is needed; it needs the keys `{prefix}:*` and scripts"],
    [
      /^ERR (?:DB index|invalid DB)|^ERR SELECT is not allowed/,
      "it has no database of this number",
    ],
    [/^(?:MOVED|CLUSTERDOWN|CROSSSLOT)/, "it is a Cluster, and this is not the node with the keys"],
    [/^(?:ERR unknown command)/, "it lacks commands that are needed; Redis 6 or newer has them"],
  ] as const;
  const found = state.find(([pattern]) => pattern.test(message));
  return found && { code: "store_unusable", state: found[1] };
}
