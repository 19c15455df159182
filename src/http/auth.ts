/**
 * Who is calling: bearer keys, stored as hashes, each bound to a tenant; or the cookie of a login
 * that stands for one, sent by the console itself.
 *
 * @module
 */

import type { IncomingHttpHeaders } from "node:http";
import type { AuthKey, Config } from "../config/config.ts";
import { AppError } from "../lib/errors.ts";
import { sha256 } from "../lib/sha256.ts";
import type { Caller } from "../turn/turn.ts";
import type { LoginCookie } from "./console/login-cookie.ts";
import type { Login, Logins } from "./console/logins.ts";
import { isOwnPage } from "./cross-origin.ts";

/** What a route asks of its caller. Stated on every line of the route table. */
export type Access = "public" | "caller" | "operator";

/** Whoever reaches a server without keys: it listens on loopback, or was told to trust anyone. */
const ANYONE: Caller = { id: "anonymous", tenant: "default", role: "operator", priority: "normal" };

/** Who has sent a request, and how they have shown it. */
export interface Authenticated {
  readonly caller: Caller;
  /** The login whose cookie the request brings in place of a key; null for one with a key, or where none is asked for. */
  readonly login: Login | null;
}

/** Logins of the console, and the cookie that they are known by. */
export interface LoginDoor {
  readonly logins: Logins;
  readonly cookie: LoginCookie;
}

/** The part of a request that tells who has sent it. */
export interface AskedWith {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
}

export class Authenticator {
  /**
   * By hash. A look-up tells the caller at most how its own hash compares, from which the key
   * cannot be found; so it needs no constant time.
   */
  readonly #keys: ReadonlyMap<string, AuthKey>;
  readonly #door: LoginDoor | null;

  /** @param door Null where nobody can log in. */
  constructor(auth: Config["auth"], door: LoginDoor | null) {
    this.#keys = new Map(auth.keys.map((key) => [key.sha256, key]));
    this.#door = door;
  }

  get isOn(): boolean {
    return this.#keys.size > 0;
  }

  /** @throws {AppError} `unauthorized` without a known key, `forbidden` with one that may not. */
  authenticate(request: AskedWith, access: Exclude<Access, "public">): Authenticated {
    if (!this.isOn) return { caller: ANYONE, login: null };
    const { authorization } = request.headers;
    const login = authorization === undefined ? this.#loginOf(request) : null;
    const key = login?.key ?? this.keyOf(/^bearer +(\S+)$/i.exec(authorization ?? "")?.[1]);
    if (key === undefined) {
      const state = authorization === undefined ? "there is no key" : "the key is not known";
      throw new AppError("unauthorized", `Cannot take the request: ${state}`);
    }
    if (access === "operator" && key.role !== "operator") {
      throw new AppError("forbidden", "Cannot take the request: it needs the role operator");
    }
    return { caller: callerOf(key), login };
  }

  /**
   * Who has logged in, and anyone where there are no keys; null for nobody. A key of a header does not
   * count: whether one is known would be told to who tries them, without a refusal.
   */
  visitor(request: AskedWith): Caller | null {
    if (!this.isOn) return ANYONE;
    const key = this.#loginOf(request)?.key;
    return key?.role === "operator" ? callerOf(key) : null;
  }

  keyOf(token: string | undefined): AuthKey | undefined {
    return token === undefined ? undefined : this.#keys.get(sha256(token));
  }

  /** A browser sends cookies by itself, whoever asks it to; a key it never does. */
  #loginOf(request: AskedWith): Login | null {
    const words = this.#door?.cookie.wordsIn(request.headers) ?? [];
    if (words.length === 0 || !isOwnPage(request)) return null;
    const found = words.map((word) => this.#door?.logins.find(word, Date.now()));
    return found.find((login) => login !== undefined) ?? null;
  }
}

function callerOf({ id, tenant, role, priority }: AuthKey): Caller {
  return { id, tenant, role, priority };
}
