import { describe, expect, it } from "vitest";
import { SHED_PAUSE_MS, ShedLog } from "../../src/server/shed-log.ts";

function opened() {
  const lines: unknown[] = [];
  const log = new ShedLog({ info: (fields, message) => void lines.push({ message, ...fields }) });
  return { log, lines };
}

describe("ShedLog", () => {
  it("tells that turns are shed once in a while, with how many, however many they are", () => {
    const { log, lines } = opened();
    for (let nowMs = 0; nowMs < 2.5 * SHED_PAUSE_MS; nowMs += 1) {
      log.decided(true, `full at ${nowMs}`, nowMs);
      // One that has ended makes room for another.
      if (nowMs % 1000 === 0) log.decided(false, "admitted", nowMs);
    }
    const message = "Turns are shed";
    expect(lines).toEqual([
      { message, shed: 1, decision: "full at 0" },
      { message, shed: SHED_PAUSE_MS, decision: `full at ${SHED_PAUSE_MS}` },
      { message, shed: SHED_PAUSE_MS, decision: `full at ${2 * SHED_PAUSE_MS}` },
    ]);
  });

  it("tells with the first that is admitted when none has been shed for a while", () => {
    const { log, lines } = opened();
    log.decided(false, "admitted", 0);
    log.decided(true, "full", 1);
    log.decided(true, "full", 2);
    log.decided(false, "admitted", SHED_PAUSE_MS);
    expect(lines).toHaveLength(1);
    for (const nowMs of [0, 1]) log.decided(false, "room", SHED_PAUSE_MS + 2 + nowMs);
    log.decided(true, "full again", SHED_PAUSE_MS + 4);
    expect(lines).toEqual([
      { message: "Turns are shed", shed: 1, decision: "full" },
      { message: "Turns are no longer shed", shed: 1, decision: "room" },
      { message: "Turns are shed", shed: 1, decision: "full again" },
    ]);
  });
});
