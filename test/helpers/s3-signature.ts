/**
 * Checks the signature of a request to S3 (AWS Signature Version 4, in the `Authorization` header),
 * as its documentation describes it.
 *
 * @module
 */

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";

export interface KeyPair {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** How far the clocks may be apart, in milliseconds. */
const MAX_SKEW_MS = 15 * 60 * 1000;

const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=([^/,]+)\/(\d{8})\/([^/,]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/;

/** The code of the error that S3 answers with; null for a good signature. */
export function signatureProblem(
  request: IncomingMessage,
  body: Buffer,
  keys: KeyPair,
): string | null {
  const { headers } = request;
  const parsed = AUTHORIZATION.exec(headers.authorization ?? "");
  if (parsed === null) return "AccessDenied";
  const [, accessKeyId, day = "", region = "", signedNames = "", signature = ""] = parsed;
  if (accessKeyId !== keys.accessKeyId) return "InvalidAccessKeyId";

  const time = String(headers["x-amz-date"]);
  const skewMs = Math.abs(Date.now() - timeOf(time));
  if (!time.startsWith(day) || !(skewMs < MAX_SKEW_MS)) return "RequestTimeTooSkewed";

  const payload = String(headers["x-amz-content-sha256"]);
  if (payload !== "UNSIGNED-PAYLOAD" && payload !== sha256(body)) {
    return "XAmzContentSHA256Mismatch";
  }
  const names = signedNames.split(";");
  const mustBeSigned = Object.keys(headers).filter((name) => name.startsWith("x-amz-"));
  if (!["host", ...mustBeSigned].every((name) => names.includes(name))) return "AccessDenied";

  const scope = `${day}/${region}/s3/aws4_request`;
  const canonical = canonicalRequest(request, names, payload);
  const text = ["AWS4-HMAC-SHA256", time, scope, sha256(canonical)].join("\n");
  const key = [day, region, "s3", "aws4_request"].reduce<Buffer>(
    (derived, part) => hmac(derived, part),
    Buffer.from(`AWS4${keys.secretAccessKey}`),
  );
  const isGood = timingSafeEqual(hmac(key, text), Buffer.from(signature, "hex"));
  return isGood ? null : "SignatureDoesNotMatch";
}

function canonicalRequest(
  { method = "", url = "", headers }: IncomingMessage,
  names: readonly string[],
  payload: string,
): string {
  const [path = "", query = ""] = url.split("?");
  const parameters = query
    .split("&")
    .filter(Boolean)
    .map((parameter) => (parameter.includes("=") ? parameter : `${parameter}=`))
    .sort();
  const lines = names.map((name) => `${name}:${String(headers[name]).trim()}`);
  return [method, path, parameters.join("&"), ...lines, "", names.join(";"), payload].join("\n");
}

/** Of e.g. `20260131T235959Z`. */
function timeOf(text: string): number {
  return Date.parse(
    text.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"),
  );
}

function sha256(data: string | Buffer): string {
  return createHash("sha256").update(data).digest("hex");
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}
