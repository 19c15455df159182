/**
 * Goal: `plimsoll measure` gives a profile that can be relied on, teaches the server, and leaves
 * nothing behind, however it ends.
 * Method: the built program on an example agent; what is left is looked up in `/proc` and in the
 * control groups.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CapacityView } from "../../src/http/server-parts.ts";
import { type Profile, readProfile } from "../../src/sizing/profile.ts";
import { HELLO_AGENT, run, type Running, start } from "../cli/plimsoll.ts";
import { until } from "../helpers/leaks.ts";

const MIB = 2 ** 20;
const PROFILE = "hello.profile.json";
/** A step takes seconds, but for a machine that has much else to do. */
const STEP_LIMIT_MS = 120_000;
const RUN_LIMIT_MS = 600_000;

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll-e2e-"));
});
afterAll(() => rm(directory, { recursive: true }));

/** A run with a place of its own for what it has for the time being. */
async function place(name: string) {
  const own = join(directory, name);
  await mkdir(join(own, "t"), { recursive: true });
  return { directory: own, environment: { TMPDIR: join(own, "t") } };
}

async function says(running: Running, text: string): Promise<void> {
  await until(() => running.stderr().includes(text), `"${text}"`, STEP_LIMIT_MS);
}

/** Those that were told of the place, by whatever name: our server, its agents, their tools. */
function processesIn(own: string): readonly string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => textOf(`/proc/${pid}/environ`).includes(join(own, "t")))
    .map((pid) => textOf(`/proc/${pid}/cmdline`))
    .filter((command) => command !== "");
}

function textOf(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch {
    return "";
  }
}

/** Of runs that this test has started: others measure too. */
function groupsOf(pid: number): readonly string[] {
  const own = /^\d+:memory:(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1] ?? "/";
  const parents = [join("/sys/fs/cgroup/memory", own), "/sys/fs/cgroup/memory", "/sys/fs/cgroup"];
  return parents
    .filter((parent) => existsSync(parent))
    .flatMap((parent) => readdirSync(parent))
    .filter((name) => name.startsWith(`plimsoll-measure-${pid}-`));
}

async function nothingIsLeft(own: string, pid: number): Promise<void> {
  await until(() => processesIn(own).length === 0, "all processes to be gone");
  await until(() => groupsOf(pid).length === 0, "the control group to be gone");
}

const QUICK = ["measure", HELLO_AGENT, "--quick"];

describe("a measurement", () => {
  let first: Profile;

  it(
    "that is interrupted leaves nothing running, and is gone on with",
    { timeout: RUN_LIMIT_MS },
    async () => {
      const where = await place("interrupted");
      const own = where.directory;
      const cut = start(QUICK, where);
      await says(cut, "3/7");
      expect(processesIn(own).length).toBeGreaterThan(0);
      cut.signal("SIGINT");
      const { code } = await cut.exited;
      expect(code, cut.stderr()).toBe(130);
      await nothingIsLeft(own, cut.pid);
      expect(readdirSync(join(own, "t"))).toEqual([]);
      expect(existsSync(join(own, `${PROFILE}.partial`))).toBe(true);
      expect(existsSync(join(own, PROFILE))).toBe(false);

      const again = start(QUICK, where);
      await says(again, "Going on: 2 steps were done");
      const ended = await again.exited;
      expect(ended.code, ended.stderr).toBe(0);
      expect(ended.stderr).not.toContain("2/7");
      await nothingIsLeft(own, again.pid);
      expect(readdirSync(join(own, "t"))).toEqual([]);
      expect(existsSync(join(own, `${PROFILE}.partial`))).toBe(false);

      const read = await readProfile(PROFILE, own);
      expect(read.warnings).toEqual([]);
      first = read.profile;
      expect(first.agent.name).toBe("hello");
      expect(first.model).toBe("rehearsal");
      expect(first.turn.peak.medianBytes).toBeGreaterThan(60 * MIB);
      expect(first.turn.peak.medianBytes).toBeLessThan(250 * MIB);
      expect(first.turn.cpuMs).toBeGreaterThan(first.start.cpuMs / 4);
      expect(first.turn.bytesPerCarriedByte).toBeGreaterThan(2);
      expect(ended.stdout).toContain("One turn of `hello` holds");
      expect(ended.stdout).toContain("formula");
    },
  );

  it("is the prior from which the server starts", async () => {
    const where = await place("interrupted");
    await using server = start(["serve", HELLO_AGENT, "--rehearse", "--port", "0"], where);
    await server.prints('"msg":"Ready for turns"');
    const url = /"url":"(http:[^"]+)"/.exec(server.stdout())?.[1] ?? "";
    const view = (await (await fetch(`${url}/capacity`)).json()) as CapacityView;
    const { source, samples, largestBytes } = view.footprints["hello"] ?? {};
    expect(source).toBe("learned");
    expect(samples).toBeGreaterThanOrEqual(first.turn.turns);
    expect(largestBytes).toBeGreaterThanOrEqual(first.turn.peak.mostBytes);
  });

  it("agrees with another one about memory", { timeout: RUN_LIMIT_MS }, async () => {
    const where = await place("again");
    const flags = ["--no-prior", "--format", "json", "--output", "other.json"];
    const { code, stdout, stderr } = await run([...QUICK, ...flags], where);
    expect(code, stderr).toBe(0);
    const { profile } = JSON.parse(stdout) as { readonly profile: Profile };
    const { profile: written } = await readProfile("other.json", where.directory);
    expect(written).toEqual(profile);
    const ratio = profile.turn.peak.meanBytes / first.turn.peak.meanBytes;
    expect(Math.abs(ratio - 1)).toBeLessThan(0.1);
    expect(existsSync(join(where.directory, ".plimsoll"))).toBe(false);
  });
});

describe("a place for the profile that is not there", () => {
  it("is told before anything is started", async () => {
    const where = await place("nowhere");
    const { code, stderr } = await run([...QUICK, "--output", "none/p.json"], where);
    expect(code).toBe(69);
    expect(stderr).toMatch(/Cannot write what was measured: ENOENT/);
    expect(stderr).not.toContain("1/7");
  });
});

describe("a limit", () => {
  it("in which no turn fits is refused with the smallest that works", async () => {
    const where = await place("small");
    const cut = start([...QUICK, "--memory", "150MiB"], where);
    const { code, stderr } = await cut.exited;
    expect(code).toBe(78);
    const said =
      /within 150 MiB: the server holds (\d+) MiB and a turn (\d+) MiB; the smallest limit that works is (\d+) MiB/;
    const [server = 0, turn = 0, smallest = 0] = (said.exec(stderr) ?? []).slice(1).map(Number);
    expect(turn, stderr).toBeGreaterThan(0);
    // Beside both the program text that turns share, of more than 100 MiB, has to be in memory.
    expect(smallest - server - turn).toBeGreaterThan(170);
    await nothingIsLeft(where.directory, cut.pid);
  });
});

const canTie = spawnSync("setpriv", ["--pdeathsig", "TERM", "true"]).status === 0;

describe("a measurement that is killed", () => {
  it.skipIf(!canTie)("takes the server with it, and its group goes with the next", async () => {
    const where = await place("killed");
    const killed = start(QUICK, where);
    await says(killed, "2/7");
    killed.signal("SIGKILL");
    await killed.exited;
    await until(() => processesIn(where.directory).length === 0, "all processes to be gone");

    const next = start([...QUICK, "--memory", "150MiB"], where);
    await next.exited;
    await nothingIsLeft(where.directory, killed.pid);
    await nothingIsLeft(where.directory, next.pid);
  });
});
