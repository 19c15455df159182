/**
 * One chart over time, by uPlot: lines, areas and bars over the same steps. The figures at the
 * pointer, or the newest ones, are in its legend; what it shows is in a sentence, for all readers.
 *
 * @module
 */

import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { theme } from "../theme.ts";

export interface Series {
  readonly name: string;
  /** Class that gives it its colour: `chart-<look>`. */
  readonly look: string;
  readonly shape: "line" | "area" | "step" | "dashes" | "bars" | "points";
  readonly values: readonly (number | null)[];
}

export interface ChartProps {
  readonly title: string;
  readonly summary: string;
  readonly timesMs: readonly number[];
  readonly fromMs: number;
  readonly toMs: number;
  readonly series: readonly Series[];
  readonly text: (value: number) => string;
  /** Between two marks of the axis: one of these. */
  readonly steps: readonly number[];
}

const HEIGHT_PX = 170;

export function Chart(props: ChartProps) {
  const { title, summary, series, text, timesMs } = props;
  const place = useRef<HTMLDivElement>(null);
  const keys = useRef<HTMLUListElement>(null);
  const chart = useRef<uPlot | null>(null);
  const pointed = useSignal<number | null>(null);
  const latest = useRef(props);
  latest.current = props;

  useEffect(() => {
    if (place.current === null || keys.current === null) return;
    const made = new uPlot(optionsOf(latest, keys.current, pointed), dataOf(props), place.current);
    chart.current = made;
    const observer = new ResizeObserver(([entry]) => {
      made.setSize({ width: Math.floor(entry?.contentRect.width ?? 0), height: HEIGHT_PX });
    });
    observer.observe(place.current);
    return () => {
      observer.disconnect();
      made.destroy();
    };
  }, []);
  useEffect(() => chart.current?.setData(dataOf(props)), [timesMs, series]);
  useRedrawnInNewColours(chart);

  const index = pointed.value;
  const atMs = index === null ? undefined : timesMs[index];
  return (
    <section class="chart card">
      <div class="row">
        <h3 class="grow">{title}</h3>
        <time class="soft small">{atMs === undefined ? "now" : clock(atMs)}</time>
      </div>
      <ul class="chart-keys" ref={keys}>
        {series.map(({ name, look, values }) => {
          const value = index === null ? values.findLast((known) => known !== null) : values[index];
          return (
            <li key={name}>
              <span class={`chart-key chart-${look}`} aria-hidden="true" />
              {name} <b>{value === null || value === undefined ? "–" : text(value)}</b>
            </li>
          );
        })}
      </ul>
      <div class="chart-place" ref={place} role="img" aria-label={`${title}: ${summary}`} />
      <p class="soft small">{summary}</p>
    </section>
  );
}

function dataOf({ timesMs, series }: ChartProps): uPlot.AlignedData {
  return [timesMs.map((time) => time / 1000), ...series.map(({ values }) => [...values])];
}

function optionsOf(
  latest: { readonly current: ChartProps },
  keys: HTMLElement,
  pointed: { value: number | null },
): uPlot.Options {
  const colour = (index: number) => colourOf(keys.children[index]?.firstElementChild);
  return {
    width: 300,
    height: HEIGHT_PX,
    padding: [8, 4, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: "history" }, y: false, drag: { x: false, y: false } },
    scales: {
      x: { time: true, range: () => [latest.current.fromMs / 1000, latest.current.toMs / 1000] },
      y: { range: (_, __, most) => [0, Math.max(1, most * 1.08)] },
    },
    axes: [
      axis({
        size: 26,
        space: 64,
        values: (_, marks) => marks.map((at) => clock(1000 * at, false)),
      }),
      axis({
        size: 66,
        space: 34,
        incrs: [...latest.current.steps],
        values: (_, marks) => marks.map((at) => (at === 0 ? "0" : latest.current.text(at))),
      }),
    ],
    series: [
      {},
      ...latest.current.series.map((series, index) => lineOf(series, () => colour(index))),
    ],
    hooks: { setCursor: [({ cursor }) => (pointed.value = cursor.idx ?? null)] },
  };
}

/** Text and rules in the colours of the page around it. */
function axis(options: uPlot.Axis): uPlot.Axis {
  return {
    stroke: ({ root }) => getComputedStyle(root).color,
    grid: { stroke: ({ root }) => getComputedStyle(root).borderTopColor, width: 1 },
    ticks: { show: false },
    font: "11px system-ui, sans-serif",
    ...options,
  };
}

function lineOf({ shape }: Series, colour: () => string): uPlot.Series {
  const line = { stroke: colour, width: 2, points: { show: false } };
  switch (shape) {
    case "line":
      return line;
    case "area":
      return { ...line, fill: () => translucent(colour()) };
    case "dashes":
      return { ...line, dash: [6, 4] };
    case "step":
      return { ...line, ...pathsOf(uPlot.paths.stepped?.({ align: 1 })) };
    case "bars":
      return {
        ...line,
        width: 0,
        fill: colour,
        ...pathsOf(uPlot.paths.bars?.({ size: [0.8, 24, 2] })),
      };
    case "points":
      return { ...line, spanGaps: true, points: { show: true, size: 4, fill: colour } };
  }
}

function pathsOf(paths: uPlot.Series.PathBuilder | undefined): Pick<uPlot.Series, "paths"> {
  return paths === undefined ? {} : { paths };
}

/** Of an element: a custom property would still say `light-dark(…)`. */
function colourOf(element: Element | null | undefined): string {
  return element === null || element === undefined ? "" : getComputedStyle(element).color;
}

function translucent(colour: string): string {
  return colour.replace("rgb(", "rgba(").replace(")", ", 0.16)");
}

/** When the reader or the system changes the theme. */
function useRedrawnInNewColours(chart: { readonly current: uPlot | null }): void {
  useSignalEffect(() => {
    void theme.value;
    requestAnimationFrame(() => chart.current?.redraw());
  });
  useEffect(() => {
    const system = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => chart.current?.redraw();
    system.addEventListener("change", redraw);
    return () => system.removeEventListener("change", redraw);
  }, [chart]);
}

function clock(atMs: number, hasSeconds = true): string {
  const second = hasSeconds ? ({ second: "2-digit" } as const) : {};
  return new Date(atMs).toLocaleTimeString("en-GB", {
    hour: "2-digit",
    minute: "2-digit",
    ...second,
  });
}
