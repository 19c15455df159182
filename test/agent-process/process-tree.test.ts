import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { ForkedMemory } from "../../src/agent-process/forked-memory.ts";
import type { ProcessStat } from "../../src/agent-process/proc.ts";
import {
  isAlive,
  parseProcessStat,
  processTable,
  readForkedBytes,
  readPrivateBytes,
  readProcessStat,
  readProcessTable,
  readVariable,
  signalProcess,
} from "../../src/agent-process/proc.ts";
import { grownMembers, ProcessTree, toolsOf } from "../../src/agent-process/process-tree.ts";

const stat = (pid: number, parentPid: number, startTicks: number): ProcessStat => ({
  pid,
  parentPid,
  startTicks,
  hasOwnProgram: true,
  nameHash: 1,
  waitsInKernel: false,
  groupId: pid,
  sessionId: pid,
  cpuMs: 0,
  childCpuMs: 0,
});
const pidsOf = (members: ReadonlyMap<number, unknown>): number[] =>
  [...members.keys()].toSorted((a, b) => a - b);

describe("grownMembers", () => {
  it("takes in all descendants and nobody else", () => {
    const table = processTable([stat(2, 1, 10), stat(3, 2, 11), stat(4, 3, 12), stat(5, 1, 13)]);
    expect(pidsOf(grownMembers([stat(2, 1, 10)], table))).toEqual([2, 3, 4]);
  });

  it("keeps a member that was given to init, with its later children", () => {
    const table = processTable([stat(3, 1, 11), stat(6, 3, 20)]);
    const members = [stat(2, 1, 10), stat(3, 2, 11)];
    expect(pidsOf(grownMembers(members, table))).toEqual([3, 6]);
  });

  it("drops a pid that now belongs to another process, and its children", () => {
    const table = processTable([stat(2, 1, 99), stat(3, 2, 100)]);
    expect(pidsOf(grownMembers([stat(2, 1, 10)], table))).toEqual([]);
    expect(isAlive(stat(2, 1, 10), table)).toBe(false);
    expect(isAlive(stat(2, 1, 99), table)).toBe(true);
  });
});

describe("ProcessTree", () => {
  it("takes in the marked as new members, with their descendants", () => {
    const tree = new ProcessTree("turn", stat(2, 1, 10));
    const table = processTable([stat(2, 1, 10), stat(7, 1, 12), stat(8, 7, 13)]);
    expect(tree.grow(table, [stat(7, 1, 12)])).toEqual([stat(7, 1, 12), stat(8, 7, 13)]);
  });

  it("keeps what another thread found, until it looks itself", () => {
    const tree = new ProcessTree("turn", stat(2, 1, 10));
    const sample = { currentBytes: 9, peakBytes: 20, agentBytes: 4, toolBytes: 5, cpuMs: 7 };
    tree.adopt(sample, [
      { pid: 2, startTicks: 10 },
      { pid: 7, startTicks: 12 },
    ]);
    tree.adopt({ ...sample, peakBytes: 9, cpuMs: 3 }, null);
    expect(tree.sample).toEqual(sample);
    expect(tree.members.map(({ pid }) => pid)).toEqual([2, 7]);
    // The orphan has no mark and no parent here, and is a member all the same.
    expect(tree.grow(processTable([stat(7, 1, 12), stat(8, 7, 13)]))).toEqual([stat(8, 7, 13)]);
    expect(tree.members).toEqual([stat(7, 1, 12), stat(8, 7, 13)]);
  });

  it("tells the peak of a new turn alone", () => {
    const tree = new ProcessTree("turn", stat(2, 1, 10));
    const sample = { currentBytes: 9, peakBytes: 20, agentBytes: 4, toolBytes: 5, cpuMs: 7 };
    tree.adopt(sample, null);
    tree.forgetPeak();
    expect(tree.peakBytes).toBe(9);
    tree.adopt({ ...sample, currentBytes: 11, peakBytes: 12 }, null);
    expect(tree).toMatchObject({ currentBytes: 11, peakBytes: 12 });
  });

  it("tells nothing of a turn before, of which another thread has told already", () => {
    const [thread, main] = [new ProcessTree("turn", null), new ProcessTree("turn", null)];
    const seen = (bytes: number) => ({
      currentBytes: bytes,
      peakBytes: bytes,
      agentBytes: bytes,
      toolBytes: 0,
      cpuMs: 0,
    });
    const tell = () => {
      main.adopt(thread.sample ?? seen(0), null);
      thread.toldPeak();
    };
    thread.adopt(seen(900), null);
    tell();
    // The tool has ended, the main thread has looked, and the next turn begins.
    main.adopt(seen(130), null);
    main.forgetPeak();
    thread.adopt(seen(130), null);
    tell();
    expect(main.peakBytes).toBe(130);
  });

  it("stays empty and silent where the system does not tell", () => {
    const tree = new ProcessTree("turn", null);
    expect(tree.grow(processTable([]))).toEqual([]);
    tree.measure();
    expect(tree).toMatchObject({ members: [], currentBytes: null, peakBytes: null });
  });

  it("tells who is new, also under an old pid", () => {
    const tree = new ProcessTree("turn", stat(2, 1, 10));
    expect(tree.grow(processTable([stat(2, 1, 10), stat(3, 2, 11)]))).toEqual([stat(3, 2, 11)]);
    expect(tree.grow(processTable([stat(2, 1, 10), stat(3, 2, 11)]))).toEqual([]);
    expect(tree.grow(processTable([stat(2, 1, 10), stat(3, 2, 50)]))).toEqual([stat(3, 2, 50)]);
  });
});

