/**
 * Opens the store that a URL names. Only the backend of its scheme is loaded, and only that one's
 * driver need be installed.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { z } from "zod";
import { AppError, hasCode } from "../../lib/errors.ts";
import { LAYOUT_NAME } from "./names.ts";
import type { ObjectStore, ObjectStoreOptions, PutCondition } from "./object-store.ts";
import { PIECE_BYTES } from "./pieces.ts";
import { type Backend, opening, refuse, wasFull } from "./store-calls.ts";

/** How we lay out what we keep. Objects of a higher one may be such as we cannot read. */
const LAYOUT_VERSION = 1;

const Layout = z.object({ version: z.int().min(1) });

const BACKENDS: Readonly<Record<string, () => Promise<Backend>>> = {
  "file:": async () => (await import("./file-objects.ts")).fileBackend,
  "redis:": redis,
  "rediss:": redis,
  "postgres:": postgres,
  "postgresql:": postgres,
  "s3:": async () => (await import("./s3-objects.ts")).s3Backend,
};

const DEFAULT_PORTS: Readonly<Record<string, string>> = {
  "redis:": "6379",
  "rediss:": "6379",
  "postgres:": "5432",
  "postgresql:": "5432",
};

/**
 * Connects, checks that the store can be used and heeds conditions, and writes what marks it as ours
 * if it is new.
 *
 * @throws {AppError} `store_unusable` for what a person must mend: the URL, a driver, credentials,
 *   permissions, a bucket or database that is not there, TLS, a layout that is newer than this
 *   program; `store_unavailable` for what may pass.
 */
export async function openObjectStore(options: ObjectStoreOptions): Promise<ObjectStore> {
  const { url } = options;
  const load = BACKENDS[url.protocol];
  if (load === undefined) {
    const known = Object.keys(BACKENDS).join(", ");
    const state = `its URL begins with ${url.protocol}, and must with one of ${known}`;
    throw new AppError("store_unusable", `Cannot open the session store: ${state}`);
  }
  const place = storePlaceOf(url);
  const { open, troubleOf } = await load();
  return opening(
    place,
    (error) => troubleOf(error, url),
    async () => {
      const store = await open(options, place);
      try {
        await checkLayout(store);
        await checkWrites(store);
      } catch (thrown) {
        await store[Symbol.asyncDispose]();
        throw thrown;
      }
      return store;
    },
  );
}

/** The URL of a store without user, password and parameters, e.g. `redis://host:6379/0`. */
export function storePlaceOf({ protocol, hostname, port, pathname }: URL): string {
  const defaultPort = DEFAULT_PORTS[protocol];
  const knownPort = port === "" ? defaultPort : port;
  const path = pathname === "" && protocol.startsWith("redis") ? "/0" : pathname;
  return `${protocol}//${hostname}${knownPort === undefined ? "" : `:${knownPort}`}${path}`;
}

async function redis(): Promise<Backend> {
  return (await import("./redis-objects.ts")).redisBackend;
}

async function postgres(): Promise<Backend> {
  return (await import("./postgres-objects.ts")).postgresBackend;
}

async function checkLayout(store: ObjectStore): Promise<void> {
  const own = Buffer.from(JSON.stringify({ version: LAYOUT_VERSION }));
  // Several replicas may start on a new store at once: one of them writes it.
  let found = await store.get(LAYOUT_NAME);
  if (found === null && (await store.put(LAYOUT_NAME, own, "absent")) !== null) return;
  found ??= await store.get(LAYOUT_NAME);
  const layout = Layout.safeParse(found === null ? null : parseJson(found.body));
  if (!layout.success) refuse(store.place, `its object ${LAYOUT_NAME} is none of Plimsoll's`);
  if (layout.data.version <= LAYOUT_VERSION) return;
  refuse(store.place, "it was written by a newer Plimsoll; use that version, or another store");
}

/** Not of one that is full, and known to be ours: who is to empty it has to open it. */
async function checkWrites(store: ObjectStore): Promise<void> {
  try {
    await checkConditions(store);
    await checkSize(store);
  } catch (thrown) {
    if (!wasFull(thrown)) throw thrown;
  }
}

/**
 * Writes and deletes an object, which also shows whether we may. Some services that speak as S3
 * does ignore conditions; two replicas could then take one session.
 */
async function checkConditions(store: ObjectStore): Promise<void> {
  const name = `meta/probe-${randomUUID()}`;
  const write = (text: string, condition: PutCondition): Promise<string | null> =>
    store.put(name, Buffer.from(text), condition);
  let isHeeded = false;
  try {
    const first = await write("1", "absent");
    const second = await write("2", "absent");
    const third = await write("3", { version: `"${"0".repeat(32)}"` });
    const last = first === null ? null : await write("4", { version: first });
    isHeeded = first !== null && second === null && third === null && last !== null;
  } finally {
    await store.delete([name]);
  }
  if (isHeeded) return;
  const state = "it ignores the condition of a write (S3: `If-None-Match` and `If-Match`)";
  refuse(store.place, `${state}, so that two replicas could take one session`);
}

/** A proxy before it may let small bodies pass alone: turns would fail as soon as they say more. */
async function checkSize(store: ObjectStore): Promise<void> {
  const name = `meta/probe-${randomUUID()}`;
  try {
    await store.put(name, Buffer.alloc(PIECE_BYTES), "absent");
  } catch (thrown) {
    if (!hasCode(thrown, "store_unavailable") || wasFull(thrown)) throw thrown;
    const state = "it takes small objects, and failed to take one of 4 MiB";
    throw new AppError(
      "store_unavailable",
      `Cannot open the session store at ${store.place}: ${state} (does a proxy limit bodies?)`,
    );
  } finally {
    await store.delete([name]).catch(() => {});
  }
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    return null;
  }
}
