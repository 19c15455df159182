/**
 * Goal: the protocol fits the agent, and the bursts end where something binds.
 */
import { describe, expect, it } from "vitest";
import { boundOf, canMeasure, protocolFor } from "../../../src/sizing/measure/protocol.ts";
import { measureScript } from "../../../src/sizing/measure/rehearsal-script.ts";
import { RehearsalScriptSchema } from "../../../src/rehearsal/script.ts";

type Agent = Parameters<typeof protocolFor>[0];

function agent(pattern: Agent["hosting"]["pattern"], maxBytes = 2 ** 30): Agent {
  return {
    hosting: { pattern, stayMs: 0, spares: 0, clientWaitMs: 0 },
    limits: {
      steps: 1,
      turnTimeMs: 1,
      stallTimeMs: 1,
      transcript: { maxBytes, whenFull: "shorten" },
    },
  };
}

describe("the protocol", () => {
  const full = { isQuick: false, isClaude: false };

  it("resumes no transcript that the agent would not", () => {
    const { transcripts } = protocolFor(agent("hybrid", 3 * 2 ** 20), full);
    expect(transcripts).toEqual([0, 2 ** 20, 2 * 2 ** 20]);
  });

  it("has neither transcripts nor idle sessions where none are kept, and says so", () => {
    const { transcripts, idleSessions, notes } = protocolFor(agent("ephemeral"), full);
    expect([transcripts, idleSessions]).toEqual([[], 0]);
    expect(notes.join()).toMatch(/ephemeral/);
  });

  it("is a few minutes, quick about one", () => {
    const all = (isQuick: boolean) => {
      const { secondsOf } = protocolFor(agent("hybrid"), { isQuick, isClaude: false });
      return Object.values(secondsOf).reduce((sum, each) => sum + each, 0);
    };
    expect(all(false)).toBeLessThan(240);
    expect(all(true)).toBeLessThan(75);
  });

  it("asks Claude for less", () => {
    const claude = protocolFor(agent("hybrid"), { isQuick: false, isClaude: true });
    expect(Math.max(...claude.burstSizes)).toBe(4);
    expect(claude.transcripts).toEqual([]);
  });

  it("is for agents whose turns have a process each", () => {
    expect(canMeasure(agent("hybrid"))).toBe(true);
    expect(canMeasure(agent("long-running"))).toBe(false);
    expect(canMeasure(agent("single-container"))).toBe(false);
  });
});

describe("the end of the bursts", () => {
  const one = { starts: 1, shed: {}, modelTroubles: 0, firstTokenMs: [500] };
  const four = { starts: 4, shed: {}, modelTroubles: 0, firstTokenMs: [600, 700, 900, 1_200] };

  it("is not yet come while all start in time", () => {
    expect(boundOf([])).toBeNull();
    expect(boundOf([one])).toBeNull();
    expect(boundOf([one, four])).toBeNull();
  });

  it("is CPU when starts wait for each other", () => {
    expect(boundOf([one, { ...four, firstTokenMs: [600, 2_100] }])).toBe("cpu");
    expect(boundOf([one, { ...four, shed: { start: 1 } }])).toBe("cpu");
  });

  it("is memory when the gate says so, and the model when it refuses", () => {
    expect(boundOf([one, { ...four, shed: { memory: 2 } }])).toBe("memory");
    expect(boundOf([one, { ...four, modelTroubles: 1 }])).toBe("model");
  });
});

describe("the script", () => {
  it("is one as users write them", () => {
    expect(RehearsalScriptSchema.safeParse(measureScript(4_000)).success).toBe(true);
  });
});
