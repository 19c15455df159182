/**
 * A request as a line for a POSIX shell. The key is never in it: `$PLIMSOLL_KEY` stands for it.
 *
 * @module
 */

export interface CurlRequest {
  /** Where this page came from, e.g. `http://127.0.0.1:8080`. */
  readonly origin: string;
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Whether the server asks for a key. */
  readonly needsKey: boolean;
  /** The answer is a stream. */
  readonly isStream?: boolean;
}

/** One argument of a command is at most 128 KiB on Linux; a longer body goes through a here-document. */
const LONGEST_ARGUMENT_BYTES = 100_000;

export function curlOf(request: CurlRequest): string {
  const { origin, method, path, headers = {}, body, needsKey, isStream = false } = request;
  const json = body === undefined ? null : JSON.stringify(body);
  const all = { ...headers, ...(json !== null && { "content-type": "application/json" }) };
  const isDefault = method === "GET" || (method === "POST" && json !== null);
  const lines = [
    `curl ${isStream ? "-sN" : "-s"}${isDefault ? "" : ` -X ${method}`} ${shellQuoted(origin + path)}`,
    ...(needsKey ? ['-H "authorization: Bearer $PLIMSOLL_KEY"'] : []),
    ...Object.entries(all).map(([name, value]) => `-H ${shellQuoted(`${name}: ${value}`)}`),
  ];
  if (json === null) return joined(lines);
  if (bytesOf(json) <= LONGEST_ARGUMENT_BYTES) return joined([...lines, `-d ${shellQuoted(json)}`]);
  // JSON of one line cannot hold the line that ends it.
  return `${joined([...lines, "-d @- <<'JSON'"])}\n${json}\nJSON`;
}

function bytesOf(text: string): number {
  return new TextEncoder().encode(text).length;
}

function joined(lines: readonly string[]): string {
  return lines.join(" \\\n  ");
}

/** One word for `sh`, whatever is in it but NUL, which no argument can hold. */
function shellQuoted(text: string): string {
  if (/^[\w./:=@%+-]+$/.test(text)) return text;
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
