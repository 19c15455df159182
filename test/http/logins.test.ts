/**
 * Goal: a login ends when its time is over, is one of so many, and is never lost without a word; what
 * is remembered of failures is bounded.
 * Method: the parts themselves, with times of the test's own.
 */
import { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { FailedLogins } from "../../src/http/console/failed-logins.ts";
import { Logins } from "../../src/http/console/logins.ts";
import { until } from "../helpers/leaks.ts";

const KEY = {
  id: "ops",
  tenant: "default",
  role: "operator",
  priority: "normal",
  sha256: "a".repeat(64),
} as const;
const HOUR_MS = 3_600_000;

function open(sessionTimeMs = HOUR_MS, save: (text: string) => Promise<void> = async () => {}) {
  return new Logins({ keys: [KEY], sessionTimeMs, save });
}

describe("a login", () => {
  it("ends when its time is over, also in another run", async () => {
    let kept = "";
    await using logins = open(HOUR_MS, async (text) => void (kept = text));
    const word = await logins.begin(KEY, 0);
    expect(logins.find(word, HOUR_MS - 1)?.key).toBe(KEY);
    await using later = open();
    expect(later.restore(kept, HOUR_MS - 1)).toBe(true);
    expect(later.find(word, HOUR_MS - 1)?.key).toBe(KEY);
    for (const each of [logins, later]) {
      expect(each.find(word, HOUR_MS)).toBeUndefined();
      // Not even for a clock that is set back.
      expect(each.find(word, 0)).toBeUndefined();
    }
    await using tooLate = open();
    tooLate.restore(kept, HOUR_MS);
    expect(tooLate.find(word, 0)).toBeUndefined();
  });

  it("is shortened with the setting", async () => {
    let kept = "";
    await using logins = open(HOUR_MS, async (text) => void (kept = text));
    const word = await logins.begin(KEY, 0);
    await using shorter = open(60_000);
    shorter.restore(kept, 0);
    expect(shorter.find(word, 59_999)).toBeDefined();
    expect(shorter.find(word, 60_000)).toBeUndefined();
  });

  it("takes its open responses with it when its time comes", async () => {
    await using logins = open(100);
    const nowMs = Date.now();
    const word = await logins.begin(KEY, nowMs);
    const response = new ServerResponse(new IncomingMessage(new Socket()));
    logins.find(word, nowMs)?.hold(response);
    await until(() => response.destroyed, "the response to be cut off");
  });

  it("is one of a thousand: the oldest makes room", async () => {
    await using logins = open();
    const words: string[] = [];
    for (let at = 0; at <= 1_000; at += 1) words.push(await logins.begin(KEY, at));
    const [oldest = "", second = ""] = words;
    expect(logins.find(oldest, 1_001)).toBeUndefined();
    expect(logins.find(second, 1_001)).toBeDefined();
    expect(logins.find(words.at(-1) ?? "", 1_001)).toBeDefined();
  });

  it("that cannot be kept is none", async () => {
    let isFull = true;
    await using logins = open(HOUR_MS, async () => {
      if (isFull) throw new Error("no space");
    });
    await expect(logins.begin(KEY, 0)).rejects.toThrow("no space");
    isFull = false;
    expect(logins.find(await logins.begin(KEY, 0), 0)).toBeDefined();
  });

  it("is kept one after the other, and the last text has all of them", async () => {
    const texts: string[] = [];
    let saving = 0;
    await using logins = open(HOUR_MS, async (text) => {
      expect((saving += 1)).toBe(1);
      await new Promise((resolve) => setImmediate(resolve));
      texts.push(text);
      saving -= 1;
    });
    const words = await Promise.all([1, 2, 3].map((atMs) => logins.begin(KEY, atMs)));
    await using later = open();
    later.restore(texts.at(-1) ?? "", 3);
    expect(words.map((word) => later.find(word, 3)?.key.id)).toEqual(["ops", "ops", "ops"]);
  });

  it.each(["", "{", "null", `{"logins":1}`, `{"logins":[{"wordHash":1}]}`])(
    "is asked for again where they are kept as %s",
    async (text) => {
      await using logins = open();
      expect(logins.restore(text, 0)).toBe(false);
      expect(logins.find("a".repeat(43), 0)).toBeUndefined();
    },
  );
});

describe("failures at the login", () => {
  const failing = (failed: FailedLogins, address: string, times: number, nowMs = 0) => {
    for (let at = 0; at < times; at += 1) failed.count(address, nowMs);
  };

  it("are forgotten one by one", () => {
    const failed = new FailedLogins();
    failing(failed, "10.0.0.7", 9);
    expect(failed.waitSeconds("10.0.0.7", 0)).toBeNull();
    failing(failed, "10.0.0.7", 1);
    expect(failed.waitSeconds("10.0.0.7", 0)).toBe(10);
    expect(failed.waitSeconds("10.0.0.8", 0)).toBeNull();
    expect(failed.waitSeconds("10.0.0.7", 10_000)).toBeNull();
  });

  it.each([
    ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true],
    ["2001:db8::1", "2001:db8:0:0:1:2:3:4", true],
    ["::1", "::2", true],
    ["2001:db8:1:2::1", "2001:db8:1:3::1", false],
    ["2001:db8::1", "2001:db8:0:1::1", false],
    ["::ffff:10.0.0.7", "::ffff:10.0.0.8", false],
  ])("of %s are those of %s: %s", (one, other, isSame) => {
    const failed = new FailedLogins();
    failing(failed, one, 10);
    expect(failed.waitSeconds(other, 0) !== null).toBe(isSame);
  });

  it("are remembered of so many addresses", () => {
    const failed = new FailedLogins();
    failing(failed, "10.0.0.1", 10);
    failing(failed, "10.0.0.2", 10);
    for (let at = 0; at < 999; at += 1) failed.count(`10.1.${at >> 8}.${at & 255}`, 0);
    expect(failed.waitSeconds("10.0.0.1", 0)).toBeNull();
    expect(failed.waitSeconds("10.0.0.2", 0)).toBe(10);
  });
});
