/**
 * What we need of S3, in memory: objects with conditions, lists, deletions, and the errors of all of
 * them; it checks signatures. Faults can be switched on.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";

import { freePort, type Service } from "./service.ts";
import { type KeyPair, signatureProblem } from "./s3-signature.ts";

export const S3_KEYS: KeyPair = {
  accessKeyId: "AKIDEXAMPLE",
  secretAccessKey: "not/a+real/secret",
};

export interface S3Faults {
  /** Requests answered with 503 SlowDown, from now on. */
  slowDowns: number;
  /** Writes answered with 409 ConditionalRequestConflict. */
  conflicts: number;
  /** Requests answered with 500 InternalError, and not done. */
  internalErrors: number;
  /** Requests whose connection is cut before they are done. */
  dropped: number;
  /** Requests that are done, and whose connection is cut before the answer. */
  unanswered: number;
  ignoresConditions: boolean;
  hasVersions: boolean;
  /** Methods that the credentials are not good for. */
  denied: readonly string[];
  /** Requests are taken and not answered. */
  isFrozen: boolean;
}

/** Objects by key. As in S3 the keys are kept in the order of their bytes, not sorted for a list. */
class Bucket extends Map<string, Buffer> {
  #keys: readonly string[] | null = null;

  override set(key: string, body: Buffer): this {
    if (!this.has(key)) this.#keys = null;
    return super.set(key, body);
  }

  override delete(key: string): boolean {
    this.#keys = null;
    return super.delete(key);
  }

  keysInOrder(): readonly string[] {
    this.#keys ??= [...this.keys()].toSorted((a, b) =>
      Buffer.compare(Buffer.from(a), Buffer.from(b)),
    );
    return this.#keys;
  }
}

export interface S3Server extends Service {
  readonly endpoint: string;
  readonly faults: S3Faults;
  /** By bucket, then by key. */
  readonly buckets: ReadonlyMap<string, Bucket>;
  /** Method and path of all requests so far. */
  readonly requests: readonly string[];
}

/** @param bucketNames Buckets there are; none can be made. */
export async function startS3(bucketNames: readonly string[] = ["sessions"]): Promise<S3Server> {
  const buckets = new Map(bucketNames.map((name) => [name, new Bucket()]));
  const faults: S3Faults = {
    slowDowns: 0,
    conflicts: 0,
    internalErrors: 0,
    dropped: 0,
    unanswered: 0,
    ignoresConditions: false,
    hasVersions: false,
    denied: [],
    isFrozen: false,
  };
  const requests: string[] = [];
  let held: (() => void)[] = [];
  const port = await freePort();

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request);
    requests.push(`${request.method} ${request.url}`);
    if (faults.isFrozen) await new Promise<void>((resolve) => held.push(resolve));
    if (takeOne(faults, "dropped")) return void request.socket.destroy();
    const reply = replyTo(request, body, buckets, faults);
    if (takeOne(faults, "unanswered")) return void request.socket.destroy();
    response.writeHead(reply.status, { "x-amz-request-id": "0", ...reply.headers });
    response.end(reply.body);
  }

  function listen(): ReturnType<typeof createServer> {
    const server = createServer((request, response) => {
      // A client that goes away is none of the server's troubles.
      answer(request, response).catch(() => request.socket.destroy());
    });
    server.listen(port, "127.0.0.1");
    return server;
  }

  let server = listen();
  await once(server, "listening");
  const end = async (): Promise<void> => {
    if (!server.listening) return;
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  const freeze = (isFrozen: boolean): void => {
    faults.isFrozen = isFrozen;
    if (isFrozen) return;
    for (const goOn of held) goOn();
    held = [];
  };
  return {
    port,
    endpoint: `http://127.0.0.1:${port}`,
    faults,
    buckets,
    requests,
    stop: end,
    kill: end,
    freeze,
    async restart() {
      server = listen();
      await once(server, "listening");
    },
    async [Symbol.asyncDispose]() {
      freeze(false);
      await end();
    },
  };
}

type CountedFault = "slowDowns" | "conflicts" | "internalErrors" | "dropped" | "unanswered";

function takeOne(faults: S3Faults, fault: CountedFault): boolean {
  if (faults[fault] === 0) return false;
  faults[fault] -= 1;
  return true;
}

interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

