import { describe, expect, it } from "vitest";
import { KnownMarkers } from "../../src/agent-process/known-markers.ts";
import { type ProcessStat, processTable } from "../../src/agent-process/proc.ts";
import { markedProcesses } from "../../src/agent-process/process-tree.ts";
import { SERVER_ID_MARKER, PROCESS_ID_MARKER } from "../../src/lib/process-markers.ts";

const process = (pid: number, more: Partial<ProcessStat> = {}): ProcessStat => {
  const ids = { pid, parentPid: 1, groupId: pid, sessionId: pid, startTicks: 10, cpuMs: 0 };
  const told = { childCpuMs: 0, hasOwnProgram: true, nameHash: 1, waitsInKernel: false };
  return { ...ids, ...told, ...more };
};

/** Who carries the mark of the turn `t` among these, and whose environments were read for it. */
function countingLook() {
  const environments = new Map<number, string | null>();
  const asked: number[] = [];
  const known = new KnownMarkers((pid) => {
    asked.push(pid);
    return environments.get(pid) ?? null;
  });
  const look = (stats: readonly ProcessStat[], marker = PROCESS_ID_MARKER, value = "t") => {
    asked.length = 0;
    const marked = markedProcesses(processTable(stats), marker as never, value, 0, known);
    return { found: marked.map(({ pid }) => pid), asked: [...asked] };
  };
  return { environments, look };
}

const MARKED = `A=1\0${PROCESS_ID_MARKER}=t\0${SERVER_ID_MARKER}=s\0`;

describe("markedProcesses", () => {
  it("reads the environment of a process once, for whichever marker", () => {
    const { environments, look } = countingLook();
    environments.set(2, MARKED).set(3, "A=1\0");
    expect(look([process(2), process(3)])).toEqual({ found: [2], asked: [2, 3] });
    expect(look([process(2), process(3)])).toEqual({ found: [2], asked: [] });
    const stats = [process(2, { waitsInKernel: true }), process(3)];
    expect(look(stats, SERVER_ID_MARKER, "s")).toEqual({ found: [2], asked: [] });
  });

  it("asks again when one program has become another, which may have another environment", () => {
    const { environments, look } = countingLook();
    environments.set(2, MARKED);
    expect(look([process(2)])).toEqual({ found: [2], asked: [2] });
    environments.set(2, "A=1\0");
    expect(look([process(2, { nameHash: 2 })])).toEqual({ found: [], asked: [2] });
  });

  it("asks none that waits in the kernel before it has come out", () => {
    const { environments, look } = countingLook();
    environments.set(2, MARKED);
    const stuck = process(2, { waitsInKernel: true });
    expect(look([stuck])).toEqual({ found: [], asked: [] });
    expect(look([process(2)])).toEqual({ found: [2], asked: [2] });
    expect(look([stuck])).toEqual({ found: [2], asked: [] });
  });

  it("asks again for another process, after an exec, and where nothing could be read", () => {
    const { environments, look } = countingLook();
    environments.set(2, "").set(3, "A=1\0").set(4, "A=1\0");
    const before = [process(2), process(3, { hasOwnProgram: false }), process(4), process(5)];
    expect(look(before)).toEqual({ found: [], asked: [2, 3, 4, 5] });
    for (const pid of [2, 3, 4, 5]) environments.set(pid, MARKED);
    const after = [process(2), process(3), process(4, { startTicks: 11 }), process(5)];
    expect(look(after)).toEqual({ found: [2, 3, 4, 5], asked: [2, 3, 4, 5] });
    expect(look([])).toEqual({ found: [], asked: [] });
    expect(look([process(2)]), "forgotten with its process").toEqual({ found: [2], asked: [2] });
  });
});
