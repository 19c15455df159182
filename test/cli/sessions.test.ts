/**
 * Goal: sessions can be kept, let go and deleted on the data directory of a server that is not there.
 */
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ago } from "../../src/cli/session-text.ts";
import { HELLO_AGENT, run } from "./plimsoll.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll-sessions-"));
});
afterEach(() => rm(directory, { recursive: true }));

const plimsoll = (...args: readonly string[]) => run(args, { directory });

describe("plimsoll sessions, without a server", () => {
  it("holds, releases, sweeps and deletes", async () => {
    const thread = randomUUID();
    const chat = ["chat", HELLO_AGENT, "--rehearse", "--thread", thread];
    expect(await run(chat, { directory, input: "Hello\n" })).toMatchObject({ code: 0 });
    const listed = await plimsoll("sessions", "list", "--json");
    const { sessionId, lastTurnAtMs } = JSON.parse(listed.stdout) as {
      sessionId: string;
      lastTurnAtMs: number;
    };

    expect((await plimsoll("sessions", "hold", sessionId)).stdout).toContain("on hold");
    expect((await plimsoll("sessions", "list")).stdout).toContain("on hold");
    const refused = await plimsoll("sessions", "delete", sessionId);
    expect(refused).toMatchObject({ code: 69, stdout: "" });
    expect(refused.stderr).toContain("Take it off hold first");
    await plimsoll("sessions", "release", sessionId);

    const guess = await plimsoll("sessions", "sweep");
    expect(guess).toMatchObject({ code: 64 });
    expect(guess.stderr).toContain("--config");
    const sweep = ["sessions", "sweep", "--set", "retention.maxBytes=1MiB"];
    expect((await plimsoll(...sweep)).stdout).toMatch(/^1 session of 0\.\d\d MiB: 0 of /);
    expect(lastTurnAtMs).toBeGreaterThan(0);
    const other = ["chat", HELLO_AGENT, "--rehearse", "--thread", randomUUID()];
    await run(other, { directory, input: "Hello\n" });
    const one = ["sessions", "sweep", "--set", "retention.sessionsPerTenant=1"];
    expect((await plimsoll(...one, "--dry-run")).stdout).toContain(": 1 of 0.01 MiB would go");
    await plimsoll("sessions", "hold", sessionId);
    expect((await plimsoll(...one)).stdout).toContain("are gone, 1 on hold");
    await plimsoll("sessions", "release", sessionId);
    expect((await plimsoll("sessions", "delete", sessionId)).stdout).toMatch(/: [4-9] files, /);
    expect((await plimsoll("sessions", "list")).stdout).toContain("There is no session in ");
  }, 90_000);
});

describe("ago", () => {
  it("is in whole ones of the largest unit", () => {
    const told = [0, 59_999, 60_000, 3_599_999, 7_200_000, 200_000_000].map((ms) => ago(0, ms));
    expect(told).toEqual(["now", "now", "1m", "59m", "2h", "2d"]);
    expect(ago(10, 0)).toBe("now");
  });
});
