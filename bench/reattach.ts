/**
 * A thousand broken connections, at random places of real turns: whether clients that come back end
 * up with what they would have had without.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Cancels, cancelClaim, cancelSections, measureCancels } from "./cancels.ts";
import {
  CutAgent,
  type Cuts,
  type Fault,
  FAULTS,
  framesOverCuts,
  hidingFetch,
  leavingFetch,
  shownOf,
} from "./cut-client.ts";
import { summaryTable, table } from "./page.ts";
import { scratchDirectory, startModel, startServer, type RunningServer } from "./processes.ts";
import { atLeast, atMost, type Benchmark, type BenchmarkOutcome, type Size } from "./result.ts";
import { randomFrom, summaryOf } from "./statistics.ts";

const AGENT = `
name: talker
model: { provider: anthropic, thinking: { budgetTokens: 1024 } }
instructions: Talk.
tools: { builtin: [Bash] }
hosting: { onDisconnect: continue }
`;

const INPUT = "Please look";
const LONG_INPUT = "Take your time";
const SCRIPT = {
  defaults: { firstTokenMs: 20, tokensPerSecond: 120 },
  rules: [
    {
      when: { userText: LONG_INPUT, afterTool: false },
      reply: [
        { text: "Let me look at it for long. " },
        { tool: { name: "Bash", input: { command: "sleep 60" } } },
      ],
    },
    { when: { afterTool: true }, reply: [{ text: "It says {{toolResult}} " }, { tokens: 30 }] },
    {
      reply: [
        { thinking: "I have to look." },
        { text: "Let me look at it. " },
        { tool: { name: "Bash", input: { command: "echo hello" } } },
      ],
    },
  ],
};

/** How a client comes back. */
const WAYS = {
  events: "our own events, by GET and Last-Event-ID",
  key: "our own events, by the same POST and Idempotency-Key",
  run: "AG-UI, by the same run and Last-Event-ID",
  kept: "AG-UI, by connecting with what it has read",
  fresh: "AG-UI, by connecting after a reload",
} as const;
type Way = keyof typeof WAYS;

interface Plan {
  /** Turns of each of the first three ways, and breaks in each. */
  readonly turns: number;
  readonly cuts: number;
  /** Turns of each of the last two, with one break. */
  readonly connects: number;
}

const PLANS: Readonly<Record<Size, Plan>> = {
  full: { turns: 30, cuts: 10, connects: 60 },
  small: { turns: 2, cuts: 8, connects: 3 },
};
const AT_ONCE = 2;

interface Trial {
  readonly way: Way;
  readonly cuts: number;
  readonly isSame: boolean;
  /** Turns that the session has had. */
  readonly turns: number;
}

interface Measured {
  readonly trials: readonly Trial[];
  readonly faults: Readonly<Record<Fault, number>>;
  readonly resumedMs: readonly number[];
  readonly elapsedMs: number;
}

export const reattach: Benchmark = {
  name: "reattach",
  summary: "1,000 cuts at random events: whether clients that come back have the same messages",
  hasSmall: true,
  async run(report, signal, size) {
    using scratch = scratchDirectory();
    await using model = await startModel(scratch.path, SCRIPT);
    const agentFile = join(scratch.path, "agent.yaml");
    writeFileSync(agentFile, AGENT);
    await using server = await startServer({
      agentFile,
      dataDirectory: join(scratch.path, "data"),
      environment: model.environment,
      args: ["--set", "http.streamsPerCaller=1000"],
    });
    const cancels = await measureCancels(server.url, () => longTurn(server.url), size);
    const measured = await measure(server, PLANS[size], report, signal);
    return outcomeOf(measured, cancels, size);
  },
};

/** One that would go on for long. */
function longTurn(url: string): Promise<Response> {
  return fetch(`${url}/v1/agents/talker/turns`, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream" },
    body: JSON.stringify({ input: LONG_INPUT }),
  });
}

