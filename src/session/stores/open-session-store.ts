/**
 * The SDK's session store at a URL, for a program of one's own.
 *
 * @module
 */

import type { SessionStore } from "@anthropic-ai/claude-agent-sdk";
import { openObjectStore } from "./open-object-store.ts";
import { SdkSessionStore } from "./sdk-session-store.ts";

export interface OpenSessionStoreOptions {
  /** The most that one call of the store may take before it has failed; 5 s without it. */
  readonly timeoutMs?: number;
}

/**
 * Opens the store for `query({ options: { sessionStore } })` and the SDK's other functions. It may
 * be one that servers use, too: what is written here is in no session of theirs.
 *
 * @param url `file:`, `redis:`, `rediss:`, `postgres:`, `postgresql:` or `s3:`.
 * @returns Disposing closes its connections.
 * @throws {AppError} `store_unusable`, `store_unavailable`.
 */
export async function openSessionStore(
  url: string | URL,
  { timeoutMs = 5_000 }: OpenSessionStoreOptions = {},
): Promise<SessionStore & AsyncDisposable> {
  const objects = await openObjectStore({ url: new URL(url), timeoutMs });
  const dispose = async (): Promise<void> => objects[Symbol.asyncDispose]();
  return Object.assign(new SdkSessionStore(objects), { [Symbol.asyncDispose]: dispose });
}
