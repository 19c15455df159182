/**
 * Requests that are wrong in one way or many, made from a seed: the same seed, the same cases.
 *
 * @module
 */

/** A request as bytes, and what it is, for the report of a failure. */
export interface HttpCase {
  readonly kind: string;
  readonly bytes: Buffer;
}

/** Mulberry32: small, and good enough to choose among wrong things. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What must not come back: it stands in every prompt that is sent. */
export const PROMPT_MARK = "zebra-crossing-prompt";

const ADDRESSES = ["/v1/agents/helper/turns", "/v1/agents/helper/agui", "/agui"] as const;

const HOSTILE_IDS = [
  "../../../../etc/passwd",
  "..%2f..%2f..%2fetc%2fpasswd",
  "%2e%2e/%2e%2e/root",
  "%00",
  "a%00b",
  "%ff%fe",
  "%zz",
  "%",
  "...",
  "....//",
  "*",
  "__proto__",
  "constructor",
  "%F0%9F%98%80",
  "%ED%A0%80",
  "%E2%80%AE",
  "CON",
  "-1",
  "0",
  "null",
  "00000000-0000-0000-0000-000000000000",
  "'; DROP TABLE sessions; --",
  "${jndi:ldap://127.0.0.1/x}",
  "a".repeat(255),
  "a".repeat(257),
  "a".repeat(8_000),
  "%41".repeat(2_000),
];

/** Values that fit nowhere in our bodies. */
const WRONG_VALUES: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1e308,
  "",
  " \n\t",
  "\u0000",
  "\ud800",
  [],
  [[]],
  {},
  { toString: null },
  [null],
  ["text"],
  "x".repeat(300),
];

class CaseMaker {
  readonly #random: () => number;
  readonly #host: string;

  constructor(host: string, seed: number) {
    this.#random = randomFrom(seed);
    this.#host = host;
  }

  make(): HttpCase {
    const kinds = [
      () => this.#malformedJson(),
      () => this.#wrongBody(),
      () => this.#deepBody(),
      () => this.#wrongBytes(),
      () => this.#hostilePath(),
      () => this.#unknownSession(),
      () => this.#wrongMethod(),
      () => this.#wrongHeaders(),
      () => this.#wrongQuery(),
      () => this.#noHttp(),
      () => this.#mutated(),
      () => this.#oversized(),
    ];
    return this.#one(kinds)();
  }

  #malformedJson(): HttpCase {
    const whole = JSON.stringify({ input: PROMPT_MARK, threadId: "t" });
    const texts = [
      whole.slice(0, this.#upTo(whole.length - 1)),
      `${whole}${this.#one(["}", "]", ",", "x", whole])}`,
      whole.replace('"', "'"),
      `{"input":${PROMPT_MARK}}`,
      "{,}",
      "NaN",
      "[1,]",
      `\ufeff{`,
      `// ${PROMPT_MARK}\n{}`,
      '{"input":"\\u00"}',
      '{"input":"a\nb"}',
      "0x10",
      '"' + PROMPT_MARK,
    ];
    return this.#post("malformed JSON", this.#one(texts));
  }