describe("toolsOf", () => {
  const toolsBelow = (members: readonly ProcessStat[]) => {
    const all = new Map(members.map((member) => [member.pid, member]));
    const tools = toolsOf(stat(2, 1, 10), all).map(
      ({ id, members: those }) => [id, those.map(({ pid }) => pid)] as const,
    );
    return Object.fromEntries(tools);
  };
  const inSession = (member: ProcessStat, sessionId: number) => ({ ...member, sessionId });

  it("puts what the process started with all that is below it", () => {
    const members = [stat(2, 1, 10), stat(3, 2, 11), stat(4, 3, 12), stat(5, 2, 13)];
    expect(toolsBelow(members)).toEqual({ 3: [3, 4], 5: [5] });
  });

  it("puts an orphan with the tool whose session it is in", () => {
    const members = [stat(2, 1, 10), stat(3, 2, 11), inSession(stat(4, 1, 12), 3)];
    expect(toolsBelow(members)).toEqual({ 3: [3, 4] });
  });

  it("puts all others that lost their first process together", () => {
    const members = [
      stat(2, 1, 10),
      stat(3, 2, 11),
      stat(4, 1, 12),
      stat(5, 4, 13),
      stat(6, 1, 14),
    ];
    expect(toolsBelow(members)).toEqual({ 3: [3], 4: [4, 5, 6] });
  });

  it("takes no longer for each the more there are", () => {
    const swarm = Array.from({ length: 20_000 }, (_, index) => stat(4 + index, 3, 12));
    const before = process.cpuUsage();
    expect(toolsBelow([stat(2, 1, 10), stat(3, 2, 11), ...swarm])[3]).toHaveLength(20_001);
    const { user, system } = process.cpuUsage(before);
    // Measured: 30 ms; and 10 s where each copied those before it.
    expect((user + system) / 1000).toBeLessThan(3000);
  });

  it("comes to an end when a torn table shows a circle", () => {
    expect(toolsBelow([stat(2, 1, 10), stat(3, 4, 11), stat(4, 3, 12)])).toEqual({
      3: [3, 4],
    });
  });
});

