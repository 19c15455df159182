import { describe, expect, it } from "vitest";

import type { EndVerdict, TreeFacts } from "../../src/agent-process/guard-wire.ts";
import { type GuardAct, type GuardListeners, GuardLink } from "../../src/server/guard-link.ts";

type Log = GuardListeners["telemetry"]["log"];
type Metrics = GuardListeners["telemetry"]["metrics"];

/** A link to a guard that knows one process, with what it has told. */
function linked(processId: string, turnId: string | null) {
  const told = { acts: [] as GuardAct[], lines: [] as object[], shortages: 0 };
  const facts = { kind: "turn", turnId } as TreeFacts;
  const guard = { factsOf: (id: string) => (id === processId ? facts : null) };
  const link = new GuardLink({ capacity: { guard: true } } as never);
  link.listen({
    telemetry: {
      log: { warn: (fields: object) => void told.lines.push(fields) } as unknown as Log,
      metrics: { guardActed() {} } as unknown as Metrics,
    },
    gate: { ranShort: () => void (told.shortages += 1) },
    book: { guardActed: (act) => void told.acts.push(act) },
  });
  link.useCache({ evictOne() {} });
  link.watch({ guard, renewCeilings() {} } as unknown as Parameters<GuardLink["watch"]>[0]);
  return { told, guardOptions: link.guardOptions };
}

function verdictOn(id: string, what: EndVerdict["what"]): EndVerdict {
  return { id, what, bytes: 9, predictedBytes: 5, ceilingBytes: null, reason: "short" };
}

describe("what the guard has ended", () => {
  it.each([
    ["the turn that its process was started for", "a-turn", "a-turn"],
    ["another turn than that, where its process was kept", "a-turn", "the-next-turn"],
    ["a turn where its process was started ahead", "spare-1", "a-turn"],
    ["no turn where its process is at rest", "a-turn", null],
    ["no turn where its process has yet to have one", "spare-1", null],
  ])("is of %s", (_name, processId, turnId) => {
    const { told, guardOptions } = linked(processId, turnId);
    guardOptions.onVerdict(verdictOn(processId, "tool"));
    expect(told.acts).toMatchObject([{ what: "tool", turnId, bytes: 9 }]);
    expect(told.lines).toMatchObject([{ turnId, processId }]);
    expect(told.shortages).toBe(0);
  });
});