  #wrongBody(): HttpCase {
    const valid: Record<string, unknown> = { input: PROMPT_MARK, threadId: "t" };
    const run: Record<string, unknown> = {
      threadId: "t",
      runId: "r",
      messages: [{ id: "m", role: "user", content: PROMPT_MARK }],
    };
    const address = this.#one(ADDRESSES);
    const isRest = address.endsWith("/turns");
    const body = structuredClone(isRest ? valid : run);
    const key = this.#one(isRest ? ["input", "threadId"] : ["threadId", "runId", "messages"]);
    const isMissing = this.#random() < 0.2 && key !== "threadId";
    if (isMissing) delete body[key];
    else body[key] = this.#wrongValueFor(key);
    return this.#post("wrong body", JSON.stringify(body), address);
  }

  #wrongValueFor(key: string): unknown {
    // A long text is a good input.
    const fits = (value: unknown) =>
      key === "input" && typeof value === "string" && /\S/.test(value);
    return this.#one(WRONG_VALUES.filter((value) => !fits(value)));
  }

  #deepBody(): HttpCase {
    const depth = 65 + this.#upTo(20_000);
    const [open, close] = this.#one([
      ["[", "]"],
      ['{"a":', "}"],
      ['[{"a":', "}]"],
    ] as const);
    const isClosed = this.#random() < 0.5;
    const text = `{"input":${open.repeat(depth)}1${isClosed ? close.repeat(depth) : ""}}`;
    return this.#post("deep nesting", text, this.#one(ADDRESSES));
  }

  #wrongBytes(): HttpCase {
    const bad = this.#one([
      [0xff],
      [0xc0, 0x80],
      [0xed, 0xa0, 0x80],
      [0xf8, 0x88, 0x80, 0x80, 0x80],
      [0xe2, 0x28, 0xa1],
      [0x80],
    ]);
    const bytes = Buffer.concat([
      Buffer.from('{"input":"'),
      Buffer.from(bad),
      Buffer.from(this.#one(['"}', '","threadId":"t"}'])),
    ]);
    return this.#post("invalid UTF-8", bytes, this.#one(ADDRESSES));
  }

  #hostilePath(): HttpCase {
    const id = this.#one(HOSTILE_IDS);
    const [method, path] = this.#one([
      ["GET", `/v1/sessions/${id}`],
      ["DELETE", `/v1/sessions/${id}`],
      ["GET", `/v1/agents/${id}`],
      ["POST", `/v1/agents/${id}/turns`],
      ["POST", `/v1/agents/${id}/agui`],
      ["POST", `/v1/agents/${id}/agui/connect`],
      ["POST", `/v1/turns/${id}/cancel`],
      ["GET", `/v1/turns/${id}`],
      ["GET", `/v1/turns/${id}/events`],
      ["GET", `/v1/turns/0/events?lastEventId=${id}`],
      ["GET", `/${id}x`],
    ] as const);
    const body = method === "POST" ? JSON.stringify({ input: 1 }) : "";
    return this.#request("hostile path", `${method} ${path} HTTP/1.1`, body);
  }

  #unknownSession(): HttpCase {
    const sessionId = this.#one(["x", "../x", "0b7e1c52-5b1d-5a3c-8d6f-000000000000", "\u0000"]);
    return this.#post("unknown session", JSON.stringify({ input: PROMPT_MARK, sessionId }));
  }

  #wrongMethod(): HttpCase {
    const [method, path] = this.#one([
      ["PUT", "/v1/agents/helper/turns"],
      ["PATCH", "/v1/sessions/x"],
      ["DELETE", "/livez"],
      ["POST", "/capacity"],
      ["GET", "/agui"],
      ["TRACE", "/livez"],
      ["PROPFIND", "/"],
      ["REPORT", "/v1/turns"],
      ["QUERY", "/v1/sessions"],
      ["GET", "/v1/turns/x/cancel"],
    ] as const);
    return this.#request("wrong method", `${method} ${path} HTTP/1.1`, "");
  }

  #wrongHeaders(): HttpCase {
    const header = this.#one([
      "Content-Type: text/plain",
      "Content-Type: application/x-www-form-urlencoded",
      "Content-Type: multipart/form-data; boundary=x",
      `Content-Type: ${"a".repeat(1_000)}/json`,
      "Content-Type: application/json\r\nContent-Encoding: gzip",
      "Content-Type: application/json\r\nContent-Encoding: br, gzip",
      "Content-Type: application/json\r\nAccept: image/png",
      "Content-Type: application/json\r\nAccept: application/json;q=0",
      "Content-Type: application/json\r\nTransfer-Encoding: gzip",
      "Content-Type: application/json\r\nTransfer-Encoding: chunked",
      "Content-Type: application/json\r\nContent-Length: 5",
      "Content-Type: application/json\r\nContent-Length: -5",
      "Content-Type: application/json\r\nContent-Length: 1e3",
      "Content-Type: application/json\r\nX: a\u0000b",
      "Content-Type: application/json\r\nX\u0001: a",
      "Content-Type: application/json\r\n X: folded",
      `Content-Type: application/json\r\nX: ${"x".repeat(20_000)}`,
      "Content-Type: application/json\r\nHost: evil.example",
    ]);
    const body = JSON.stringify({ input: 7, mark: PROMPT_MARK });
    const host = header.includes("evil") ? "" : `Host: ${this.#host}\r\n`;
    const text =
      `POST ${this.#one(ADDRESSES)} HTTP/1.1\r\n${host}${header}\r\n` +
      `Content-Length: ${body.length}\r\n\r\n${body}`;
    return { kind: "wrong headers", bytes: Buffer.from(text, "latin1") };
  }

  #wrongQuery(): HttpCase {
    const query = this.#one([
      "limit=0",
      "limit=-1",
      "limit=1e9",
      "limit=many",
      "limit=1&limit=2",
      "limit[]=1",
      "cursor=../../x",
      "cursor=%00",
      `cursor=${"x".repeat(2_000)}`,
      "unknown=1",
      "__proto__=1",
      `agent=${"a".repeat(64)}`,
      `threadId=${"a".repeat(257)}`,
    ]);
    return this.#request("wrong query", `GET /v1/sessions?${query} HTTP/1.1`, "");
  }

  #noHttp(): HttpCase {
    const length = 1 + this.#upTo(200);
    const noise = Buffer.from(Array.from({ length }, () => this.#upTo(255)));
    // Ended like a request, so that the server does not wait for more.
    const bytes = Buffer.concat([noise, Buffer.from("\r\n\r\n\r\n\r\n")]);
    // A blank line before a request is allowed, and then nothing was asked.
    const isBlank = /^[\r\n]*$/.test(noise.toString("latin1"));
    return { kind: "random bytes", bytes: isBlank ? Buffer.from("?\r\n\r\n") : bytes };
  }

  /** A request that would be wrong anyway, with some of its bytes changed, dropped or doubled. */
  #mutated(): HttpCase {
    const { bytes } = this.#one([() => this.#wrongBody(), () => this.#malformedJson()])();
    const mutant = Buffer.from(this.#changed(bytes));
    // A change of the body that is still JSON may have made it right.
    const isStillJson = isJson(bodyOf(mutant)) && !bodyOf(mutant).equals(bodyOf(bytes));
    return { kind: "mutated request", bytes: isStillJson ? bytes : mutant };
  }

  #changed(bytes: Buffer): readonly number[] {
    const changed = [...bytes];
    for (let count = 1 + this.#upTo(6); count > 0; count -= 1) {
      const at = this.#upTo(changed.length - 1);
      const how = this.#upTo(2);
      if (how === 0) changed[at] = this.#upTo(255);
      else if (how === 1) changed.splice(at, 1);
      else changed.splice(at, 0, changed[at] ?? 0);
    }
    return changed;
  }

  #oversized(): HttpCase {
    const padding = " ".repeat(70_000 + this.#upTo(200_000));
    if (this.#random() < 0.5) return this.#post("oversized", `{"input":"x"${padding}}`);
    const chunk = `${padding.length.toString(16)}\r\n${padding}\r\n0\r\n\r\n`;
    const text =
      `POST ${this.#one(ADDRESSES)} HTTP/1.1\r\nHost: ${this.#host}\r\n` +
      `Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`;
    return { kind: "oversized", bytes: Buffer.from(text) };
  }

  #post(kind: string, body: string | Buffer, address: string = ADDRESSES[0]): HttpCase {
    return this.#request(kind, `POST ${address} HTTP/1.1`, body);
  }

  #request(kind: string, line: string, body: string | Buffer): HttpCase {
    const payload = Buffer.from(body);
    const head =
      `${line}\r\nHost: ${this.#host}\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${payload.length}\r\n\r\n`;
    return { kind, bytes: Buffer.concat([Buffer.from(head, "latin1"), payload]) };
  }

  #one<Choice>(choices: readonly Choice[]): Choice {
    return choices[this.#upTo(choices.length - 1)] as Choice;
  }

  /** 0 to `most`. */
  #upTo(most: number): number {
    return Math.floor(this.#random() * (most + 1));
  }
}

/** As far as its head says that it goes, which is not where the bytes end. */
function bodyOf(request: Buffer): Buffer {
  const start = request.indexOf("\r\n\r\n") + 4;
  const length = /^content-length: *(\d+)/im.exec(request.toString("latin1"))?.[1];
  return request.subarray(start, start + Number(length ?? 0));
}

function isJson(bytes: Buffer): boolean {
  try {
    JSON.parse(bytes.toString());
    return true;
  } catch {
    return false;
  }
}

export function* httpCases(host: string, seed: number, count: number): Generator<HttpCase> {
  const maker = new CaseMaker(host, seed);
  for (let index = 0; index < count; index += 1) yield maker.make();
}
