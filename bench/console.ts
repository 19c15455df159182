/**
 * What the console costs: the server with five pages open and with none, the browser under a flood
 * of events, and those who load it.
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { type PageWeight, scaleOf, startBrowser } from "./browser.ts";
import {
  costOf,
  type LoadedRound,
  mustHaveStreamed,
  startStreams,
  STREAMS,
  streamRule,
  type Streams,
  type Worked,
} from "./console-load.ts";
import { type Flood, startFlood } from "./feed-flood.ts";
import { table } from "./page.ts";
import { plotOf } from "./plot.ts";
import {
  cpuMsOf,
  EXAMPLE_AGENT,
  type RunningServer,
  scratchDirectory,
  startModel,
  startServer,
} from "./processes.ts";
import { atLeast, atMost, type Benchmark, type Claim, type Size } from "./result.ts";
import { median } from "./statistics.ts";

const BUILT = fileURLToPath(new URL("../build/console/", import.meta.url));
const PAGES = 5;
const EVENTS_PER_SECOND = 2_000;
/** A session goes through all views again and again; weighed is always the first. */
const VIEWS = ["#/turns", "#/sessions", "#/chat", "#/fleet", "#/"];
const MIB = 2 ** 20;

/** Each round looks at a server for so long, and all rounds are alike. */
const SIZES = {
  full: {
    rounds: 4,
    roundMs: 20_000,
    loadedRounds: 8,
    loadedRoundMs: 30_000,
    floodMs: 300_000,
    weighEachMs: 10_000,
  },
  small: {
    rounds: 1,
    roundMs: 5_000,
    loadedRounds: 1,
    loadedRoundMs: 5_000,
    floodMs: 20_000,
    weighEachMs: 4_000,
  },
} as const;

/** CPU of the server, as part of one core. */
interface Round {
  readonly off: number;
  readonly closed: number;
  readonly open: number;
}

interface Weighed extends PageWeight {
  readonly atMs: number;
  /** Longest time between two frames since the last time. */
  readonly gapMs: number;
}

interface Flooded {
  readonly weights: readonly Weighed[];
  readonly eventsPerSecond: number;
  readonly waitingBytes: number;
}

export const consoleBench: Benchmark = {
  name: "console",
  summary:
    "what the console costs: the server with 5 pages open and none, at rest and with 8 turns, a page under 2,000 events a second",
  hasSmall: true,
  async run(report, signal, size) {
    using scratch = scratchDirectory();
    await using browser = await startBrowser();
    await using model = await startModel(scratch.path, {
      // So each round has as many starts as there are streams, wherever it begins.
      rules: [streamRule(SIZES[size].loadedRoundMs), { reply: [{ text: "Good morning." }] }],
    });
    const start = (name: string, isOn: boolean) =>
      startServer({
        agentFile: EXAMPLE_AGENT,
        dataDirectory: join(scratch.path, name),
        environment: { ...model.environment, PLIMSOLL_CONSOLE_ENABLED: String(isOn) },
        // Turns that begin all at once are to wait for a core, and not to be shed.
        args: ["--set", "capacity.startWait=1m"],
      });
    await using shown = await start("shown", true);
    await using hidden = await start("hidden", false);
    const rounds = await timeRounds({ browser, shown, hidden, size, report, signal });
    const loaded = await timeLoaded({ browser, shown, size, report, signal });
    await using flood = await startFlood(shown.url, EVENTS_PER_SECOND);
    const flooded = await floodPage(browser, flood, { size, report, signal });
    return outcomeOf({ rounds, loaded, flooded }, size);
  },
};

interface Timing {
  readonly browser: Browser;
  readonly shown: RunningServer;
  readonly hidden: RunningServer;
  readonly size: Size;
  readonly report: (line: string) => void;
  readonly signal: AbortSignal;
}

async function timeRounds({ browser, shown, hidden, size, report, signal }: Timing) {
  const { rounds: count, roundMs } = SIZES[size];
  const rounds: Round[] = [];
  // What is loaded with the first page is no matter of the rounds.
  await withPages(browser, shown.url, () => delay(2_000, undefined, { signal }));
  for (let round = 0; round < count; round += 1) {
    const off = await loadOf(hidden.pid, roundMs, signal);
    const closed = await loadOf(shown.pid, roundMs, signal);
    const open = await withPages(browser, shown.url, () => loadOf(shown.pid, roundMs, signal));
    rounds.push({ off, closed, open });
    report(`  switched off ${percent(off)}, no page ${percent(closed)}, 5 pages ${percent(open)}`);
  }
  return rounds;
}