async function measure(
  { url }: RunningServer,
  plan: Plan,
  report: (line: string) => void,
  signal: AbortSignal,
): Promise<Measured> {
  const beganAtMs = performance.now();
  const whole = await wholeRuns(url);
  const ways = (Object.keys(WAYS) as Way[]).flatMap((way) => {
    const isConnect = way === "kept" || way === "fresh";
    return Array.from({ length: isConnect ? plan.connects : plan.turns }, () => way);
  });
  const faults: Record<Fault, number> = Object.fromEntries(
    FAULTS.map((fault) => [fault, 0]),
  ) as Record<Fault, number>;
  const resumedMs: number[] = [];
  const trials: Trial[] = [];
  const worker = async (seed: number) => {
    const random = randomFrom(seed);
    for (let way = ways.shift(); way !== undefined; way = ways.shift()) {
      signal.throwIfAborted();
      let made = 0;
      const cuts: Cuts = {
        left: plan.cuts,
        random,
        onCut(fault) {
          made += 1;
          faults[fault] += 1;
        },
        onResumed: (ms) => void resumedMs.push(ms),
      };
      const threadId = randomUUID();
      const shown = await RUNS[way](url, threadId, cuts);
      const turns = await turnsOf(url, threadId);
      const expected = whole[way === "events" || way === "key" ? "rest" : "agui"];
      trials.push({ way, cuts: made, isSame: shown === expected, turns });
      if (trials.length % 20 === 0) report(`  ${trials.length} turns, ${ways.length} to go`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, (_, index) => worker(index + 1)));
  return { trials, faults, resumedMs, elapsedMs: performance.now() - beganAtMs };
}

/** What a client has whose connection does not break. */
async function wholeRuns(url: string): Promise<{ readonly rest: string; readonly agui: string }> {
  const none: Cuts = { left: 0, random: Math.random, onCut: () => {}, onResumed: () => {} };
  const rest = await RUNS.key(url, randomUUID(), none);
  const agui = await RUNS.run(url, randomUUID(), none);
  if (rest === "[]" || agui === "[]") throw new Error("an uncut run has no messages");
  return { rest, agui };
}

/** Each resolves to what its client has at the end. */
const RUNS: Readonly<Record<Way, (url: string, threadId: string, cuts: Cuts) => Promise<string>>> =
  {
    async events(url, threadId, cuts) {
      const response = await ask(url, threadId, {}, new AbortController().signal);
      const turnId = response.headers.get("x-turn-id") ?? "";
      await response.body?.cancel();
      return restMessages((lastId, signal) => {
        const headers = lastId === undefined ? {} : { "last-event-id": lastId };
        return fetch(`${url}/v1/turns/${turnId}/events`, { headers, signal });
      }, cuts);
    },
    key(url, threadId, cuts) {
      const key = { "idempotency-key": `"${randomUUID()}"` };
      return restMessages((lastId, signal) => {
        return ask(url, threadId, { ...key, ...(lastId && { "last-event-id": lastId }) }, signal);
      }, cuts);
    },
    async run(url, threadId, cuts) {
      const agent = agentOf(url, threadId, hidingFetch(cuts));
      await agent.runAgent();
      return shownOf(agent.messages);
    },
    async kept(url, threadId, cuts) {
      const agent = agentOf(url, threadId, leaving(cuts));
      await agent.runAgent().catch(() => undefined);
      await agent.connectAgent();
      return shownOf(agent.messages);
    },
    async fresh(url, threadId, cuts) {
      const agent = agentOf(url, threadId, leaving(cuts));
      await agent.runAgent().catch(() => undefined);
      const reloaded = new CutAgent({ url: agent.url, threadId });
      await reloaded.connectAgent();
      return shownOf(reloaded.messages);
    },
  };

function agentOf(url: string, threadId: string, fetching: CutAgent["fetch"]): CutAgent {
  const agent = new CutAgent({ url: `${url}/agui`, threadId, fetch: fetching });
  agent.addMessage({ id: randomUUID(), role: "user", content: INPUT });
  return agent;
}

/** Events that a run has, about: it breaks off at any of them. */
const RUN_EVENTS = 60;

function leaving({ random, onCut }: Cuts): CutAgent["fetch"] {
  const events = 1 + Math.floor(random() * RUN_EVENTS);
  return leavingFetch(events, () => onCut("between two events"));
}

function ask(
  url: string,
  threadId: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Response> {
  return fetch(`${url}/v1/agents/talker/turns`, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream", ...headers },
    body: JSON.stringify({ input: INPUT, threadId }),
    signal,
  });
}

/** The events of a turn without what is another one with every run. */
async function restMessages(
  open: Parameters<typeof framesOverCuts>[0],
  cuts: Cuts,
): Promise<string> {
  const numbers: number[] = [];
  const texts = new Map<string, string>();
  const add = (key: string, text: string) => texts.set(key, (texts.get(key) ?? "") + text);
  const isEnd = (frame: string) => frame.includes("\nevent: turn_ended\n");
  for await (const frame of framesOverCuts(open, isEnd, cuts)) {
    const id = /^id: .*-(\d+)$/m.exec(frame)?.[1];
    if (id === undefined) continue;
    numbers.push(Number(id));
    const event = JSON.parse(/^data: (.*)$/m.exec(frame)?.[1] ?? "null") as RestEvent;
    const of = event.messageId ?? event.toolCallId ?? "";
    if (event.delta !== undefined) add(`${event.type} ${of}`, event.delta);
    else if (event.type === "tool_result") add(`result ${of}`, event.content ?? "");
    else if (event.type === "turn_ended") add("end", event.outcome?.status ?? "");
  }
  const isGapless = numbers.every((number, index) => number === index + 1);
  const shown = [...texts].map(([key, text]) => [key.split(" ")[0], text]);
  return JSON.stringify(isGapless ? shown : ["gap", ...shown]);
}

interface RestEvent {
  readonly type: string;
  readonly messageId?: string;
  readonly toolCallId?: string;
  readonly delta?: string;
  readonly content?: string;
  readonly outcome?: { readonly status: string };
}

async function turnsOf(url: string, threadId: string): Promise<number> {
  const response = await fetch(`${url}/v1/sessions?threadId=${threadId}`);
  const { sessions } = (await response.json()) as { sessions: { turns: number }[] };
  return sessions[0]?.turns ?? 0;
}

const CUTS_WANTED: Readonly<Record<Size, number>> = { full: 1_000, small: 40 };

function outcomeOf(measured: Measured, cancels: Cancels, size: Size): BenchmarkOutcome {
  const { trials, faults, resumedMs, elapsedMs } = measured;
  const cuts = trials.reduce((sum, trial) => sum + trial.cuts, 0);
  const count = (value: number) => value.toLocaleString("en");
  const rows = (Object.keys(WAYS) as Way[]).map((way) => {
    const own = trials.filter((trial) => trial.way === way);
    const ofWay = own.reduce((sum, trial) => sum + trial.cuts, 0);
    const others = own.filter(({ isSame }) => !isSame).length;
    return [WAYS[way], String(own.length), count(ofWay), String(others)];
  });
  return {
    claims: [
      atLeast("Connections that broke", CUTS_WANTED[size], cuts, count),
      atMost("Clients with other messages than without a cut", 0, differing(trials), count),
      atMost("Requests that ran twice, or not at all", 0, ranOtherwise(trials), count),
      cancelClaim(cancels),
    ],
    data: { cancels, cuts, faults, trials, resumedMs, elapsedMs },
    sections: [
      "Real turns of an agent that thinks, calls Bash and answers, with a rehearsal model. The " +
        "connection of each client breaks at random places; it comes back at once, as often as it " +
        "takes. What it has at the end is compared with what a client has that was never cut: " +
        "texts, thoughts, calls, results and their order, and for our own events also that their " +
        "numbers have no gap. AG-UI is read by its real 1.0 client.",
      table(["the client comes back to", "turns", "cuts", "other messages"], rows),
      "## How connections broke",
      table(
        ["", "cuts"],
        FAULTS.map((fault) => [fault, count(faults[fault])]),
      ),
      "## From coming back to the first event that is new",
      summaryTable("ms", [["all ways but connecting", summaryOf(resumedMs)]]),
      ...cancelSections(cancels),
    ],
  };
}

function differing(trials: readonly Trial[]): number {
  return trials.filter(({ isSame }) => !isSame).length;
}

function ranOtherwise(trials: readonly Trial[]): number {
  return trials.filter(({ turns }) => turns !== 1).length;
}
