import { describe, expect, it } from "vitest";
import { Pacer } from "../../src/lib/pacer.ts";

function work(ms: number): void {
  const untilMs = performance.now() + ms;
  while (performance.now() < untilMs);
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