async function timeLoaded({
  browser,
  shown,
  size,
  report,
  signal,
}: Omit<Timing, "hidden">): Promise<readonly LoadedRound[]> {
  const { loadedRounds, loadedRoundMs } = SIZES[size];
  const rounds: LoadedRound[] = [];
  await using streams = await startStreams(shown.url, "hello");
  const work = () => workOf(shown.pid, streams, loadedRoundMs, signal);
  const closed = work;
  // What draws the pages is on the same cores, and must not keep the server from its work.
  const open = () => withPages(browser, shown.url, work, { reducedMotion: "reduce" });
  // What runs often is compiled in the first of it, which is no matter of the rounds.
  await open();
  for (let round = 0; round < loadedRounds; round += 1) {
    // In turns the first and the second, so that what drifts is on neither side.
    const isFirst = round % 2 === 0;
    const first = await (isFirst ? closed : open)();
    const second = await (isFirst ? open : closed)();
    // In a small run the turns are so short that most of the time they start.
    if (size === "full") for (const each of [first, second]) mustHaveStreamed(each, streams);
    rounds.push(isFirst ? { closed: first, open: second } : { closed: second, open: first });
    const { load } = first;
    report(
      `  ${STREAMS} streams: ${isFirst ? "no page" : `${PAGES} pages`} ${percent(load)}, ` +
        `then ${isFirst ? `${PAGES} pages` : "no page"} ${percent(second.load)}`,
    );
  }
  return rounds;
}

async function workOf(
  pid: number,
  streams: Streams,
  forMs: number,
  signal: AbortSignal,
): Promise<Worked> {
  const before = streams.pieces;
  const load = await loadOf(pid, forMs, signal);
  return { load, piecesPerSecond: (streams.pieces - before) / (forMs / 1000) };
}

async function withPages<T>(
  browser: Browser,
  url: string,
  use: () => Promise<T>,
  options: BrowserContextOptions = {},
): Promise<T> {
  const context = await browser.newContext(options);
  try {
    for (let opened = 0; opened < PAGES; opened += 1) await openPage(await context.newPage(), url);
    return await use();
  } finally {
    await context.close();
  }
}

/** Resolves when it shows the load line. */
async function openPage(page: Page, url: string): Promise<void> {
  await page.goto(url);
  await page
    .getByText(/turns? in flight/)
    .first()
    .waitFor();
}

async function loadOf(pid: number, forMs: number, signal: AbortSignal): Promise<number> {
  const beganAtMs = performance.now();
  const before = cpuMsOf(pid);
  await delay(forMs, undefined, { signal });
  return (cpuMsOf(pid) - before) / (performance.now() - beganAtMs);
}

async function floodPage(
  browser: Browser,
  flood: Flood,
  { size, report, signal }: Pick<Timing, "size" | "report" | "signal">,
): Promise<Flooded> {
  const { floodMs, weighEachMs } = SIZES[size];
  const page = await (await browser.newContext()).newPage();
  await openPage(page, flood.url);
  await page.evaluate(WATCH_FRAMES);
  const scale = await scaleOf(page);
  const beganAtMs = performance.now();
  const before = flood.written;
  const weights: Weighed[] = [];
  for (let view = 0; performance.now() - beganAtMs < floodMs;) {
    for (const end = performance.now() + weighEachMs; performance.now() < end; view += 1) {
      await page.evaluate(`location.hash = ${JSON.stringify(VIEWS[view % VIEWS.length])}`);
      await delay(weighEachMs / VIEWS.length, undefined, { signal });
    }
    await page.evaluate('location.hash = "#/"');
    const gapMs = await page.evaluate<number>("window.longestGapMs()");
    const weight = await scale.weigh();
    await page.evaluate("window.longestGapMs()");
    weights.push({ ...weight, gapMs, atMs: performance.now() - beganAtMs });
    report(
      `  ${(weight.heapBytes / MIB).toFixed(1)} MiB, ${weight.nodes} nodes, frames ${gapMs.toFixed(0)} ms apart at most`,
    );
  }
  const eventsPerSecond = ((flood.written - before) * 1000) / (performance.now() - beganAtMs);
  return { weights, eventsPerSecond, waitingBytes: flood.waitingBytes };
}

/** The longest time between two frames since it was asked last. */
const WATCH_FRAMES = `{
  let last = performance.now();
  let longest = 0;
  const frame = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  window.longestGapMs = () => {
    const told = longest;
    longest = 0;
    last = performance.now();
    return told;
  };
}`;

interface Measured {
  readonly rounds: readonly Round[];
  readonly loaded: readonly LoadedRound[];
  readonly flooded: Flooded;
}

function outcomeOf(measured: Measured, size: Size) {
  const bytes = gzippedBytes();
  return {
    claims: claimsOf(measured, bytes, size),
    data: { ...measured, gzippedBytes: bytes },
    sections: sectionsOf(measured),
    pictures: { "console-memory.svg": plotOfWeights(measured.flooded.weights) },
  };
}

