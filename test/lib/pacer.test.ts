import { describe, expect, it } from "vitest";
import { Pacer, restAfter } from "../../src/lib/pacer.ts";

/**
 * So much CPU, however long others have the core meanwhile, and no less time: the CPU is that of all
 * threads, so that while code is compiled it is used up sooner.
 */
function work(ms: number): void {
  const beganAtMs = performance.now();
  const before = process.cpuUsage();
  for (let usedMs = 0; usedMs < ms;) {
    const { user, system } = process.cpuUsage(before);
    usedMs = Math.min((user + system) / 1_000, performance.now() - beganAtMs);
  }
}

async function timeOf(job: () => Promise<void>): Promise<number> {
  const beganAtMs = performance.now();
  await job();
  return performance.now() - beganAtMs;
}

/** Of five, each of which a busy machine may hold up. */
async function leastTimeOf(job: () => Promise<void>): Promise<number> {
  let leastMs = Infinity;
  for (let times = 0; times < 5; times += 1) leastMs = Math.min(leastMs, await timeOf(job));
  return leastMs;
}

describe("Pacer", () => {
  it("rests so long that the work is its share of the time", async () => {
    const pacer = new Pacer(0.25);
    const elapsedMs = await timeOf(async () => {
      for (let step = 0; step < 40; step += 1) {
        work(2);
        await pacer.pause();
      }
    });
    // 80 ms of work, the last stretch of which may have had no rest yet.
    expect(elapsedMs).toBeGreaterThan(4 * (80 - 6) - 5);
  });

  it("does not rest at all at 1, nor after next to no work", async () => {
    const all = new Pacer(1);
    const restMs = await leastTimeOf(async () => {
      work(20);
      await all.pause();
    });
    expect(restMs).toBeLessThan(150);
    expect(await leastTimeOf(() => new Pacer(0.001).pause())).toBeLessThan(100);
  });

  it("rests for the CPU that was used, and not for a core that was waited for", () => {
    // Alone on its core, and beside others that have it for nine tenths of the time.
    expect(restAfter({ elapsedMs: 10, cpuMs: 10 }, 0.05)).toBe(190);
    expect(restAfter({ elapsedMs: 100, cpuMs: 10 }, 0.05)).toBe(100);
    expect(restAfter({ elapsedMs: 100, cpuMs: 10 }, 0.5)).toBe(100);
    // Several threads at work at once.
    expect(restAfter({ elapsedMs: 10, cpuMs: 20 }, 0.25)).toBe(70);
    expect(restAfter({ elapsedMs: 10, cpuMs: 20 }, 1)).toBe(0);
  });

  it("rests for a while also where the job does nothing but wait", () => {
    expect(restAfter({ elapsedMs: 100, cpuMs: 0 }, 0.05)).toBe(100);
    expect(restAfter({ elapsedMs: 100, cpuMs: 0 }, 0.8)).toBe(25);
    expect(restAfter({ elapsedMs: 600_000, cpuMs: 0 }, 0.05)).toBe(2_000);
  });

  it("hurries for as long as it is told to", async () => {
    const pacer = new Pacer(0.0001);
    pacer.hurry(1);
    const restMs = await leastTimeOf(async () => {
      work(20);
      await pacer.pause();
    });
    expect(restMs).toBeLessThan(1_000);
    pacer.hurry(0);
    work(20);
    expect(await timeOf(() => pacer.pause())).toBeGreaterThan(1_900);
  }, 20_000);

  it("ends its rest when the signal aborts", async () => {
    const [stays, leaves] = [new Pacer(0.0001), new Pacer(0.0001)];
    work(6);
    const [end, leave] = [new AbortController(), new AbortController()];
    // Both rest for as long as there is, and who stays began before: by itself its rest ends first.
    const first = Promise.race([
      stays.pause(end.signal).then(() => "stayed"),
      leaves.pause(leave.signal).then(() => "left"),
    ]);
    leave.abort();
    expect(await first).toBe("left");
    end.abort();
  });
});
