/**
 * Objects in a bucket of S3, or of what speaks as S3 does:
 * `s3://bucket/prefix?region=eu-central-1&endpoint=http%3A%2F%2Fhost%3A9000&pathStyle=true`.
 * Credentials come from where the SDK looks for them: the environment, files, the machine's role.
 *
 * The version of an object is its ETag. Conditions are headers that some services do not know and
 * ignore; whoever opens a store finds that out.
 * Directory buckets (S3 Express) list in no order, and cannot be used.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import type * as sdkTypes from "@aws-sdk/client-s3";
import { checkObjectBody, checkName, checkPage } from "./object-checks.ts";
import type {
  ObjectStore,
  ObjectStoreOptions,
  Page,
  PutCondition,
  StoredObject,
} from "./object-store.ts";
import { s3TroubleOf } from "./s3-trouble.ts";
import { type Backend, calling, loadDriver, parametersOf, refuse, within } from "./store-calls.ts";

type Sdk = typeof sdkTypes;

/** The most of one request, for both. */
const LISTED_AT_ONCE = 1_000;
const DELETED_AT_ONCE = 1_000;
/** The most attempts of one call, the first included. */
const MOST_ATTEMPTS = 4;
/** Before the second attempt; twice as long before each further one. In milliseconds. */
const FIRST_DELAY_MS = 50;
const MAX_SOCKETS = 64;
const ETAG = /^[\x21-\x7e]+$/;
/** With a name of an object it must not be longer than a key may be, 1024. */
const MAX_PREFIX_LENGTH = 400;

export const s3Backend: Backend = { open: openS3Objects, troubleOf: s3TroubleOf };

