/** Goal: people are told what had to go and what is in the way, and nothing where nothing is. */
import { describe, expect, it } from "vitest";
import { tellSweep, tellSweptCopies } from "../../src/server/tell-sweep.ts";
import { NOTHING_SWEPT } from "../../src/session/session-sweeper.ts";

function setUp() {
  const lines: string[] = [];
  const expired: string[] = [];
  const write = (_facts: unknown, text: string) => void lines.push(text);
  const log = { info: write, warn: write, error: write, debug: write };
  const metrics = { sessionExpired: (reason: string) => void expired.push(reason) };
  return { told: { log, metrics } as unknown as Parameters<typeof tellSweep>[1], lines, expired };
}

const session = { tenant: "a", sessionId: "s", lastUseAtMs: 1, bytes: 5 };
const SWEEP = {
  ...NOTHING_SWEPT,
  seen: 3,
  seenBytes: 30,
  swept: [
    { ...session, reason: "idle" as const },
    { ...session, reason: "disk" as const },
  ],
  unreadable: 2,
  failed: 1,
  missingBytes: 7,
};
const TROUBLE = [
  "Sessions had to go and could not be deleted",
  "`retention.keepFree` cannot be kept by deleting sessions: none goes for it",
];

describe("of a sweep", () => {
  it("is told what went, why, and what is in the way", () => {
    const { told, lines, expired } = setUp();
    tellSweep(SWEEP, told);
    expect(expired).toEqual(["idle", "disk"]);
    expect(lines).toEqual([
      "A session had to go",
      "A session had to go",
      "Sessions whose record cannot be read are kept",
      ...TROUBLE,
      "Sessions had to go",
    ]);
  });

  it("is told nothing where nothing had to go", () => {
    const { told, lines, expired } = setUp();
    tellSweep({ ...NOTHING_SWEPT, seen: 3, seenBytes: 30 }, told);
    expect([...lines, ...expired]).toEqual([]);
  });

  it("of copies is told only what is in the way", () => {
    const { told, lines, expired } = setUp();
    tellSweptCopies(SWEEP, 20, told);
    expect(lines).toEqual(TROUBLE);
    expect(expired).toEqual([]);
  });

  it("of copies is told that they take too much, where none of them can go", () => {
    const { told, lines } = setUp();
    const swept = { ...SWEEP, failed: 0, missingBytes: 0 };
    tellSweptCopies({ ...swept, skipped: 1 }, 19, told);
    expect(lines).toEqual([]);
    tellSweptCopies(swept, 19, told);
    expect(lines).toEqual([expect.stringContaining("take more than `sessions.copiesSize`")]);
  });
});
