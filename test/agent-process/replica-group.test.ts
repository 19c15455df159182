/**
 * Goal: a server that is measured has a group with its limit wherever one may be made, and no run
 * leaves one for ever.
 */
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readProcessStat } from "../../src/agent-process/proc.ts";
import { makeReplicaGroup } from "../../src/agent-process/replica-group.ts";
import { readGroup, reasonForNoGroups1 } from "../helpers/control-group.ts";
import { fakeCgroup2 } from "./fake-cgroup2.ts";

const MIB = 2 ** 20;
const NAME = /^plimsoll-measure-\d+-\d+$/;

describe("a group for a replica in cgroup v2", () => {
  it("is made where the memory controller is handed down, and has the whole limit", async () => {
    using system = fakeCgroup2();
    writeFileSync(join(system.own, "cgroup.subtree_control"), "memory\n");
    const group = await makeReplicaGroup(512 * MIB, system.root, system.files);
    const [name = ""] = Object.keys(system.groups());
    expect(name).toMatch(NAME);
    expect(system.read(name, "memory.max")).toBe(String(512 * MIB));
    group?.setLimit(300 * MIB);
    expect(system.read(name, "memory.max")).toBe(String(300 * MIB));
    await group?.remove(AbortSignal.timeout(1_000));
    expect(system.groups()).toEqual({});
  });

  it("is none where it is not, and leaves nothing", async () => {
    using system = fakeCgroup2();
    expect(await makeReplicaGroup(512 * MIB, system.root, system.files)).toBeNull();
    expect(system.groups()).toEqual({});
  });

  it("takes the place of those of runs that are gone, and of no other", async () => {
    using system = fakeCgroup2();
    const stat = readProcessStat(process.ppid);
    const names = [`plimsoll-measure-${2 ** 22 + 1}-7`, "plimsoll-measure-x", "other"];
    const living = `plimsoll-measure-${stat?.pid ?? 0}-${stat?.startTicks ?? 0}`;
    for (const name of [...names, living]) system.files.make(join(system.own, name));
    await makeReplicaGroup(512 * MIB, system.root, system.files);
    const left = Object.keys(system.groups()).toSorted();
    expect(left).toEqual(["other", living, "plimsoll-measure-x"].toSorted());
  });
});

const skipped = reasonForNoGroups1();

describe.skipIf(skipped !== null)(`a real group of v1${skipped ? `: ${skipped}` : ""}`, () => {
  it("has the limit, and goes", async () => {
    const group = await makeReplicaGroup(512 * MIB);
    if (group === null) throw new Error("none was made");
    expect(readGroup(group.directory, "memory.limit_in_bytes")).toBe(String(512 * MIB));
    expect(await group.remove(AbortSignal.timeout(10_000))).toBe(true);
    expect(() => readdirSync(group.directory)).toThrow();
  });
});

describe("where there are no groups at all", () => {
  it("is none", async () => {
    using system = fakeCgroup2();
    const empty = join(system.root, "empty");
    mkdirSync(empty);
    expect(await makeReplicaGroup(512 * MIB, empty)).toBeNull();
  });
});
