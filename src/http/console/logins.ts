/**
 * Logins of the console: random words in cookies, each of which stands for a key until it ends.
 *
 * Kept as hashes, of the word and of the key, so that whoever reads the file can make no cookie of
 * it, as he could of a secret that signs them: an agent with a shell can read what the server can.
 * And a login that was ended is over wherever its cookie was copied to, which no signature says.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import { z } from "zod";
import type { AuthKey } from "../../config/config.ts";
import { sha256 } from "../../lib/sha256.ts";

/** Beyond it the oldest ends. */
const MAX_LOGINS = 1_000;
const WORD_BYTES = 32;

const fileSchema = z.object({
  logins: z
    .array(z.object({ wordHash: z.string(), keyHash: z.string(), endsAtMs: z.int() }))
    .max(MAX_LOGINS),
});

export interface LoginsOptions {
  readonly keys: readonly AuthKey[];
  /** From a login to its end. */
  readonly sessionTimeMs: number;
  /** Keeps the text for the next start; called one at a time. */
  readonly save: (text: string) => Promise<void>;
}

/** One that counts now. */
export interface Login {
  readonly key: AuthKey;
  /** Cuts the response off when the login ends: a stream would go on for whoever has left. */
  readonly hold: (response: ServerResponse) => void;
}

interface KeptLogin {
  readonly wordHash: string;
  readonly keyHash: string;
  readonly endsAtMs: number;
  readonly open: Set<ServerResponse>;
  timer?: NodeJS.Timeout;
}

export class Logins implements AsyncDisposable {
  readonly sessionTimeMs: number;
  /** Keys of operators, by the hash that logins have of them: one that was replaced has another. */
  readonly #keys: ReadonlyMap<string, AuthKey>;
  readonly #save: LoginsOptions["save"];
  /** By the hash of the word, the oldest first. */
  readonly #logins = new Map<string, KeptLogin>();
  #saving: Promise<void> = Promise.resolve();

  constructor({ keys, sessionTimeMs, save }: LoginsOptions) {
    const operators = keys.filter(({ role }) => role === "operator");
    this.#keys = new Map(operators.map((key) => [keyHashOf(key), key]));
    this.sessionTimeMs = sessionTimeMs;
    this.#save = save;
  }

  /**
   * Takes over those of an earlier run whose keys are still there.
   *
   * @returns False for a text that cannot be read: then everybody has to log in again.
   */
  restore(text: string, nowMs: number): boolean {
    const read = fileSchema.safeParse(parsed(text));
    for (const each of read.data?.logins ?? []) {
      // Who has shortened the time means those that are there as well.
      const endsAtMs = Math.min(each.endsAtMs, nowMs + this.sessionTimeMs);
      if (endsAtMs > nowMs && this.#keys.has(each.keyHash)) this.#add({ ...each, endsAtMs });
    }
    return read.success;
  }

  /**
   * Begins one for an operator's key.
   *
   * @returns The word for its cookie.
   * @throws what keeping it throws: then there is none.
   */
  async begin(key: AuthKey, nowMs: number): Promise<string> {
    for (const each of this.#logins.values()) if (each.endsAtMs <= nowMs) this.#end(each);
    const [oldest] = this.#logins.values();
    if (oldest !== undefined && this.#logins.size >= MAX_LOGINS) this.#end(oldest);
    const word = randomBytes(WORD_BYTES).toString("base64url");
    const login = this.#add({
      wordHash: wordHashOf(word),
      keyHash: keyHashOf(key),
      endsAtMs: nowMs + this.sessionTimeMs,
    });
    try {
      await this.#keep();
    } catch (thrown) {
      this.#end(login);
      throw thrown;
    }
    return word;
  }

  /** Undefined for a word that nobody was given, or whose login is over. */
  find(word: string, nowMs: number): Login | undefined {
    const login = this.#logins.get(wordHashOf(word));
    if (login === undefined) return undefined;
    const key = this.#keys.get(login.keyHash);
    if (key === undefined || login.endsAtMs <= nowMs) {
      this.#end(login);
      return undefined;
    }
    return { key, hold: (response) => this.#hold(login, response, nowMs) };
  }

  /** @throws what keeping throws: then it is over only until the next start. */
  async end(word: string): Promise<void> {
    const login = this.#logins.get(wordHashOf(word));
    if (login === undefined) return;
    this.#end(login);
    await this.#keep();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { timer } of this.#logins.values()) clearTimeout(timer);
    await this.#saving.catch(() => undefined);
  }

  #add(facts: Omit<KeptLogin, "open" | "timer">): KeptLogin {
    const login = { ...facts, open: new Set<ServerResponse>() };
    this.#logins.set(login.wordHash, login);
    return login;
  }

  #hold(login: KeptLogin, response: ServerResponse, nowMs: number): void {
    const { open, endsAtMs } = login;
    open.add(response);
    response.once("close", () => open.delete(response));
    login.timer ??= setTimeout(() => this.#end(login), endsAtMs - nowMs).unref();
  }

  #end({ wordHash, timer, open }: KeptLogin): void {
    this.#logins.delete(wordHash);
    clearTimeout(timer);
    for (const response of open) response.destroy();
  }

  /** One after the other, each with what there is then. */
  #keep(): Promise<void> {
    const saved = this.#saving.catch(() => undefined).then(() => this.#save(this.#text()));
    this.#saving = saved;
    return saved;
  }

  #text(): string {
    const logins = Array.from(this.#logins.values(), ({ wordHash, keyHash, endsAtMs }) => {
      return { wordHash, keyHash, endsAtMs };
    });
    return `${JSON.stringify({ logins })}\n`;
  }
}

/** Not the hash that the server file has: that one belongs there alone. */
function keyHashOf({ sha256: hash }: AuthKey): string {
  return sha256(`key of a login: ${hash}`, "base64url");
}

function wordHashOf(word: string): string {
  return sha256(word, "base64url");
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // As unreadable as anything else that does not fit.
  }
}
