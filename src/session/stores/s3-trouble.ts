/**
 * What the errors of S3 and its SDK mean to whoever set up the store.
 *
 * @module
 */

import type { DriverError, Trouble } from "./store-calls.ts";

/** Undefined for what may pass. */
export function s3TroubleOf({ name, message, code = "" }: DriverError): Trouble | undefined {
  const state = STATES[name] ?? STATES[code] ?? TEXTS.find(([text]) => text.test(message))?.[1];
  return state === undefined ? undefined : { code: "store_unusable", state };
}

const CREDENTIALS = "the credentials in the environment are wrong";
const PERMISSION =
  "the credentials may not do what is needed; it needs s3:GetObject, s3:PutObject, " +
  "s3:DeleteObject and s3:ListBucket";
const REGION = "the bucket is in another region than `region` says";

const STATES: Readonly<Record<string, string>> = {
  NoSuchBucket: "there is no bucket of this name",
  InvalidBucketName: "there is no bucket of this name",
  InvalidAccessKeyId: CREDENTIALS,
  SignatureDoesNotMatch: CREDENTIALS,
  InvalidToken: CREDENTIALS,
  ExpiredToken: "the credentials in the environment have expired",
  CredentialsProviderError: "there are no credentials in the environment, AWS_ACCESS_KEY_ID",
  AccessDenied: PERMISSION,
  Forbidden: PERMISSION,
  PermanentRedirect: REGION,
  AuthorizationHeaderMalformed: REGION,
  IllegalLocationConstraintException: REGION,
  RequestTimeTooSkewed: "the clock of this machine is wrong",
  NotImplemented: "it lacks what is needed, such as conditions on writes",
};

const TEXTS: readonly (readonly [text: RegExp, state: string])[] = [
  [/^Region is missing/, "its URL has no `region`, nor has the environment"],
];
