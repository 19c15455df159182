import { describe, expect, it } from "vitest";
import { type Plot, PLOT_COLOURS, PLOT_STYLE, plotSvg } from "../../../src/sizing/simulate/plot.ts";

const PLOT: Plot = {
  title: "Turns in flight",
  xTitle: "time (s)",
  lines: [
    {
      label: "one",
      colour: "blue",
      points: [
        [0, 1],
        [10, 3],
        [20, 2],
      ],
    },
    {
      label: "other",
      colour: "red",
      points: [
        [0, 1],
        [10, Number.NaN],
        [20, 2.01],
      ],
    },
  ],
};

/** Heights of the labels at the ends of the lines. */
function labelHeights(svg: string): number[] {
  return [...svg.matchAll(/<text x="718" y="([\d.]+)"/gu)].map(([, y]) => Number(y));
}

describe("plotSvg", () => {
  it("names both axes, and breaks a line where a value is missing", () => {
    const svg = plotSvg(PLOT);
    expect(svg).toContain("Turns in flight");
    expect(svg).toContain("time (s)");
    expect(svg.match(/<polyline/gu)).toHaveLength(3);
    expect(svg).not.toContain("NaN");
  });

  it("keeps the names of lines apart that end at one height, also on the axis", () => {
    for (const height of [0, 2]) {
      const lines = PLOT.lines.map((line) => ({
        ...line,
        points: [
          [0, 5],
          [20, height],
        ] as const,
      }));
      const [first = 0, second = 0] = labelHeights(plotSvg({ ...PLOT, lines }));
      expect(second - first).toBeGreaterThanOrEqual(15);
      expect(second).toBeLessThanOrEqual(212);
    }
  });

  it("takes any text, and no line at all", () => {
    const svg = plotSvg({ title: '<b>&"', xTitle: "x", lines: [] });
    expect(svg).toContain("&lt;b&gt;&amp;&quot;");
    expect(svg).not.toMatch(/NaN|Infinity/u);
  });

  it("draws steps at right angles, and fills an area down to the axis", () => {
    const drawn = (style: "steps" | "area") =>
      plotSvg({
        ...PLOT,
        lines: [
          {
            label: "a",
            colour: "teal",
            style,
            points: [
              [0, 1],
              [10, 2],
            ],
          },
        ],
      });
    expect(/points="([^"]+)"/u.exec(drawn("steps"))?.[1]?.split(" ")).toHaveLength(3);
    expect(drawn("area")).toContain("<polygon");
  });

  it("has each colour for light and for dark", () => {
    for (const colour of PLOT_COLOURS) {
      expect(PLOT_STYLE.split(`--plot-${colour}:`)).toHaveLength(3);
    }
  });
});
