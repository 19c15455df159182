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
  /** Files that are not here any more: whoever pastes the line has to have them where it runs. */
  readonly missing?: readonly MissingFile[];
  /** Whether the server asks for a key. */
  readonly needsKey: boolean;
  /** The answer is a stream. */
  readonly isStream?: boolean;
}

export interface MissingFile {
  /** What stands in the body for its base64; nothing before it is the same, but that of others. */
  readonly mark: string;
  /** What it has to be called. */
  readonly name: string;
}

/** One argument of a command is at most 128 KiB on Linux; a longer body goes through a here-document. */
const LONGEST_ARGUMENT_BYTES = 100_000;

export function curlOf(request: CurlRequest): string {
  const { origin, method, path, headers = {}, body, missing = [], needsKey } = request;
  const json = body === undefined ? null : JSON.stringify(body);
  const all = { ...headers, ...(json !== null && { "content-type": "application/json" }) };
  const isDefault = method === "GET" || (method === "POST" && json !== null);
  const lines = [
    `curl ${request.isStream === true ? "-sN" : "-s"}${isDefault ? "" : ` -X ${method}`} ${shellQuoted(origin + path)}`,
    ...(needsKey ? ['-H "authorization: Bearer $PLIMSOLL_KEY"'] : []),
    ...Object.entries(all).map(([name, value]) => `-H ${shellQuoted(`${name}: ${value}`)}`),
  ];
  if (json === null) return joined(lines);
  if (missing.length > 0) return `${withFiles(json, missing)} |\n${joined([...lines, "-d @-"])}`;
  if (bytesOf(json) <= LONGEST_ARGUMENT_BYTES) return joined([...lines, `-d ${shellQuoted(json)}`]);
  // JSON of one line cannot hold the line that ends it.
  return `${joined([...lines, "-d @- <<'JSON'"])}\n${json}\nJSON`;
}

/** Writes the body, each file in its place. Where one is not there it ends, and is no JSON. */
function withFiles(json: string, missing: readonly MissingFile[]): string {
  let rest = json;
  const steps = missing.flatMap(({ mark, name }) => {
    const [before = "", ...after] = rest.split(mark);
    rest = after.join(mark);
    return [`printf %s ${shellQuoted(before)}`, `base64 < ${shellQuoted(name)}`];
  });
  const all = [...steps, `printf %s ${shellQuoted(rest)}`];
  // Most of them break what they write into lines, and JSON of one line has none.
  return `{ ${all.join(" &&\n  ")}; } | tr -d '\\n'`;
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
