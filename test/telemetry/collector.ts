import { createServer, type IncomingHttpHeaders, type Server } from "node:http";

export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
}

export interface Collector extends AsyncDisposable {
  readonly url: string;
  readonly received: readonly Received[];
  spans(): CollectedSpan[];
}

/** A collector that keeps what it is sent; one that is `mute` never answers. */
export async function openCollector(how: "answers" | "mute" = "answers"): Promise<Collector> {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { url = "", headers } = request;
      received.push({ path: url, headers, body: Buffer.concat(chunks) });
      if (how === "answers") response.setHeader("content-type", "application/x-protobuf").end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: urlOf(server),
    received,
    spans: () =>
      received.filter(({ path }) => path === "/v1/traces").flatMap(({ body }) => spansOf(body)),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Where a server listens, on loopback. */
export function urlOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The server has no port");
  return `http://127.0.0.1:${address.port}`;
}

/** ExportTraceServiceRequest: resource_spans 1, in it scope_spans 2, in it spans 2. */
function spansOf(body: Buffer): CollectedSpan[] {
  return within(body, 1)
    .flatMap((resourceSpans) => within(resourceSpans, 2))
    .flatMap((scopeSpans) => within(scopeSpans, 2))
    .map((span) => ({
      traceId: within(span, 1)[0]?.toString("hex") ?? "",
      spanId: within(span, 2)[0]?.toString("hex") ?? "",
      parentSpanId: within(span, 4)[0]?.toString("hex") ?? "",
      name: within(span, 5)[0]?.toString("utf8") ?? "",
    }));
}

/** The length-delimited fields of a protobuf message that have this number. */
function within(message: Buffer, wanted: number): Buffer[] {
  const found: Buffer[] = [];
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = message[at++]!;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const wireType = tag & 7;
    if (wireType === 0) varint();
    else if (wireType === 1) at += 8;
    else if (wireType === 5) at += 4;
    else {
      const length = varint();
      if (tag >>> 3 === wanted) found.push(message.subarray(at, at + length));
      at += length;
    }
  }
  return found;
}
