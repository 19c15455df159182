/**
 * Goal: what binds is the least room, wherever that is: gate and guard see it whichever limit is the
 * smallest.
 * Method: real files of a group in a slice on a machine, read as the server reads them.
 */

import { describe, expect, it } from "vitest";
import { memoryLimitReader, readMemoryLimit } from "../../src/capacity/memory-limit.ts";
import { MemoryMeter, type MeteredLimit, usedBytesOf } from "../../src/capacity/memory-reading.ts";
import { mount2, writeTree } from "./system-tree.ts";

const MiB = 2 ** 20;
const NONE_MEASURED = { serverBytes: 0, agentsBytes: 0 };
const TOTAL_BYTES = 8192 * MiB;

interface Holdings {
  readonly ownMib: number;
  readonly sliceMib: number;
  readonly availableMib: number;
}

/** A service that may hold 1 GiB, in a slice that may hold 2. */
function filesOf({ ownMib, sliceMib, availableMib }: Holdings) {
  const group = (path: string, limit: string, usedMib: number) => ({
    [`sys/fs/cgroup${path}/memory.max`]: limit,
    [`sys/fs/cgroup${path}/memory.high`]: "max",
    [`sys/fs/cgroup${path}/memory.current`]: String(usedMib * MiB),
    [`sys/fs/cgroup${path}/memory.stat`]: "active_file 0\ninactive_file 0\nslab_reclaimable 0\n",
  });
  return {
    "proc/self/mountinfo": mount2("/sys/fs/cgroup"),
    "proc/self/cgroup": "0::/app.slice/plimsoll.service\n",
    "proc/meminfo": `MemTotal: 8388608 kB\nMemAvailable: ${availableMib * 1024} kB\n`,
    ...group("/app.slice/plimsoll.service", String(1024 * MiB), ownMib),
    ...group("/app.slice", String(2048 * MiB), sliceMib),
  };
}

function roomMib(meter: MemoryMeter, limit: MeteredLimit, agentsBytes = 0): number {
  return (limit.bytes - usedBytesOf(meter.read(limit), { ...NONE_MEASURED, agentsBytes })) / MiB;
}

/** What is free for a server that starts there. */
function roomIn(holdings: Holdings, explicitBytes: number | null = null): number {
  using tree = writeTree(filesOf(holdings));
  const limit = readMemoryLimit({ root: tree.root, explicitBytes, totalMemoryBytes: TOTAL_BYTES });
  return roomMib(new MemoryMeter(tree.root), limit);
}

describe("the room of a group in a slice on a machine", () => {
  it.each([
    ["its own", { ownMib: 100, sliceMib: 500, availableMib: 6000 }, 924],
    ["that of the slice", { ownMib: 100, sliceMib: 2040, availableMib: 6000 }, 8],
    ["that of the machine", { ownMib: 100, sliceMib: 500, availableMib: 40 }, 40],
    ["none, and less", { ownMib: 100, sliceMib: 2060, availableMib: 6000 }, -12],
  ])("is the least there is: %s", (_, holdings, room) => {
    expect(roomIn(holdings)).toBe(room);
  });

  it("is the least beside a setting as well", () => {
    const at = { ownMib: 100, sliceMib: 2040, availableMib: 6000 };
    expect(roomIn(at, 512 * MiB)).toBe(8);
    expect(roomIn({ ...at, sliceMib: 500 }, 512 * MiB)).toBe(412);
  });

  it("follows what is used below it at each look, though it is not looked at each time", () => {
    const holdings = { ownMib: 100, sliceMib: 2000, availableMib: 6000 };
    using tree = writeTree(filesOf(holdings));
    const limits = { root: tree.root, explicitBytes: null, totalMemoryBytes: TOTAL_BYTES };
    const readLimit = memoryLimitReader(limits);
    const limit = readLimit();
    let nowMs = 0;
    const meter = new MemoryMeter(tree.root, () => nowMs);
    expect(roomMib(meter, limit)).toBe(48);
    tree.write(filesOf({ ...holdings, ownMib: 130, sliceMib: 2030 }));
    nowMs += 20;
    expect(roomMib(meter, limit), "we grew").toBe(18);
    tree.write(filesOf({ ...holdings, ownMib: 130, sliceMib: 2040 }));
    nowMs += 1000;
    expect(roomMib(meter, limit), "others grew").toBe(8);
    tree.write({ "sys/fs/cgroup/app.slice/memory.max": String(3072 * MiB) });
    expect(roomMib(meter, readLimit()), "the slice may hold more").toBe(894);
  });
});

describe("the room of a server with a setting on a machine without groups", () => {
  const limit = (root: string) =>
    readMemoryLimit({ root, explicitBytes: 1024 * MiB, totalMemoryBytes: TOTAL_BYTES });

  it("is what others leave of the machine", () => {
    const status = "RssAnon: 102400 kB\nRssShmem: 0 kB\n";
    const files = (availableMib: number) => ({
      "proc/self/status": status,
      "proc/meminfo": `MemTotal: 8388608 kB\nMemAvailable: ${availableMib * 1024} kB\n`,
    });
    using tree = writeTree(files(6000));
    const room = () => roomMib(new MemoryMeter(tree.root), limit(tree.root), 200 * MiB);
    expect(room()).toBe(724);
    tree.write(files(50));
    expect(room()).toBe(50);
    tree.write({ "proc/meminfo": "MemTotal: 8388608 kB\n" });
    expect(room(), "not told").toBe(724);
  });
});
