/**
 * A simulation as one page that needs nothing else: no script, no other file, light and dark. Pure.
 *
 * @module
 */

import { escapeXml, PLOT_STYLE, type PlotLine, plotSvg } from "../sizing/simulate/plot.ts";
import type { SimulationResult } from "../sizing/simulate/result.ts";
import type { SamplePoint } from "../sizing/simulate/tally.ts";
import { figuresOf, type Row, SERIES, SPREAD_HEAD } from "./simulate-figures.ts";

const STYLE = `
:root { color-scheme: light dark; --page: #ffffff; --ink: #1f2430; --soft: #5c6470; --rule: #dfe3e8; }
@media (prefers-color-scheme: dark) { :root { --page: #15181d; --ink: #e6e9ee; --soft: #a2a9b4;
  --rule: #2f353d; } }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; background: var(--page);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; font-size: 0.95rem; }
th, td { text-align: left; padding: 0.3rem 0.8rem 0.3rem 0; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
td.figure, th.figure { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
p.note { color: var(--soft); }
figure { margin: 1.5rem 0; }
${PLOT_STYLE}`;

export function simulationHtml(result: SimulationResult): string {
  const { setting, outcome, spread } = figuresOf(result);
  const title = `Simulation of a fleet: agent ${escapeXml(result.agent)}`;
  return [
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>${title}</title>\n<style>${STYLE}</style>\n</head>\n<body>`,
    `<h1>${title}</h1>`,
    table(setting, 0),
    "<h2>What comes of it</h2>",
    table(outcome, 1),
    table([...spread], 3, SPREAD_HEAD),
    ...result.notes.map((note) => `<p class="note">Note: ${escapeXml(note)}</p>`),
    "<h2>Over time</h2>",
    ...plotsOf(result).map((plot) => `<figure>\n${plot}\n</figure>`),
    "</body>\n</html>\n",
  ].join("\n");
}

/** @param figures How many cells after the label are figures. */
function table(rows: readonly Row[], figures: number, head?: Row): string {
  const rowOf = (cells: Row, tag: "td" | "th") =>
    `<tr>${cells
      .map((cell, index) => {
        const kind = index > 0 && index <= figures ? ' class="figure"' : "";
        return `<${tag}${kind}>${escapeXml(cell)}</${tag}>`;
      })
      .join("")}</tr>`;
  const lines = [
    ...(head === undefined ? [] : [rowOf(head, "th")]),
    ...rows.map((row) => rowOf(row, "td")),
  ];
  return `<table>\n${lines.join("\n")}\n</table>`;
}

function plotsOf(result: SimulationResult): string[] {
  const [unitMs, xTitle] = timeUnit(result.durationMs);
  const line = (
    label: string,
    colour: PlotLine["colour"],
    valueOf: (point: SamplePoint) => number,
    style?: PlotLine["style"],
  ): PlotLine => ({
    label,
    colour,
    points: result.points.map((point) => [point.atMs / unitMs, valueOf(point)] as const),
    ...(style !== undefined && { style }),
  });
  const room = ({ replicasUp }: SamplePoint) => replicasUp * result.replica.turns;
  const { shed, firstToken } = SERIES;
  return [
    {
      title: `${shed.title} (${shed.unit})`,
      lines: [line("shed", "red", shed.valueOf, "area")],
    },
    {
      title: `${firstToken.title} (${firstToken.unit})`,
      lines: [line("from admission", "violet", firstToken.valueOf)],
    },
    {
      title: "Memory in use against the load line (%)",
      lines: [
        line("load line", "red", () => 100, "dashed"),
        line("fullest replica", "orange", SERIES.memory.valueOf),
        line("mean of replicas", "blue", ({ usedRatio }) => 100 * usedRatio, "area"),
      ],
      top: 100,
    },
    {
      title: "Turns in flight",
      lines: [
        line("room for turns", "red", room, "dashed"),
        line("in flight", "blue", SERIES.inflight.valueOf, "area"),
      ],
    },
    {
      title: "Replicas",
      lines: [
        line("wanted or up", "grey", ({ replicas }) => replicas, "steps"),
        line("up", "teal", SERIES.replicas.valueOf, "steps"),
      ],
    },
  ].map((plot) => plotSvg({ ...plot, xTitle }));
}

function timeUnit(durationMs: number): readonly [unitMs: number, xTitle: string] {
  if (durationMs >= 4 * 86_400_000) return [86_400_000, "time (days)"];
  if (durationMs >= 4 * 3_600_000) return [3_600_000, "time (hours)"];
  return durationMs >= 600_000 ? [60_000, "time (minutes)"] : [1000, "time (s)"];
}
