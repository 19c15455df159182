import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { AppError } from "../../src/lib/errors.ts";
import { MAX_THREAD_ID_LENGTH, sessionIdOf, sessionRefOf } from "../../src/session/session-id.ts";
import { byId, thread } from "./fixture.ts";

describe("sessionIdOf", () => {
  it("is pinned: another id would lose every session there is", () => {
    const id = sessionIdOf({ tenant: "default", agentName: "helper", threadId: "thread-42" });
    expect(id).toBe("09ecd295-184e-587b-a29a-16c3856e9c56");
  });

  it("is a UUID of version 5 and of the RFC's variant, whatever the parts", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), (tenant, agentName, threadId) => {
        expect(sessionIdOf({ tenant, agentName, threadId })).toMatch(
          /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
        );
      }),
    );
  });

  it("differs whenever a part differs, also where the parts run together", () => {
    // Few characters, chosen to be taken for delimiters; lone surrogates look alike in UTF-8.
    const part = fc.string({
      unit: fc.constantFrom("a", '"', ",", "[", "]", "\\", "|", "\0", "\ud800", "\udbff"),
      maxLength: 4,
    });
    const name = fc.record({ tenant: part, agentName: part, threadId: part });
    fc.assert(
      fc.property(name, name, (one, other) => {
        const isSame =
          one.tenant === other.tenant &&
          one.agentName === other.agentName &&
          one.threadId === other.threadId;
        expect(sessionIdOf(one) === sessionIdOf(other)).toBe(isSame);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("sessionRefOf", () => {
  const own = sessionIdOf({ tenant: "acme", agentName: "helper", threadId: "t" });

  it("takes one of our ids in either case", () => {
    expect(sessionRefOf(byId(own.toUpperCase())).sessionId).toBe(own);
  });

  it.each([
    "",
    "../../etc/passwd",
    `${own}/..`,
    `${own}\n`,
    ` ${own}`,
    "..",
    "\0",
    "00000000-0000-4000-8000-000000000000",
    "x".repeat(200),
  ])("does not know the session id %j", (sessionId) => {
    expect(codeThrownBy(() => sessionRefOf(byId(sessionId)))).toBe("session_not_found");
  });

  it("refuses a thread id that is empty or too long", () => {
    expect(codeThrownBy(() => sessionRefOf(thread("")))).toBe("invalid_request");
    const longest = "x".repeat(MAX_THREAD_ID_LENGTH);
    expect(sessionRefOf(thread(longest)).tenant).toBe("acme");
    expect(codeThrownBy(() => sessionRefOf(thread(`${longest}x`)))).toBe("invalid_request");
  });
});

function codeThrownBy(work: () => unknown): string {
  try {
    work();
  } catch (thrown) {
    return thrown instanceof AppError ? thrown.code : String(thrown);
  }
  return "nothing";
}