async function openS3Objects(options: ObjectStoreOptions, place: string): Promise<ObjectStore> {
  const { url, timeoutMs } = options;
  if (url.username !== "" || url.password !== "") {
    refuse(place, "its URL has credentials; they belong into the environment, AWS_ACCESS_KEY_ID");
  }
  const parameters = parametersOf(url, ["region", "endpoint", "pathStyle"], place);
  const sdk = await loadDriver("@aws-sdk/client-s3", () => import("@aws-sdk/client-s3"));
  const region = parameters.get("region");
  const client = new sdk.S3Client({
    ...(region !== undefined && { region }),
    ...endpointOf(parameters, place),
    // We send again ourselves: the SDK would also repeat a write whose answer was lost, find what
    // the first one wrote, and tell that nothing was written.
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: timeoutMs,
      requestTimeout: timeoutMs,
      throwOnRequestTimeout: true,
      httpsAgent: { maxSockets: MAX_SOCKETS },
      httpAgent: { maxSockets: MAX_SOCKETS },
    },
    // Not all services know the newer checksums; the signature covers the body anyhow.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  });
  try {
    const prefix = url.pathname.replaceAll(/^\/+|\/+$/g, "");
    if (prefix !== "") checkPrefix(prefix, place);
    const objects = { sdk, client, place, bucket: url.hostname, timeoutMs };
    const base = prefix === "" ? "" : `${prefix}/`;
    const warnings = await warningsOf(sdk, client, url.hostname, timeoutMs);
    return new S3Objects({ ...objects, base, warnings });
  } catch (thrown) {
    client.destroy();
    throw thrown;
  }
}

function checkPrefix(prefix: string, place: string): void {
  try {
    checkName(prefix);
    if (prefix.length > MAX_PREFIX_LENGTH) throw new Error("The prefix is too long");
  } catch {
    const state = `at most ${MAX_PREFIX_LENGTH} letters, digits, \`.\`, \`_\` or \`-\``;
    refuse(place, `its path must be ${state}, in parts with \`/\` between`);
  }
}

function endpointOf(
  parameters: ReadonlyMap<string, string>,
  place: string,
): { endpoint?: string; forcePathStyle?: boolean } {
  const endpoint = parameters.get("endpoint");
  const pathStyle = parameters.get("pathStyle") ?? "false";
  if (pathStyle !== "true" && pathStyle !== "false") refuse(place, "`pathStyle` is true or false");
  if (endpoint !== undefined) {
    const parsed = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
    const isHttp = parsed?.protocol === "http:" || parsed?.protocol === "https:";
    if (!isHttp || parsed.username !== "" || parsed.password !== "") {
      refuse(place, "`endpoint` must be a URL of http or https, without credentials");
    }
  }
  return { ...(endpoint !== undefined && { endpoint }), forcePathStyle: pathStyle === "true" };
}

/** None where we may not ask. */
async function warningsOf(
  sdk: Sdk,
  client: sdkTypes.S3Client,
  bucket: string,
  timeoutMs: number,
): Promise<string[]> {
  const asked = client.send(new sdk.GetBucketVersioningCommand({ Bucket: bucket }));
  const versioning = await within(timeoutMs, asked).catch(() => undefined);
  if (versioning?.Status !== "Enabled") return [];
  const remedy = "a lifecycle rule on noncurrent versions removes them";
  return [`S3 keeps what is deleted or replaced, as versions are enabled: ${remedy}`];
}

interface S3ObjectsOptions {
  readonly sdk: Sdk;
  readonly client: sdkTypes.S3Client;
  readonly place: string;
  readonly bucket: string;
  /** What all keys begin with: empty, or ends with `/`. */
  readonly base: string;
  readonly timeoutMs: number;
  readonly warnings: readonly string[];
}

class S3Objects implements ObjectStore {
  readonly place: string;
  readonly warnings: readonly string[];
  readonly #options: S3ObjectsOptions;

  constructor(options: S3ObjectsOptions) {
    this.place = options.place;
    this.warnings = options.warnings;
    this.#options = options;
  }

  async get(name: string): Promise<StoredObject | null> {
    checkName(name);
    const { sdk, client } = this.#options;
    return this.#call("read from the session store", isPassing, async (abortSignal) => {
      try {
        const command = new sdk.GetObjectCommand(this.#at(name));
        const { Body, ETag } = await client.send(command, { abortSignal });
        const bytes = (await Body?.transformToByteArray()) ?? new Uint8Array();
        const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        return { body, version: etagOf(ETag) };
      } catch (thrown) {
        if (nameOf(thrown) === "NoSuchKey") return null;
        throw thrown;
      }
    });
  }

  async put(name: string, body: Uint8Array, condition: PutCondition): Promise<string | null> {
    checkName(name);
    checkObjectBody(body);
    // Some services ignore a condition that is empty.
    if (typeof condition === "object" && !ETAG.test(condition.version)) return null;
    const { sdk, client } = this.#options;
    const isRepeatable = condition === "any" ? isPassing : isRefusal;
    return this.#call("write to the session store", isRepeatable, async (abortSignal) => {
      try {
        const headers = headersOf(condition);
        const command = new sdk.PutObjectCommand({ ...this.#at(name), ...headers, Body: body });
        return etagOf((await client.send(command, { abortSignal })).ETag);
      } catch (thrown) {
        if (statusOf(thrown) === 412) return null;
        // What should be replaced is not there.
        if (nameOf(thrown) === "NoSuchKey" && typeof condition === "object") return null;
        throw thrown;
      }
    });
  }

  async delete(names: readonly string[]): Promise<void> {
    names.forEach(checkName);
    const { sdk, client, bucket } = this.#options;
    for (let first = 0; first < names.length; first += DELETED_AT_ONCE) {
      const some = names.slice(first, first + DELETED_AT_ONCE);
      const Objects = some.map((name) => ({ Key: this.#at(name).Key }));
      const command = new sdk.DeleteObjectsCommand({
        Bucket: bucket,
        Delete: { Objects, Quiet: true },
      });
      await this.#call("delete from the session store", isPassing, async (abortSignal) => {
        const { Errors = [] } = await client.send(command, { abortSignal });
        const [error] = Errors;
        if (error === undefined) return;
        throw Object.assign(new Error(error.Message), { name: error.Code });
      });
    }
  }

  async list(page: Page): Promise<readonly string[]> {
    checkPage(page);
    const { base } = this.#options;
    const names: string[] = [];
    let token: string | undefined;
    do {
      const { Contents, NextContinuationToken } = await this.#listSome(page, names.length, token);
      for (const { Key = "" } of Contents ?? []) names.push(Key.slice(base.length));
      token = NextContinuationToken;
    } while (token !== undefined && names.length < page.limit);
    return names;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#options.client.destroy();
  }

  #listSome(page: Page, listed: number, token: string | undefined) {
    const { sdk, client, bucket, base } = this.#options;
    const command = new sdk.ListObjectsV2Command({
      Bucket: bucket,
      Prefix: base + page.prefix,
      MaxKeys: Math.min(LISTED_AT_ONCE, page.limit - listed),
      ...(page.after !== undefined && token === undefined && { StartAfter: base + page.after }),
      ...(token !== undefined && { ContinuationToken: token }),
    });
    return this.#call("list the session store", isPassing, (abortSignal) =>
      client.send(command, { abortSignal }),
    );
  }

  #at(name: string): { readonly Bucket: string; readonly Key: string } {
    const { bucket, base } = this.#options;
    return { Bucket: bucket, Key: base + name };
  }

  /** @param isRepeatable Whether what failed may be sent again. */
  #call<T>(
    action: string,
    isRepeatable: (thrown: unknown) => boolean,
    send: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { timeoutMs } = this.#options;
    return calling(action, timeoutMs, async () => {
      const signal = AbortSignal.timeout(timeoutMs);
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await send(signal);
        } catch (thrown) {
          if (attempt === MOST_ATTEMPTS || signal.aborted || !isRepeatable(thrown)) throw thrown;
        }
        await delay(FIRST_DELAY_MS * 2 ** (attempt - 1) * (0.5 + Math.random()));
      }
    });
  }
}

function headersOf(condition: PutCondition): { IfNoneMatch?: string; IfMatch?: string } {
  if (condition === "any") return {};
  return condition === "absent" ? { IfNoneMatch: "*" } : { IfMatch: condition.version };
}

function etagOf(etag: string | undefined): string {
  if (etag !== undefined && ETAG.test(etag)) return etag;
  throw new Error("The service gave no ETag");
}

/** The service says that it has done nothing, and that it would another time. */
function isRefusal(thrown: unknown): boolean {
  const status = statusOf(thrown);
  return status === 503 || status === 429 || nameOf(thrown) === "ConditionalRequestConflict";
}

/** Also what says nothing of whether it was done: for calls that may be done twice. */
function isPassing(thrown: unknown): boolean {
  const status = statusOf(thrown);
  return status === undefined || status >= 500 || isRefusal(thrown);
}

function nameOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.name : "";
}

function statusOf(thrown: unknown): number | undefined {
  const metadata = (thrown as { $metadata?: { httpStatusCode?: number } }).$metadata;
  return metadata?.httpStatusCode;
}
