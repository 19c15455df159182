/**
 * Goal: a message asks for what was meant, is sent again only where that helps and not for ever, and
 * what a reload must not lose is kept, or at worst nothing.
 * Method: pure functions, and storages that are full or hold what another version has left.
 */

import { describe, expect, it } from "vitest";

import { fileProblem, limitsText, textProblem } from "../../console/src/chat/attachments.ts";
import { readSaved, save, type Saved } from "../../console/src/chat/saved.ts";
import { RETRY_LIMITS, staysIn, turnBodyOf, waitAfter } from "../../console/src/chat/send-turn.ts";
import { found, isSessionId, sessionPathOf } from "../../console/src/sessions/session-list.ts";

const OWNER = { id: "ops", tenant: "acme" };
const TARGET = { agent: "helper", threadId: "thread-1", sessionId: null };
const IMAGE = { mediaType: "image/png", name: "a.png", base64: "AAAA" };
const PDF = { mediaType: "application/pdf", name: "a.pdf", base64: "BBBB" };

it("stays in the session of its thread, and in none that only its turn has", () => {
  const target = { agent: "hello", threadId: "t", sessionId: null };
  const kept = "5f0c9c0e-0d4b-5c6e-8f1a-0123456789ab";
  expect(staysIn(target, kept)).toEqual({ ...target, sessionId: kept });
  expect(staysIn(target, kept.replace("-5c6e-", "-4c6e-"))).toEqual(target);
});

describe("the body of a turn", () => {
  it("is text, or parts where there are files, of a thread or of a session", () => {
    const message = { key: "k", text: "Hello", files: [] };
    expect(turnBodyOf(TARGET, message)).toEqual({ input: "Hello", threadId: "thread-1" });
    const going = { ...TARGET, sessionId: "session-1" };
    expect(turnBodyOf(going, { ...message, files: [IMAGE, PDF] })).toEqual({
      input: [
        { type: "image", mediaType: "image/png", base64: "AAAA" },
        { type: "document", mediaType: "application/pdf", base64: "BBBB" },
        { type: "text", text: "Hello" },
      ],
      sessionId: "session-1",
    });
    expect(turnBodyOf(TARGET, { key: "k", text: " ", files: [IMAGE] }).input).toHaveLength(1);
  });
});

describe("a refused message", () => {
  it("waits as long as the server says, within bounds", () => {
    const shed = (retryAfterSeconds: number | null) => ({ code: "at_capacity", retryAfterSeconds });
    expect(waitAfter(shed(7), 1)).toBe(7_000);
    expect(waitAfter(shed(0), 1)).toBe(RETRY_LIMITS.firstBackoffMs);
    expect(waitAfter(shed(86_400), 1)).toBe(RETRY_LIMITS.waitMs);
    expect(waitAfter(shed(7), RETRY_LIMITS.tries)).toBeNull();
  });

  it("waits longer each time for a server that says nothing", () => {
    const away = { code: "unreachable", retryAfterSeconds: null };
    const waits = [1, 2, 3, 8].map((tries) => waitAfter(away, tries));
    expect(waits).toEqual([1_000, 2_000, 4_000, RETRY_LIMITS.backoffMs]);
  });

  it("is not sent again where waiting changes nothing", () => {
    for (const code of ["invalid_request", "session_busy", "session_gone", "turn_cut_off"]) {
      expect(waitAfter({ code, retryAfterSeconds: 1 }, 1)).toBeNull();
    }
  });
});

const ACCEPTS = {
  mediaTypes: ["image/png", "text/plain"],
  parts: 3,
  textLength: 10,
  bodyBytes: 16 * 1024 + 4_000,
};

