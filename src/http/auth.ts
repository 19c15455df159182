/**
 * Who is calling: bearer keys, stored as hashes, each bound to a tenant.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { AuthKey, Config } from "../config/config.ts";
import { AppError } from "../lib/errors.ts";
import type { Caller } from "../turn/turn.ts";

/** What a route asks of its caller. Stated on every line of the route table. */
export type Access = "public" | "caller" | "operator";

/** Whoever reaches a server without keys: it listens on loopback, or was told to trust anyone. */
const ANYONE: Caller = { id: "anonymous", tenant: "default", role: "operator", priority: "normal" };

export class Authenticator {
  /**
   * By hash. A look-up tells the caller at most how its own hash compares, from which the key
   * cannot be found; so it needs no constant time.
   */
  readonly #keys: ReadonlyMap<string, AuthKey>;

  constructor(auth: Config["auth"]) {
    this.#keys = new Map(auth.keys.map((key) => [key.sha256, key]));
  }

  get isOn(): boolean {
    return this.#keys.size > 0;
  }

  /** @throws {AppError} `unauthorized` without a known key, `forbidden` with one that may not. */
  authenticate(authorization: string | undefined, access: Exclude<Access, "public">): Caller {
    if (!this.isOn) return ANYONE;
    const token = /^bearer +(\S+)$/i.exec(authorization ?? "")?.[1];
    const key = token === undefined ? undefined : this.#keys.get(sha256(token));
    if (key === undefined) {
      const state = authorization === undefined ? "there is no key" : "the key is not known";
      throw new AppError("unauthorized", `Cannot take the request: ${state}`);
    }
    if (access === "operator" && key.role !== "operator") {
      throw new AppError("forbidden", "Cannot take the request: it needs the role operator");
    }
    const { id, tenant, role, priority } = key;
    return { id, tenant, role, priority };
  }
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
