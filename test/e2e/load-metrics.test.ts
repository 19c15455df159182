/**
 * The figures of admission in `/metrics`, in situations in which it is known what they have to be.
 */

import { describe, expect, it } from "vitest";

import { until } from "../helpers/leaks.ts";
import { startServer, type TestServer } from "../helpers/server.ts";
import { ask, post, stream } from "./client.ts";

const MIB = 2 ** 20;
const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 500 }
rules:
  - when: { userText: hang }
    hangAfterTokens: 3
    reply:
      - tokens: 10
  - reply:
      - text: "You said: {{userText}}"
`;
const SETTINGS = {
  "drain.grace": "0s",
  "agentProcess.endGrace": "500ms",
  // It sheds when it was not given a core for 2.5 s.
  "capacity.guard": "false",
};

describe("the figures of admission in /metrics", () => {
  it("are the reserves that were set, with static admission", async () => {
    await using server = await startServer({
      script: SCRIPT,
      settings: {
        ...SETTINGS,
        "capacity.admission": "static",
        "capacity.memoryLimit": "1900MiB",
      },
    });
    const figures = async () => {
      const read = await reader(server);
      return {
        promised: read("plimsoll_memory_promised"),
        pool: read("plimsoll_memory_pool"),
        headroom: read("plimsoll_memory_headroom"),
        committed: read("plimsoll_memory_committed"),
      };
    };
    // 400 MiB for the server, 500 MiB for a turn.
    const idle = { promised: 0, pool: 0, headroom: 1500 * MIB, committed: 400 * MIB };
    expect(await figures()).toEqual(idle);
    await ask(server, "Hi");
    const read = await reader(server);
    expect(read("plimsoll_turn_memory_predicted_ratio_count")).toBe(1);
    const peakBytes = read("plimsoll_turn_memory_peak_sum");
    expect(peakBytes).toBeGreaterThan(50 * MIB);
    expect(read("plimsoll_turn_memory_predicted_ratio_sum")).toBeCloseTo(
      peakBytes / (500 * MIB),
      9,
    );
    for (const input of ["Hang", "Hang too"]) await stream(server, input);
    expect(await figures()).toEqual({
      promised: 1000 * MIB,
      pool: 0,
      headroom: 500 * MIB,
      committed: 1400 * MIB,
    });
  });

  it("add up, and are those of /capacity, with measured admission", async () => {
    await using server = await startServer({
      script: SCRIPT,
      settings: { ...SETTINGS, "capacity.memoryLimit": "8GiB" },
    });
    const turn = await stream(server, "Hang");
    await turn.until("text_delta");
    const [read, { poolBytes, loadLineBytes }] = await readAtOnce(server);
    expect(poolBytes).toBeGreaterThan(0);
    expect(read("plimsoll_memory_pool")).toBe(poolBytes);
    const committed = read("plimsoll_memory_committed");
    expect(committed).toBeGreaterThan(read("plimsoll_memory_promised") + poolBytes);
    // The reserve grows with the text that is found mapped, at most every ten seconds.
    expect(read("plimsoll_memory_load_line")).toBe(loadLineBytes);
    expect(read("plimsoll_memory_headroom")).toBe(loadLineBytes - committed);
  });

  it("count the turns that wait for their start", async () => {
    await using server = await startServer({
      script: SCRIPT,
      settings: {
        ...SETTINGS,
        "capacity.admission": "static",
        "capacity.memoryLimit": "4GiB",
        "capacity.startsAtOnce": "1",
      },
    });
    const waiting = async () => (await reader(server))("plimsoll_agent_process_start_waiting");
    expect(await waiting()).toBe(0);
    const answers = Promise.all([1, 2, 3, 4].map(() => post(server, "Hi")));
    let most = 0;
    await until(async () => {
      most = Math.max(most, await waiting());
      return most >= 2;
    }, "turns to wait for their start");
    expect(most).toBeLessThanOrEqual(3);
    for (const answer of await answers) expect(answer.status).toBe(200);
    expect(await waiting()).toBe(0);
  });
});

/** Values by name, all read at one moment; fails the test for a name that is not there. */
/** What /metrics and /capacity say while nothing changes, so that they are of one moment. */
async function readAtOnce(server: TestServer) {
  for (let before = await server.capacity(); ;) {
    const read = await reader(server);
    const after = await server.capacity();
    const figures = [before, after].map(({ poolBytes, loadLineBytes }) => [
      poolBytes,
      loadLineBytes,
    ]);
    if (String(figures[0]) === String(figures[1])) return [read, after] as const;
    before = after;
  }
}

async function reader(server: TestServer): Promise<(name: string) => number> {
  const text = await server.metrics();
  return (name) => {
    const value = new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "m").exec(text)?.[1];
    if (value === undefined) expect.fail(`There is no ${name}`);
    return Number(value);
  };
}
