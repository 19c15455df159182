import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { negotiateAgui } from "../../src/protocol/agui.ts";
import { negotiateRest, preferredMediaType } from "../../src/protocol/negotiate.ts";

describe("negotiateRest()", () => {
  it.each([
    [undefined, "json"],
    ["", "json"],
    ["*/*", "json"],
    ["application/json", "json"],
    ["text/event-stream", "events"],
    ["text/*", "events"],
    ["APPLICATION/JSON; charset=utf-8", "json"],
    ["application/json, text/event-stream", "json"],
    ["text/event-stream, */*;q=0.1", "events"],
    ["application/json;q=0.5, text/event-stream;q=0.9", "events"],
    ["application/json;q=0, */*", "events"],
    ["*/*;q=0", null],
    ["text/html", null],
    ["text/html, application/xhtml+xml, */*;q=0.8", "json"],
    ["text/event-stream;q=nonsense", null],
    ["text/event-stream;q=2", null],
    ["nonsense, , ;;;, a/b/c", null],
    ["*/json", null],
  ])("answers %j with %j", (accept, expected) => {
    expect(negotiateRest(accept)).toBe(expected);
  });
});

describe("negotiateAgui()", () => {
  it.each([
    [undefined, "sse"],
    ["*/*", "sse"],
    ["text/event-stream", "sse"],
    ["application/vnd.ag-ui.event+proto", "proto"],
    ["application/vnd.ag-ui.event+proto, text/event-stream", "sse"],
    ["application/vnd.ag-ui.event+proto, text/event-stream;q=0.9", "proto"],
    ["application/vnd.ag-ui.event+proto;q=0.2, */*;q=0.1", "proto"],
    ["application/json", null],
  ])("answers %j with %j", (accept, expected) => {
    expect(negotiateAgui(accept)).toBe(expected);
  });
});

describe("preferredMediaType()", () => {
  it("gives an offered type or null for any header", () => {
    const piece = fc.oneof(
      fc.constantFrom("*", "/", ";q=", "0.5", ",", "text", "html", " ", "=", '"'),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        const preferred = preferredMediaType(pieces.join(""), ["text/html", "a/b"]);
        expect([null, "text/html", "a/b"]).toContain(preferred);
      }),
      { numRuns: 500 },
    );
  });
});
