/**
 * A process that outlives SIGKILL keeps what its turn took, and nothing else: its caller is
 * answered, and the server can go. The server carries one turn.
 */

import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";

import { monotonicMs } from "../../src/lib/monotonic-clock.ts";
import { Freezer, reasonNotToFreeze } from "../helpers/freezer.ts";
import {
  claudeOf,
  onlyOne,
  processesWith,
  programOf,
  until,
  withoutChildren,
} from "../helpers/leaks.ts";
import { startServer, startServerProcess, type TestServer } from "../helpers/server.ts";
import { ask, post, refusal, stream, type TurnStream } from "./client.ts";

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

const OPTIONS = {
  script: SCRIPT,
  settings: {
    "capacity.admission": "static",
    "capacity.memoryLimit": "900MiB",
    "agentProcess.endGrace": "100ms",
    "drain.grace": "0s",
  },
};

/**
 * Interrupt, polite steps, SIGKILL and the sweep, all in vain, on a busy machine. What waits for
 * those who are frozen waits for ever.
 */
const BOUND_MS = 40_000;

const skipped = reasonNotToFreeze();

const NAME = `a survivor${skipped ? `: ${skipped}` : ""}`;

// Each test waits out a SIGKILL in vain, beside the start of a server.
describe.skipIf(skipped !== null)(NAME, () => {
  it("keeps permit and session, but not its caller", async () => {
    await using server = await startServer(OPTIONS);
    await using freezer = new Freezer();
    const turn = await hangingTurn(server, freezer);
    const cancelledAtMs = performance.now();
    await fetch(`${server.url}/v1/turns/${turn.turnId}/cancel`, { method: "POST" });
    expect(await turn.outcome()).toMatchObject({ status: "cancelled", cause: "cancel_requested" });
    expect(performance.now() - cancelledAtMs).toBeLessThan(BOUND_MS);

    // The turn is over; what it took is not given back.
    const { inflight, committedBytes, usedBytes, turns } = await server.capacity();
    expect(inflight).toBe(1);
    expect(committedBytes).toBeGreaterThan(usedBytes);
    expect(turns).toMatchObject([{ turnId: turn.turnId, bytes: expect.any(Number) }]);
    expect(await server.metrics()).toMatch(/^plimsoll_agent_process_stray_live 1$/m);
    // Whoever asks is shed as long as the replica is full, and busy when it is not.
    expect(await refusal(post(server, "Any room?"))).toMatchObject({ code: "at_capacity" });
    const { sessionId } = await turn.until("turn_started");
    const deletion = await fetch(`${server.url}/v1/sessions/${sessionId}`, { method: "DELETE" });
    expect(await refusal(deletion)).toMatchObject({ status: 409, code: "session_busy" });
    const warnings = server.logs.filter(({ msg }) => msg.startsWith("Processes outlived SIGKILL"));
    expect(warnings).toMatchObject([{ turnId: turn.turnId, pids: [expect.any(Number)] }]);

    freezer.thaw();
    await until(() => server.gate.snapshot(monotonicMs()).inflight === 0, "the permit");
    expect(await server.metrics()).toMatch(/^plimsoll_agent_process_stray_live 0$/m);
    const next = await ask(server, "Still there?", { threadId: "frozen" });
    expect(next.text).toBe("You said: Still there?");
  });

  it("refuses the next turn of its session where there is room for others", async () => {
    const settings = { ...OPTIONS.settings, "capacity.memoryLimit": "2GiB" };
    await using server = await startServer({ ...OPTIONS, settings });
    await using freezer = new Freezer();
    const turn = await hangingTurn(server, freezer);
    turn.leave();
    await until(async () => (await openTurns(server)) === 0, "the turn to end", BOUND_MS);
    const next = await refusal(post(server, "Go on", { threadId: "frozen" }));
    expect(next).toMatchObject({ status: 409, code: "session_busy" });
    expect((await ask(server, "Another thread", { threadId: "other" })).status).toBe("completed");
    expect(server.gate.snapshot(monotonicMs()).inflight).toBe(1);
    freezer.thaw();
    await until(() => server.gate.snapshot(monotonicMs()).inflight === 0, "the permit");
  });

  it("does not keep the server from its end, which names it", async () => {
    await using server = await startServerProcess(OPTIONS);
    await using freezer = new Freezer();
    const turn = await hangingTurn(server, freezer);
    server.signal("SIGTERM");
    const late = delay(BOUND_MS, "late", { ref: false });
    expect(await Promise.race([server.exited, late])).toEqual({ code: 0, signal: null });
    const last = server.logs.find(({ msg }) => msg.startsWith("Processes outlive the server"));
    expect(last).toMatchObject({ turnId: turn.turnId, pids: [expect.any(Number)] });
  });

  it("is of no turn where it was started ahead of any", async () => {
    const agents = ["name: ahead\ninstructions: You are a test.\nhosting: { spares: 1 }\n"];
    await using server = await startServerProcess({ ...OPTIONS, agents });
    await using freezer = new Freezer();
    await until(
      async () => /^plimsoll_agent_process_spares 1$/m.test(await server.metrics()),
      "the spare to wait",
      30_000,
    );
    const isClaude = (pid: number) => programOf(pid).endsWith("/claude");
    const spares = () =>
      withoutChildren(processesWith("PLIMSOLL_SERVER_ID", server.serverId)).filter(isClaude);
    await freezer.freezeProcess(await onlyOne(spares, "the spare alone"));
    server.signal("SIGTERM");
    const late = delay(BOUND_MS, "late", { ref: false });
    expect(await Promise.race([server.exited, late])).toEqual({ code: 0, signal: null });
    const last = server.logs.find(({ msg }) => msg.startsWith("Processes outlive the server"));
    expect(last).toMatchObject({ turnId: null, processId: expect.stringMatching(/^spare-/) });
  });
});

/** A turn of the thread `frozen` in the middle of its text, its process in the freezer. */
async function hangingTurn(server: TestServer, freezer: Freezer): Promise<TurnStream> {
  const turn = await stream(server, "Hang", { threadId: "frozen" });
  await turn.until("text_delta");
  await freezer.freezeProcess(await claudeOf(turn.turnId));
  return turn;
}

async function openTurns(server: TestServer): Promise<number> {
  const answer = await fetch(`${server.url}/v1/turns`);
  const { turns } = (await answer.json()) as { readonly turns: readonly unknown[] };
  return turns.length;
}