describe("parseProcessStat", () => {
  const rest = "5 5 0 -1 4194304 0 0 0 0 1 2 3 4 20 0 7 0 4711 9000 100";
  const parse = (line: string) => parseProcessStat(Buffer.from(line, "latin1"));

  it("reads a line with any name in it", () => {
    expect(parse(`42 (a) S 7 ) R (x) S 5 ${rest}`)).toEqual({
      pid: 42,
      parentPid: 5,
      hasOwnProgram: true,
      nameHash: expect.any(Number) as number,
      groupId: 5,
      sessionId: 5,
      cpuMs: 30,
      childCpuMs: 70,
      startTicks: 4711,
      waitsInKernel: false,
    });
  });

  it("reads any numbers", () => {
    const fields = fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 }), {
      minLength: 19,
      maxLength: 49,
    });
    fc.assert(
      fc.property(fc.nat(), fc.string(), fields, (pid, name, numbers) => {
        numbers[5] = 0x40_0000;
        expect(parse(`${pid} (${name}) S ${numbers.join(" ")}\n`)).toEqual({
          pid,
          parentPid: numbers[0],
          groupId: numbers[1],
          sessionId: numbers[2],
          cpuMs: ((numbers[10] ?? 0) + (numbers[11] ?? 0)) * 10,
          childCpuMs: ((numbers[12] ?? 0) + (numbers[13] ?? 0)) * 10,
          startTicks: numbers[18],
          hasOwnProgram: true,
          nameHash: expect.any(Number) as number,
          waitsInKernel: false,
        });
      }),
    );
  });

  it("tells one program from another", () => {
    const hashOf = (name: string) => parse(`42 (${name}) S 5 ${rest}`)?.nameHash;
    expect(hashOf("env")).toBe(hashOf("env"));
    const names = ["env", "setsid", "sleep", "sh", "", "a) S 7"];
    expect(new Set(names.map(hashOf)).size).toBe(names.length);
  });

  it("tells a process that only forked", () => {
    const forked = rest.replace("4194304", "4194368");
    expect(parse(`42 (sh) S 5 ${forked}`)?.hasOwnProgram).toBe(false);
  });

  it("tells one that waits where nothing can interrupt it", () => {
    expect(parse(`42 (sh) D 5 ${rest}`)?.waitsInKernel).toBe(true);
    expect(parse(`42 (D) R 5 ${rest}`)?.waitsInKernel).toBe(false);
  });

  it("takes zombies, cut lines and threads of the kernel for gone", () => {
    const ofOneThread = rest.replace(" 0 7 0 ", " 0 1 0 ");
    expect(parse(`42 (sh) Z 5 ${ofOneThread}`)).toBeNull();
    expect(parse(`42 (sh) X 5 ${rest}`)).toBeNull();
    expect(parse("42 (sh) S 5 5")).toBeNull();
    expect(parse(`42 (sh) S 5 ${rest.slice(0, rest.indexOf(" 4711"))}`)).toBeNull();
    expect(parse("")).toBeNull();
    expect(parse(`2 (kthreadd) S 0 ${rest.replace("4194304", "2129984")}`)).toBeNull();
  });

  it("takes a zombie for alive while other threads of its process are", () => {
    expect(parse(`42 (sh) Z 5 ${rest}`)).toMatchObject({ pid: 42 });
  });
});

describe("ProcessTree.measure", () => {
  it("counts the pages of a process that only forked once", async () => {
    // A subshell shows all that the shell holds, and so does anything between its fork and exec.
    const hold = "x=$(head -c 60000000 /dev/zero | tr '\\0' a); (sleep 20; :) & echo; wait";
    const child = spawn("bash", ["-c", hold], { stdio: ["ignore", "pipe", "ignore"] });
    try {
      await once(child.stdout, "data");
      const tree = new ProcessTree("turn", readProcessStat(child.pid ?? 0));
      tree.grow(readProcessTable());
      tree.measure();
      expect(tree.members.length).toBeGreaterThanOrEqual(2);
      expect(tree.sample?.agentBytes).toBeGreaterThan(55e6);
      expect(tree.sample?.toolBytes).toBeLessThan(20e6);
      const forked = new ForkedMemory();
      for (const nowMs of [0, 1000, 10_000]) {
        forked.beginLook(nowMs);
        tree.measure(forked);
        expect(tree.sample?.agentBytes).toBeGreaterThan(55e6);
        expect(tree.sample?.toolBytes, `after ${nowMs} ms`).toBeLessThan(20e6);
      }
      for (const member of tree.members) signalProcess(member, "SIGKILL");
    } finally {
      child.kill("SIGKILL");
    }
  });
});

