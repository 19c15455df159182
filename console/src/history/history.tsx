/**
 * What has been: memory against the line, turns, sheds and first tokens of the last 5 or 60 minutes.
 *
 * @module
 */

import { useComputed, useSignal } from "@preact/signals";
import { feed, nowMs } from "../replica.ts";
import { bytesText, durationText } from "../ui/format.ts";
import { Chart, type ChartProps } from "./chart.tsx";
import { type HistoryWindow, type Summary, summaryOf, windowOf } from "./window.ts";

const MINUTES = [5, 60] as const;

const COUNTS = [1, 10, 100, 1000, 10_000, 100_000].flatMap((unit) => [unit, 2 * unit, 5 * unit]);
/** 64 MiB to 64 TiB. */
const SIZES = Array.from({ length: 21 }, (_, index) => 2 ** (26 + index));

export function HistorySection() {
  const minutes = useSignal<(typeof MINUTES)[number]>(5);
  const window = useComputed(() => windowOf(feed.history.value, minutes.value, nowMs.value));
  return (
    <section class="stack" aria-labelledby="history-title">
      <div class="row">
        <h2 class="grow" id="history-title">
          History
        </h2>
        <div class="segments" role="group" aria-label="How far back">
          {MINUTES.map((count) => (
            <button
              key={count}
              type="button"
              class="button button-small"
              aria-pressed={minutes.value === count}
              onClick={() => (minutes.value = count)}
            >
              {count} min
            </button>
          ))}
        </div>
      </div>
      <div class="charts">
        {chartsOf(window.value, summaryOf(window.value)).map((chart) => (
          <Chart key={chart.title} {...chart} />
        ))}
      </div>
    </section>
  );
}

function chartsOf(window: HistoryWindow, summary: Summary): readonly ChartProps[] {
  const { timesMs, fromMs, toMs } = window;
  const time = { timesMs, fromMs, toMs };
  const count = (value: number) => `${Math.round(100 * value) / 100}`;
  return [
    {
      ...time,
      title: "Memory",
      summary: summary.memory,
      text: bytesText,
      steps: SIZES,
      series: [
        { name: "committed", look: "committed", shape: "area", values: window.committedBytes },
        { name: "used", look: "used", shape: "line", values: window.usedBytes },
        { name: "line", look: "line", shape: "step", values: window.loadLineBytes },
        { name: "limit", look: "limit", shape: "dashes", values: window.limitBytes },
      ],
    },
    {
      ...time,
      title: "Turns",
      summary: summary.turns,
      text: count,
      steps: COUNTS,
      series: [
        { name: "in flight", look: "committed", shape: "area", values: window.inflight },
        { name: "would fit", look: "line", shape: "step", values: window.turnsThatFit },
      ],
    },
    {
      ...time,
      title: "Shed",
      summary: summary.shed,
      text: count,
      steps: COUNTS,
      series: [{ name: "turns a step", look: "shed", shape: "bars", values: window.shed }],
    },
    {
      ...time,
      title: "First token",
      summary: summary.firstToken,
      text: durationText,
      steps: COUNTS,
      series: [{ name: "median", look: "used", shape: "points", values: window.firstTokenMs }],
    },
  ];
}
