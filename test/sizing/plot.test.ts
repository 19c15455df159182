/**
 * Goal: a plot says what it shows, whatever the figures, on light and on dark.
 */
import { describe, expect, it } from "vitest";
import {
  type Plot,
  PLOT_COLOURS,
  PLOT_STYLE,
  plotSvg,
  type Series,
} from "../../src/sizing/plot.ts";

const PLOT: Plot = {
  title: "Turns in flight",
  xTitle: "time, s",
  yTitle: "turns",
  series: [
    {
      label: "one",
      style: "curve",
      points: [
        [0, 1],
        [10, 3],
        [20, 2],
      ],
    },
    {
      label: "other",
      style: "curve",
      points: [
        [0, 1],
        [10, Number.NaN],
        [20, 2.01],
      ],
    },
  ],
};

function drawn(style: Series["style"]): string {
  const points = [
    [0, 1],
    [10, 2],
  ] as const;
  return plotSvg({ ...PLOT, series: [{ label: "a", style, points }] });
}

/** Heights of the labels at the ends of the series. */
function labelHeights(svg: string): number[] {
  return [...svg.matchAll(/<text x="540" y="([\d.]+)"/gu)].map(([, y]) => Number(y));
}

describe("plotSvg", () => {
  it("names both axes, and breaks a line where a value is missing", () => {
    const svg = plotSvg(PLOT);
    for (const name of ["Turns in flight", "time, s", "turns"]) expect(svg).toContain(`>${name}<`);
    expect(svg.match(/<polyline/gu)).toHaveLength(3);
    expect(svg).not.toContain("NaN");
  });

  it("keeps the names of series apart that end at one height, also on the axis", () => {
    for (const height of [0, 2]) {
      const points = [
        [0, 5],
        [20, height],
      ] as const;
      const series = PLOT.series.map((each) => ({ ...each, points }));
      const [first = 0, second = 0] = labelHeights(plotSvg({ ...PLOT, series }));
      expect(second - first).toBeGreaterThanOrEqual(15);
      expect(second).toBeLessThanOrEqual(254);
    }
  });

  it("takes any text, no series at all, and nothing but zeros", () => {
    const svg = plotSvg({ title: '<b>&"', xTitle: "x", yTitle: "y", series: [] });
    expect(svg).toContain("&lt;b&gt;&amp;&quot;");
    const zeros = plotSvg({
      ...PLOT,
      series: [{ label: "none", style: "area", points: [[0, 0]] }],
    });
    for (const each of [svg, zeros]) expect(each).not.toMatch(/NaN|Infinity/u);
    const marks = [...zeros.matchAll(/text-anchor="end">([^<]+)</gu)].map(([, mark]) => mark);
    expect(marks.length).toBeGreaterThan(2);
    expect(new Set(marks).size, "no two marks of an axis are alike").toBe(marks.length);
  });

  it("draws steps at right angles, and fills an area down to the axis", () => {
    expect(/points="([^"]+)"/u.exec(drawn("steps"))?.[1]?.split(" ")).toHaveLength(3);
    expect(drawn("area")).toContain("<polygon");
  });

  it("marks the points of a line, and those alone of dots", () => {
    expect(drawn("line").match(/<circle/gu)).toHaveLength(2);
    expect(drawn("line")).toContain("<polyline");
    expect(drawn("dots")).not.toContain("<polyline");
    for (const style of ["curve", "dashed"] as const) expect(drawn(style)).not.toContain("<circle");
  });

  it("has each colour for light and for dark", () => {
    for (const colour of PLOT_COLOURS) {
      expect(PLOT_STYLE.split(`--plot-${colour}:`)).toHaveLength(3);
    }
  });
});
