/**
 * Goal: whoever reads a profile knows when the machine was busy with something else, or did not say
 * how much memory there is.
 */
import { totalmem } from "node:os";
import { describe, expect, it } from "vitest";
import {
  busyNotesNow,
  groupLimitOf,
  limitNotes,
  unreadNotes,
} from "../../../src/sizing/measure/facts.ts";
import { mount2, writeTree } from "../../capacity/system-tree.ts";

describe("a busy machine", () => {
  it("is named with its load, and a quiet one is not", () => {
    expect(busyNotesNow(0)).toEqual([]);
    expect(busyNotesNow(1_000.26)).toEqual([expect.stringContaining("load 1000.3 on ")]);
  });
});

describe("the limit of the group", () => {
  it("is never more than there is", () => {
    expect(groupLimitOf({ limitBytes: 2 ** 30 })).toBe(2 ** 30);
    expect(groupLimitOf({ limitBytes: 2 ** 50 })).toBeLessThanOrEqual(totalmem());
    expect(groupLimitOf({})).toBeLessThan(totalmem());
  });

  it("is said to be the machine's where no group's can be read", () => {
    using system = writeTree({
      "proc/meminfo": "MemTotal: 4194304 kB\n",
      "proc/self/mountinfo": mount2("/sys/fs/cgroup"),
      "proc/self/cgroup": "0::/\n",
      "sys/fs/cgroup/memory.max": "lots\n",
    });
    expect(unreadNotes({}, system.root)).toEqual([
      expect.stringMatching(/^No memory limit could be read \(.*memory\.max.*4,096 MiB\. --memory/),
    ]);
    // Who says a limit knows it.
    expect(unreadNotes({ limitBytes: 2 ** 30 }, system.root)).toEqual([]);
    using plain = writeTree({ "proc/meminfo": "MemTotal: 4194304 kB\n" });
    expect(unreadNotes({}, plain.root)).toEqual([
      expect.stringContaining("no memory limits to read"),
    ]);
  });

  it("is told where less could be had than was asked for", () => {
    expect(limitNotes({ limitBytes: 2 ** 50 })).toEqual([
      expect.stringMatching(/it was [\d,]+ MiB$/),
    ]);
    expect(limitNotes({ limitBytes: 2 ** 30 })).toEqual([]);
    expect(limitNotes({})).toEqual([]);
  });
});
