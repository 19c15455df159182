import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  type PressureOptions,
  readMemoryAccount,
  readMemoryPressure,
} from "../../src/capacity/memory-pressure.ts";
import { writeTree } from "./system-tree.ts";

type Files = Readonly<Record<string, string>>;
type Whose = "cgroup2" | "cgroup1" | "physical" | "setting";

/** Calls a reader on files that stand for the system's. */
function asked<Answer>(
  read: (options: PressureOptions) => Answer,
  whose: Whose,
  files: Files,
): Answer {
  using tree = writeTree(files);
  const isGroup = whose === "cgroup1" || whose === "cgroup2";
  const group = isGroup ? { version: whose, directory: join(tree.root, "group") } : null;
  return read({ root: tree.root, limit: { kind: whose, group } });
}

const PRESSURE =
  "some avg10=1.00 avg60=0.50 avg300=0.10 total=900\n" +
  "full avg10=0.50 avg60=0.20 avg300=0.05 total=61500\n";

describe("readMemoryPressure", () => {
  it("reads refaults, faults and stalls of the group that sets the limit, in v2", () => {
    const { refaultedPages, majorFaults, stallMs, mappedFileBytes } = asked(
      readMemoryPressure,
      "cgroup2",
      {
        "group/memory.stat":
          "anon 1\nfile_mapped 9\npgmajfault 12\nworkingset_refault_anon 5\nworkingset_refault_file 7\n",
        "group/memory.pressure": PRESSURE,
        "proc/vmstat": "workingset_refault_file 99\npgmajfault 99\n",
        "proc/pressure/memory": PRESSURE.replace("61500", "99000"),
      },
    );
    expect(refaultedPages.value).toBe(7);
    expect(majorFaults.value).toBe(12);
    expect(mappedFileBytes.value).toBe(9);
    expect(stallMs).toEqual({ value: 61.5, source: 'cgroup v2: "full" of memory.pressure' });
  });

  it("reads the totals of the subtree in v1, and no stalls, which are the machine's", () => {
    const { refaultedPages, majorFaults, stallMs, mappedFileBytes } = asked(
      readMemoryPressure,
      "cgroup1",
      {
        "group/memory.stat":
          "workingset_refault_file 1\npgmajfault 2\n" +
          "total_workingset_refault_file 30\ntotal_pgmajfault 40\nmapped_file 3\ntotal_mapped_file 50\n",
        "proc/pressure/memory": PRESSURE,
      },
    );
    expect(refaultedPages.value).toBe(30);
    expect(majorFaults.value).toBe(40);
    expect(mappedFileBytes.value).toBe(50);
    expect(stallMs).toEqual({ value: null, source: "cgroup v1 does not tell it of a group" });
  });

  it("takes the old name of refaults, from before anonymous ones were told", () => {
    const stat = "workingset_refault 8\n";
    const { refaultedPages } = asked(readMemoryPressure, "cgroup2", { "group/memory.stat": stat });
    expect(refaultedPages).toEqual({
      value: 8,
      source: "cgroup v2: workingset_refault of memory.stat",
    });
  });

  it("reads the machine where that is the limit, and its stalls only there", () => {
    const files = {
      "proc/vmstat": "pgmajfault 3\nworkingset_refault_file 4\n",
      "proc/pressure/memory": PRESSURE,
    };
    const machine = asked(readMemoryPressure, "physical", files);
    expect(machine.refaultedPages.value).toBe(4);
    expect(machine.stallMs.value).toBe(61.5);
    const setting = asked(readMemoryPressure, "setting", files);
    expect(setting.majorFaults.value).toBe(3);
    expect(setting.stallMs.value).toBeNull();
  });

  it.each(["cgroup2", "cgroup1", "physical"] as const)(
    "says of each figure that there is none, where no file is there (%s)",
    (whose) => {
      const readings = Object.values(asked(readMemoryPressure, whose, {}));
      expect(readings.map(({ value }) => value)).toEqual([null, null, null, null]);
      for (const { source } of readings) expect(source).toMatch(/missing|does not tell/);
    },
  );

  it("says so when a file has not what it should", () => {
    const { refaultedPages, stallMs } = asked(readMemoryPressure, "cgroup2", {
      "group/memory.stat": "anon 1\n",
      "group/memory.pressure": "some avg10=0.00 total=5\n",
    });
    expect(refaultedPages.value).toBeNull();
    expect(refaultedPages.source).toContain("has no workingset_refault_file");
    expect(stallMs.value).toBeNull();
  });
});

describe("readMemoryAccount", () => {
  it("reads swap, peak, mapped files and events in v2", () => {
    const account = asked(readMemoryAccount, "cgroup2", {
      "group/memory.stat": "file_mapped 80\n",
      "group/memory.swap.current": "5\n",
      "group/memory.peak": "900\n",
      "group/memory.events": "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 0\n",
    });
    expect(account.swapBytes).toEqual({ value: 5, source: "cgroup v2: memory.swap.current" });
    expect(account.peakBytes.value).toBe(900);
    expect(account.mappedFileBytes.value).toBe(80);
    expect(account.events.value).toEqual({ high: 1, max: 2, oom: 3, oomKill: 4 });
  });

  it("reads what v1 has of it", () => {
    const account = asked(readMemoryAccount, "cgroup1", {
      "group/memory.stat": "mapped_file 1\nswap 1\ntotal_mapped_file 80\ntotal_swap 5\n",
      "group/memory.max_usage_in_bytes": "900\n",
      "group/memory.failcnt": "6\n",
      "group/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    });
    expect(account.swapBytes.value).toBe(5);
    expect(account.peakBytes.value).toBe(900);
    expect(account.mappedFileBytes.value).toBe(80);
    expect(account.events.value).toEqual({ high: null, max: 6, oom: null, oomKill: 2 });
  });

  it("reads what a machine has of it", () => {
    const account = asked(readMemoryAccount, "physical", {
      "proc/meminfo": "MemTotal: 9 kB\nMapped: 80 kB\nSwapTotal: 10 kB\nSwapFree: 4 kB\n",
      "proc/vmstat": "pgmajfault 3\noom_kill 2\n",
    });
    expect(account.swapBytes.value).toBe(6 * 1024);
    expect(account.peakBytes.value).toBeNull();
    expect(account.mappedFileBytes.value).toBe(80 * 1024);
    expect(account.events.value?.oomKill).toBe(2);
  });

  it.each(["cgroup2", "cgroup1", "physical"] as const)("has nulls without files (%s)", (whose) => {
    const account = asked(readMemoryAccount, whose, {});
    expect(Object.values(account).map(({ value }) => value)).toEqual([null, null, null, null]);
  });
});