const HAS_PERL = spawnSync("perl", ["-e", "1"]).status === 0;
const WORKER_MIB = 24;
/** Three workers, each with so much of its own: copied from what was there, or new. */
const FORKS = `
  $| = 1;
  my $size = ${WORKER_MIB} << 20;
  my $held = $ARGV[0] eq "copies" ? "a" x $size : "";
  pipe(my $read, my $write);
  for (1 .. 3) {
    next if fork();
    if ($ARGV[0] eq "copies") { for (my $i = 0; $i < $size; $i += 4096) { substr($held, $i, 1, "b") } }
    else { $held = "a" x $size }
    syswrite($write, "x"); sleep(30); exit;
  }
  sysread($read, my $x, 1) for 1 .. 3;
  $held = "a" x $size if $ARGV[0] eq "new";
  print "ready\n"; sleep(30);
`;

describe.skipIf(!HAS_PERL)("ProcessTree.measure, of forked workers", () => {
  it.each(["copies", "new"])("counts what each holds of its own (%s)", async (kind) => {
    const child = spawn("perl", ["-e", FORKS, kind], { stdio: ["ignore", "pipe", "ignore"] });
    const tree = new ProcessTree("turn", readProcessStat(child.pid ?? 0));
    try {
      await once(child.stdout, "data");
      const forked = new ForkedMemory();
      for (const nowMs of [0, 1000, 10_000]) {
        tree.grow(readProcessTable());
        forked.beginLook(nowMs);
        tree.measure(forked);
      }
      const bytes = tree.members.map(({ pid }) => readForkedBytes(pid));
      const held = bytes.reduce(
        (sum, each) => sum + (each?.privateBytes ?? 0) + (each?.sharedPartBytes ?? 0),
        0,
      );
      expect(tree.members).toHaveLength(4);
      expect(held).toBeGreaterThan(4 * WORKER_MIB * 2 ** 20);
      expect(tree.sample?.currentBytes).toBeGreaterThan(0.9 * held);
      expect(tree.sample?.currentBytes).toBeLessThan(1.1 * held);
      expect(tree.sample?.toolBytes).toBeGreaterThan(3 * WORKER_MIB * 2 ** 20);
    } finally {
      for (const member of tree.members) signalProcess(member, "SIGKILL");
      child.kill("SIGKILL");
    }
  });
});

describe("the reading of /proc", () => {
  it("knows this process, and leaves it out of the table", () => {
    const own = readProcessStat(process.pid);
    expect(own).toMatchObject({ pid: process.pid, parentPid: process.ppid });
    const table = readProcessTable();
    expect(table.byPid.has(process.pid)).toBe(false);
    expect(table.byPid.has(process.ppid)).toBe(true);
    expect(readPrivateBytes(process.pid)).toBeGreaterThan(10e6);
  });

  it("reads a variable by its whole name", () => {
    expect(readVariable(process.pid, "PATH")).toBe(process.env["PATH"]);
    expect(readVariable(process.pid, "ATH")).toBeNull();
    expect(readVariable(2 ** 30, "PATH")).toBeNull();
  });

  it("signals nobody under a pid whose process is another now", () => {
    const own = { pid: process.pid, startTicks: 1 };
    expect(signalProcess(own, "SIGKILL")).toBe(false);
    expect(signalProcess({ pid: 2 ** 30, startTicks: 1 }, "SIGKILL")).toBe(false);
  });
});
