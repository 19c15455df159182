/**
 * The cookie of a login. Pure.
 *
 * Over TLS its name begins with `__Host-`, which no other host can set, and no page over plain HTTP.
 * The rest names the server, because a browser gives the cookies of a host to all of its ports: two
 * servers on one machine would log each other out.
 *
 * @module
 */

import type { IncomingHttpHeaders } from "node:http";

/** What a word of a login looks like. */
const WORD = /^[\w-]{43}$/;

export class LoginCookie {
  readonly #plainName: string;
  readonly #secureName: string;

  /** @param serverId UUID. */
  constructor(serverId: string) {
    this.#plainName = `plimsoll-${serverId.slice(0, 8)}`;
    this.#secureName = `__Host-${this.#plainName}`;
  }

  /** The words that a request brings: all of them, as one may have been set by somebody else. */
  wordsIn(headers: IncomingHttpHeaders): readonly string[] {
    const { cookie = "" } = headers;
    if (!cookie.includes(this.#plainName)) return [];
    const pairs = cookie.split(";").map((pair) => pair.trim());
    const valuesOf = (name: string): string[] =>
      pairs
        .filter((pair) => pair.startsWith(`${name}=`))
        .map((pair) => pair.slice(name.length + 1));
    const plain = isOverTls(headers) ? [] : valuesOf(this.#plainName);
    return [...valuesOf(this.#secureName), ...plain].filter((word) => WORD.test(word));
  }

  /** The header that sets it. */
  set(word: string, lifeMs: number, headers: IncomingHttpHeaders): string {
    return this.#header(word, Math.floor(lifeMs / 1_000), isOverTls(headers));
  }

  /** The headers that make a browser forget it. */
  forget(): string[] {
    return [this.#header("", 0, true), this.#header("", 0, false)];
  }

  #header(word: string, seconds: number, isSecure: boolean): string {
    const name = isSecure ? this.#secureName : this.#plainName;
    const end = isSecure ? "; Secure" : "";
    return `${name}=${word}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Strict${end}`;
  }
}

/**
 * Whether the browser speaks TLS to the proxy in front: as the proxy says, or the browser itself, which
 * names the origin of its page where it changes something. Whoever lies gets a cookie that his
 * browser keeps to itself.
 */
function isOverTls({ origin, ...headers }: IncomingHttpHeaders): boolean {
  const proxied = String(headers["x-forwarded-proto"] ?? "").split(",")[0] ?? "";
  return proxied.trim().toLowerCase() === "https" || origin?.startsWith("https://") === true;
}
