/**
 * A file of the console as an answer, with what keeps a page from doing harm: it runs no script but
 * its own, talks to nobody but this server, and stands in no other page.
 *
 * @module
 */

import type { FastifyReply, FastifyRequest } from "fastify";
import { parseQuality } from "../../protocol/negotiate.ts";
import type { PageFile } from "./console-page.ts";

/**
 * What the page may load: only what it does load. Forms are sent by its script alone: were
 * that not to run, a browser would put the key that was typed into an address.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "font-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const SAFETY = {
  "content-security-policy": POLICY,
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

const IMMUTABLE = "public, max-age=31536000, immutable";

/** It may change under its name, so a browser asks each time whether it has. */
export function sendNewest(request: FastifyRequest, reply: FastifyReply, file: PageFile): unknown {
  return sendFile(request, reply, file, "no-cache");
}

/** Its name has a hash of what is in it, so it never changes under that. */
export function sendHashed(request: FastifyRequest, reply: FastifyReply, file: PageFile): unknown {
  return sendFile(request, reply, file, IMMUTABLE);
}

/** In place of a page that was not built. */
export function sendNotBuilt(reply: FastifyReply): unknown {
  return reply
    .status(503)
    .headers({ ...SAFETY, "cache-control": "no-store" })
    .type("text/html; charset=utf-8")
    .send(NOT_BUILT);
}

/** What the answer depends on, beside what it depends on already. */
export function addVary(reply: FastifyReply, names: string): void {
  const present = reply.getHeader("vary");
  void reply.header("vary", present === undefined ? names : `${String(present)}, ${names}`);
}

function sendFile(
  { headers }: FastifyRequest,
  reply: FastifyReply,
  { etag, mediaType, bytes, gzipped }: PageFile,
  cacheControl: string,
): unknown {
  addVary(reply, "Accept-Encoding");
  void reply.headers({ ...SAFETY, etag, "cache-control": cacheControl });
  if (isHeld(headers["if-none-match"], etag)) return reply.status(304).send();
  void reply.type(mediaType);
  if (gzipped === null || !takesGzip(headers["accept-encoding"])) return reply.send(bytes);
  return reply.header("content-encoding", "gzip").send(gzipped);
}

/** Compared weakly, as RFC 9110 has it for `If-None-Match`. */
function isHeld(ifNoneMatch: string | undefined, etag: string): boolean {
  const bare = (tag: string): string => tag.trim().replace(/^W\//, "");
  return (ifNoneMatch ?? "").split(",").some((tag) => bare(tag) === bare(etag));
}

function takesGzip(acceptEncoding: string | string[] | undefined): boolean {
  const codings = String(acceptEncoding ?? "").split(",");
  return codings.some((coding) => {
    const [name, weight = "q=1"] = coding.split(";").map((part) => part.trim().toLowerCase());
    return name === "gzip" && weight.startsWith("q=") && (parseQuality(weight.slice(2)) ?? 0) > 0;
  });
}

const NOT_BUILT = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Plimsoll</title></head>
<body>
<h1>The console is not built</h1>
<p>The server works; only its page is missing, as in a checkout of the sources. Build it, and load
this page again:</p>
<pre>npm run build</pre>
<p>What there is without it: <a href="/openapi.json">/openapi.json</a>, <a href="/readyz">/readyz</a>.</p>
</body>
</html>
`;
