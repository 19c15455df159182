/**
 * The least that Node can do to refuse: one fixed answer, of the length and with the headers that
 * a refusal has. What `shed` measures of it is what the machine and `node:http` take.
 *
 * @module
 */

import { createServer } from "node:http";

const BODY = "x".repeat(Number(process.argv[2]));
const HEADERS = {
  "x-request-id": "00000000-0000-4000-8000-000000000000",
  "x-content-type-options": "nosniff",
  "cache-control": "no-store",
  "retry-after": "30",
  "RateLimit-Policy": '"turns";q=4;qu="concurrent-requests"',
  RateLimit: '"turns";r=0;t=30',
  "content-type": "application/problem+json",
  "content-length": Buffer.byteLength(BODY),
};

const server = createServer((_request, response) => {
  response.writeHead(429, HEADERS);
  response.end(BODY);
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
