/**
 * Takes secrets out of text that others wrote: messages of errors, the stderr of agent processes,
 * a log line as a whole. Pure. Knows the shapes of keys and the ways they are assigned; a secret
 * that looks like a plain word is out of its reach, so text that may hold one is not logged at all.
 *
 * @module
 */

export const REDACTED = "[redacted]";

/** Names whose value is a secret, as the whole name or its last word: `x-api-key`, `clientSecret`. */
const SECRET_NAME =
  "(?:authorization|cookie|token|secret|password|passwd|passphrase|credentials?|" +
  "(?:api|access|private|secret)[-_]?key)";

const SECRET_KEY = new RegExp(`${SECRET_NAME}$`, "i");

/** Values that are secrets wherever they stand. */
const SECRET_VALUES = new RegExp(
  [
    "-----BEGIN [A-Z ]*PRIVATE KEY-----[\\s\\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    "\\bsk-[\\w-]{8,}", // Anthropic, OpenAI and those who copied them.
    "\\bplk_[\\w-]{8,}", // Keys of this server.
    "\\bgh[opsur]_\\w{16,}|\\bgithub_pat_\\w{16,}",
    "\\b(?:AKIA|ASIA)[0-9A-Z]{16}\\b",
    "\\bAIza[\\w-]{30,}",
    "\\bxox[a-z]-[\\w-]{10,}",
    // JSON Web Tokens, with what stands before them without a gap: were each `eyJ` a beginning of
    // its own, a text of nothing else would take the square of its length.
    "(?<![\\w-])(?=[\\w-]*?\\beyJ[\\w-]{8})[\\w-]+\\.[\\w-]{8,}(?:\\.[\\w-]*)?",
  ].join("|"),
  "g",
);

const BEARER = /\b(bearer)\s+[\w.~+/=-]{8,}/gi;
const URL_PASSWORD = /(:\/\/[^\s/:@"\\]*:)[^\s/@"\\]+(?=@)/g;

/**
 * `name=value`, `name: value` and `"name":"value"`, also with the quotes escaped as they are within
 * a JSON string. A colon needs a quote or a blank after it, so that a JSON `"token":null` stays
 * JSON; an authorization may put its scheme before the value.
 */
const ASSIGNED = new RegExp(
  `(${SECRET_NAME}(?:\\\\*["'])?\\s*(?:=\\s*|:\\s+|:(?=\\\\*["']))(?:\\\\*["'])?)` +
    `(?:(?:basic|bearer|negotiate|digest)\\s+)?[^\\s"'\\\\,;&}]+`,
  "gi",
);

/** The text with every secret in it replaced; the same text when there is none. */
export function redactText(text: string): string {
  return text
    .replace(SECRET_VALUES, REDACTED)
    .replace(ASSIGNED, `$1${REDACTED}`)
    .replace(BEARER, `$1 ${REDACTED}`)
    .replace(URL_PASSWORD, `$1${REDACTED}`);
}

/** Whether the value under this key is a secret whatever it looks like. */
export function isSecretKey(key: string): boolean {
  return SECRET_KEY.test(key);
}