function replyTo(
  request: IncomingMessage,
  body: Buffer,
  buckets: ReadonlyMap<string, Bucket>,
  faults: S3Faults,
): Reply {
  const { method = "" } = request;
  const problem = signatureProblem(request, body, S3_KEYS);
  if (problem !== null) return errorReply(403, problem);
  if (faults.denied.includes(method)) return errorReply(403, "AccessDenied");
  if (takeOne(faults, "slowDowns")) return errorReply(503, "SlowDown");
  if (takeOne(faults, "internalErrors")) return errorReply(500, "InternalError");

  const url = new URL(request.url ?? "", "http://s3");
  const [, bucketName = "", ...parts] = url.pathname.split("/").map(decodeURIComponent);
  const key = parts.join("/");
  const objects = buckets.get(bucketName);
  if (objects === undefined) return errorReply(404, "NoSuchBucket");
  if (key === "") return bucketReply(method, url.searchParams, body, objects, faults);
  if (method === "PUT") {
    if (takeOne(faults, "conflicts")) return errorReply(409, "ConditionalRequestConflict");
    const refusal = faults.ignoresConditions ? null : conditionProblem(request, objects.get(key));
    if (refusal !== null) return refusal;
    objects.set(key, body);
    return { status: 200, headers: { etag: etagOf(body) } };
  }
  if (method === "DELETE") {
    objects.delete(key);
    return { status: 204 };
  }
  const found = objects.get(key);
  if (method !== "GET") return errorReply(405, "MethodNotAllowed");
  if (found === undefined) return errorReply(404, "NoSuchKey");
  return { status: 200, headers: { etag: etagOf(found) }, body: found };
}

function conditionProblem({ headers }: IncomingMessage, found: Buffer | undefined): Reply | null {
  const match = headers["if-match"];
  const failed = errorReply(412, "PreconditionFailed");
  if (headers["if-none-match"] === "*" && found !== undefined) return failed;
  if (match === undefined) return null;
  if (found === undefined) return errorReply(404, "NoSuchKey");
  return match === etagOf(found) ? null : failed;
}

function bucketReply(
  method: string,
  query: URLSearchParams,
  body: Buffer,
  objects: Bucket,
  faults: S3Faults,
): Reply {
  if (method === "HEAD") return { status: 200 };
  if (method === "GET" && query.has("versioning")) {
    const status = faults.hasVersions ? "<Status>Enabled</Status>" : "";
    return xmlReply("VersioningConfiguration", status);
  }
  if (method === "POST" && query.has("delete")) return deleteReply(body, objects);
  if (method === "GET" && query.get("list-type") === "2") return listReply(query, objects);
  return errorReply(501, "NotImplemented");
}

function deleteReply(body: Buffer, objects: Bucket): Reply {
  const keys = [...body.toString().matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key = ""]) => key);
  if (keys.length === 0 || keys.length > 1_000) return errorReply(400, "MalformedXML");
  for (const key of keys) objects.delete(key);
  return xmlReply("DeleteResult", "");
}

function listReply(query: URLSearchParams, objects: Bucket): Reply {
  const limit = Math.min(1_000, Number(query.get("max-keys") ?? 1_000));
  const prefix = query.get("prefix") ?? "";
  const token = query.get("continuation-token");
  const after =
    token === null ? (query.get("start-after") ?? "") : Buffer.from(token, "hex").toString();
  const keys = objects.keysInOrder().filter((key) => key.startsWith(prefix) && key > after);
  const page = keys.slice(0, limit);
  const isCut = keys.length > limit;
  const next = `<NextContinuationToken>${Buffer.from(page.at(-1) ?? "").toString("hex")}</NextContinuationToken>`;
  const contents = page.map((key) => `<Contents><Key>${key}</Key></Contents>`).join("");
  const text = `<IsTruncated>${isCut}</IsTruncated>${isCut ? next : ""}${contents}`;
  return xmlReply("ListBucketResult", text);
}

function etagOf(body: Buffer): string {
  return `"${createHash("md5").update(body).digest("hex")}"`;
}

function errorReply(status: number, code: string): Reply {
  const text = `<Error><Code>${code}</Code><Message>The error ${code}</Message></Error>`;
  return { status, headers: { "content-type": "application/xml" }, body: XML + text };
}

function xmlReply(element: string, text: string): Reply {
  const namespace = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';
  const body = `${XML}<${element} ${namespace}>${text}</${element}>`;
  return { status: 200, headers: { "content-type": "application/xml" }, body };
}

const XML = '<?xml version="1.0" encoding="UTF-8"?>\n';