function claimsOf({ rounds, loaded, flooded }: Measured, bytes: number, size: Size): Claim[] {
  const { weights, eventsPerSecond, waitingBytes } = flooded;
  const medianOf = (figure: (round: Round) => number) => median(rounds.map(figure));
  const open = medianOf((round) => round.open - round.closed);
  const closed = medianOf((round) => round.closed - round.off);
  const mib = (value: number) => `${(value / MIB).toFixed(2)} MiB`;
  const growth = growthOf(weights, ({ heapBytes }) => heapBytes);
  const nodes = growthOf(weights, (weight) => weight.nodes);
  const held = [
    atMost(
      "The page as it is loaded, all files gzipped",
      90,
      bytes / 1024,
      (kib) => `${kib.toFixed(1)} KiB`,
    ),
    atMost("CPU that 5 open pages cost the server, of one core", 0.01, open, percent),
    atMost(
      "CPU that it costs with no page open, against one that is switched off",
      0.001,
      closed,
      percent,
    ),
    atLeast(
      "Events a second that a page is sent",
      0.98 * EVENTS_PER_SECOND,
      eventsPerSecond,
      (rate) => rate.toFixed(0),
    ),
    atMost("What the page has not read at the end", MIB, waitingBytes, mib),
  ];
  // What a page holds settles within the first fifth of the time, and what streams is uneven for
  // seconds: too short in a small run.
  if (size === "small") return held;
  return [
    ...held,
    atMost(
      `CPU that ${PAGES} open pages cost a server with ${STREAMS} turns that stream, of one core`,
      0.01,
      costOf(loaded),
      percent,
    ),
    atMost("Heap of the page: the last fifth of the time against the second", 2 * MIB, growth, mib),
    atMost("Nodes of its document, the same", 100, nodes, (count) => count.toFixed(0)),
    atMost(
      "Most heap that the page held",
      64 * MIB,
      Math.max(...weights.map(({ heapBytes }) => heapBytes)),
      mib,
    ),
  ];
}

/** Of the medians of two fifths of the time. */
function growthOf(weights: readonly Weighed[], figure: (weight: Weighed) => number): number {
  const fifth = Math.max(1, Math.floor(weights.length / 5));
  const medianOf = (some: readonly Weighed[]) => median(some.map(figure));
  return medianOf(weights.slice(-fifth)) - medianOf(weights.slice(fifth, 2 * fifth));
}

function gzippedBytes(): number {
  return readdirSync(BUILT, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => gzipSync(readFileSync(join(entry.parentPath, entry.name)), { level: 9 }).length)
    .reduce((sum, length) => sum + length, 0);
}

function sectionsOf({ rounds, loaded, flooded }: Measured): string[] {
  const gaps = flooded.weights.map(({ gapMs }) => gapMs);
  return [
    "Two servers that do nothing, one with the console switched off; the other one is watched with no " +
      `page open and with ${PAGES}, in turns. CPU of the server's process, as part of one core.`,
    table(
      ["round", "switched off", "no page", `${PAGES} pages`],
      rounds.map(({ off, closed, open }, at) => [
        String(at + 1),
        percent(off),
        percent(closed),
        percent(open),
      ]),
    ),
    `Then ${STREAMS} turns stream all the time on the one with the console, each time one has ended the next ` +
      `begins; no page is open and ${PAGES} are, in turns, the first and the second of them changing places. ` +
      "The pages do not move (`prefers-reduced-motion`): what draws them is on the same cores. Pieces are those " +
      "of text that came to whoever asked for the turns.",
    table(
      [
        "round",
        "no page",
        `${PAGES} pages`,
        "difference",
        "pieces a second, no page",
        `${PAGES} pages`,
      ],
      loaded.map(({ closed, open }, at) => [
        String(at + 1),
        percent(closed.load),
        percent(open.load),
        percent(open.load - closed.load),
        closed.piecesPerSecond.toFixed(0),
        open.piecesPerSecond.toFixed(0),
      ]),
    ),
    `Then a page that goes through all its views is told of 200 turns at once, in ${EVENTS_PER_SECOND} ` +
      "events a second, by something that stands for a replica far busier than any. Weighed after a " +
      `collection of garbage, on the first view. Frames were at most ${median(gaps).toFixed(0)} ms apart ` +
      `in the median of ${gaps.length} times, with drawing by software on the machine below.`,
    "![](console-memory.svg)",
  ];
}

function plotOfWeights(weights: readonly Weighed[]): string {
  const lineOf = (figure: (weight: Weighed) => number) =>
    weights.map((weight) => [weight.atMs / 1000, figure(weight)] as const);
  return plotOf({
    title: "A page under 2,000 events a second",
    xTitle: "seconds",
    panels: [
      {
        title: "Heap, MiB",
        lines: [
          {
            label: "heap",
            colour: "blue",
            style: "area",
            points: lineOf(({ heapBytes }) => heapBytes / MIB),
          },
        ],
      },
      {
        title: "Nodes of the document",
        lines: [{ label: "nodes", colour: "teal", points: lineOf(({ nodes }) => nodes) }],
      },
    ],
  });
}

function percent(ratio: number): string {
  return `${(100 * ratio).toFixed(2)} %`;
}
