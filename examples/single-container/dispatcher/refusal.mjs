/**
 * What the dispatcher itself refuses, in the form of a replica's refusals (RFC 9457).
 *
 * @module
 */

export class Refusal extends Error {
  constructor(status, code, detail, retryAfterSeconds) {
    super(detail);
    this.status = status;
    this.code = code;
    this.retryAfterSeconds = retryAfterSeconds;
  }

  send(response) {
    const { status, code, message: detail, retryAfterSeconds } = this;
    response.writeHead(status, {
      "content-type": "application/problem+json",
      ...(retryAfterSeconds !== undefined && { "retry-after": String(retryAfterSeconds) }),
    });
    response.end(JSON.stringify({ type: "about:blank", title: code, status, detail, code }));
  }
}