describe("what fits into a message", () => {
  it("is said before it is sent", () => {
    const file = { name: "a.png", type: "image/png", size: 3_000 };
    expect(fileProblem(file, [], ACCEPTS)).toBeNull();
    expect(fileProblem({ ...file, size: 3_001 }, [], ACCEPTS)).toContain("there is room for 3 KiB");
    const held = { mediaType: "image/png", name: "b.png", base64: "A".repeat(4) };
    expect(fileProblem(file, [held], ACCEPTS)).toContain("there is room for");
    expect(fileProblem({ ...file, size: 1 }, [held, held], ACCEPTS)).toContain("2 files at most");
    expect(fileProblem({ ...file, type: "image/tiff" }, [], ACCEPTS)).toContain("PNG or text");
    expect(fileProblem({ ...file, size: 0 }, [], ACCEPTS)).toBe("a.png is empty");
    expect(limitsText(ACCEPTS)).toBe("PNG or text; up to 2 files, 3 KiB in all");
    expect(textProblem("0123456789", ACCEPTS)).toBeNull();
    expect(textProblem("0123456789a", ACCEPTS)).toContain("11 characters");
  });
});

class Store {
  text: string | null = null;
  readonly most: number;
  constructor(most = 1_000_000) {
    this.most = most;
  }
  getItem = () => this.text;
  setItem = (_key: string, text: string) => {
    if (text.length > this.most) throw new DOMException("full", "QuotaExceededError");
    this.text = text;
  };
  removeItem = () => (this.text = null);
}

describe("what a reload must not lose", () => {
  const saved: Saved = {
    owner: OWNER,
    target: TARGET,
    sessionId: "session-1",
    outbox: { key: "k", text: "Hello", files: [IMAGE] },
    turnId: null,
  };

  it("is kept", () => {
    const store = new Store();
    save(store, saved);
    expect(readSaved(store, OWNER)).toEqual(saved);
  });

  it("leads to the thread again, also when the session is known that it was in", () => {
    const store = new Store();
    save(store, saved);
    const { target } = readSaved(store, OWNER) ?? saved;
    const message = { key: "k", text: "And now?", files: [] };
    expect(turnBodyOf(target, message)).toEqual({ input: "And now?", threadId: "thread-1" });
  });

  it.each([
    ["another key", { id: "night", tenant: "acme" }],
    ["the same name of another tenant", { id: "ops", tenant: "umbrella" }],
  ])("is nothing to %s, and then gone for good", (_whose, other) => {
    const store = new Store();
    save(store, saved);
    expect(readSaved(store, other)).toBeNull();
    expect(readSaved(store, OWNER)).toBeNull();
    expect(store.text).toBeNull();
  });

  it("is kept without what is too large, or not at all", () => {
    const small = new Store(200);
    save(small, saved);
    expect(readSaved(small, OWNER)).toEqual({ ...saved, outbox: null });
    const none = new Store(1);
    none.text = "old";
    save(none, saved);
    expect(readSaved(none, OWNER)).toBeNull();
  });

  it.each([
    "",
    "{",
    "null",
    "[]",
    '{"target":{}}',
    '{"owner":null}',
    JSON.stringify({ owner: OWNER, target: { agent: 1, threadId: 2 } }),
    JSON.stringify({ ...saved, owner: undefined }),
  ])("is nothing where %j was left", (text) => {
    const store = new Store();
    store.text = text;
    expect(readSaved(store, OWNER)).toBeNull();
  });
});

describe("sessions", () => {
  const session = {
    sessionId: "5f0c1c2a-0000-5000-8000-000000000001",
    threadId: "Order 17",
    agent: "support",
    createdAt: "",
    lastTurnAt: "",
    turns: 1,
    transcriptBytes: 0,
    costUsd: 0,
    isBusy: false,
    isOnHold: false,
  };

  it("are found by all words in any of the names", () => {
    expect(found([session], "17 ORDER")).toHaveLength(1);
    expect(found([session], "support 5f0c")).toHaveLength(1);
    expect(found([session], "")).toHaveLength(1);
    expect(found([session], "18")).toHaveLength(0);
    expect(isSessionId(` ${session.sessionId} `)).toBe(true);
    expect(isSessionId("Order 17")).toBe(false);
    expect(isSessionId(`${session.sessionId}/../../agents`)).toBe(false);
  });

  it("lead nowhere else, whatever is taken for the id of one", () => {
    const { pathname } = new URL(sessionPathOf("x/../../agents?y#z"), "http://localhost");
    expect(pathname).toBe("/v1/sessions/x%2F..%2F..%2Fagents%3Fy%23z");
  });
});
