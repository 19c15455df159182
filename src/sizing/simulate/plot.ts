/**
 * Lines over time as SVG, to be read on a light and on a dark page, with no script. The colours are
 * in {@link PLOT_STYLE}, which the page holds once. Pure.
 *
 * @module
 */

export const PLOT_COLOURS = ["blue", "teal", "orange", "red", "violet", "grey"] as const;
export type PlotColour = (typeof PLOT_COLOURS)[number];

export interface PlotLine {
  readonly label: string;
  readonly colour: PlotColour;
  /** Ascending in x; where y is NaN the line is broken. */
  readonly points: readonly (readonly [x: number, y: number])[];
  /** `area` is filled down to the axis, `dashed` is for limits, `steps` for whole numbers. */
  readonly style?: "area" | "dashed" | "steps";
}

export interface Plot {
  /** What is shown, with its unit: it names the axis that goes up. */
  readonly title: string;
  readonly xTitle: string;
  readonly lines: readonly PlotLine[];
  /** The highest value that is shown at least. */
  readonly top?: number;
}

/** For the `<style>` of the page. */
export const PLOT_STYLE = `
.plot { width: 100%; height: auto; font: 12px system-ui, sans-serif; fill: var(--plot-text); }
.plot .title { font-size: 14px; font-weight: 600; }
.plot .grid { stroke: var(--plot-text); stroke-opacity: 0.18; }
.plot .axis { stroke: var(--plot-text); stroke-opacity: 0.7; }
.plot .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.plot .dashed { stroke-dasharray: 6 4; stroke-width: 1.3; }
.plot .area { fill-opacity: 0.16; stroke: none; }
:root { --plot-text: #4b5563; --plot-blue: #2563eb; --plot-teal: #0f766e; --plot-orange: #b45309;
  --plot-red: #c02626; --plot-violet: #6d4bd8; --plot-grey: #6b7280; }
@media (prefers-color-scheme: dark) { :root { --plot-text: #b6bcc6; --plot-blue: #6ea8fe;
  --plot-teal: #4fd1b5; --plot-orange: #f0ad4e; --plot-red: #f27979; --plot-violet: #b19cf5;
  --plot-grey: #9aa1ac; } }
`;

const WIDTH = 860;
const HEIGHT = 250;
const LEFT = 62;
/** Room for the names of the lines, at their ends. */
const RIGHT = 150;
const TOP = 36;
const BOTTOM = 42;
const LABEL_HEIGHT = 15;
const RIGHT_END = WIDTH - RIGHT;
const BASE = HEIGHT - BOTTOM;

export function plotSvg({ title, xTitle, lines, top }: Plot): string {
  const all = lines.flatMap(({ points }) => points);
  const [left, right] = [0, all.reduce((most, [x]) => Math.max(most, x), 0) || 1];
  const highest = all.reduce((most, [, y]) => (y > most ? y : most), top ?? 0) || 1;
  const step = stepOf(highest, 5);
  const scaleTop = Math.ceil(highest / step - 1e-9) * step;
  const yTicks = roundTicks(0, scaleTop, step);
  const atX = (x: number) => LEFT + ((x - left) / (right - left)) * (RIGHT_END - LEFT);
  const atY = (y: number) => BASE - (y / scaleTop) * (BASE - TOP);
  return [
    `<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeXml(title)}">`,
    `<text class="title" x="${LEFT}" y="18">${escapeXml(title)}</text>`,
    ...yTicks.map((tick) => yTickOf(tick, atY(tick))),
    ...roundTicks(left, right, stepOf(right - left, 8)).map((tick) => {
      const x = atX(tick).toFixed(1);
      return `<text x="${x}" y="${BASE + 16}" text-anchor="middle">${tick.toLocaleString("en")}</text>`;
    }),
    `<text x="${(LEFT + RIGHT_END) / 2}" y="${HEIGHT - 8}" text-anchor="middle">${escapeXml(xTitle)}</text>`,
    ...lines.map((line) => lineOf(line, atX, atY)),
    ...labelsOf(lines, atY),
    "</svg>",
  ].join("\n");
}

/** Text for between the tags of HTML or SVG, or in an attribute. */
export function escapeXml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

function yTickOf(tick: number, y: number): string {
  const kind = tick === 0 ? "axis" : "grid";
  return (
    `<line class="${kind}" x1="${LEFT}" x2="${RIGHT_END}" y1="${y.toFixed(1)}" y2="${y.toFixed(1)}"/>` +
    `<text x="${LEFT - 8}" y="${(y + 4).toFixed(1)}" text-anchor="end">${tick.toLocaleString("en")}</text>`
  );
}

type Place = (value: number) => number;

function lineOf({ colour, points, style }: PlotLine, atX: Place, atY: Place): string {
  const stroke = `style="stroke: var(--plot-${colour})"`;
  const kind = style === "dashed" ? "line dashed" : "line";
  return pieces(points)
    .map((piece) => {
      const corners = style === "steps" ? stepped(piece) : piece;
      const path = corners.map(([x, y]) => `${atX(x).toFixed(1)},${atY(y).toFixed(1)}`).join(" ");
      const line = `<polyline class="${kind}" ${stroke} points="${path}"/>`;
      if (style !== "area") return line;
      const from = atX(piece[0]?.[0] ?? 0).toFixed(1);
      const to = atX(piece.at(-1)?.[0] ?? 0).toFixed(1);
      const fill = `style="fill: var(--plot-${colour})"`;
      return `<polygon class="area" ${fill} points="${from},${BASE} ${path} ${to},${BASE}"/>${line}`;
    })
    .join("\n");
}

/** Cut where a value is missing. */
function pieces(points: PlotLine["points"]): PlotLine["points"][] {
  const found: (readonly [number, number])[][] = [[]];
  for (const point of points) {
    if (Number.isNaN(point[1])) found.push([]);
    else found.at(-1)?.push(point);
  }
  return found.filter((piece) => piece.length > 0);
}

/** A value holds until the next one. */
function stepped(points: PlotLine["points"]): PlotLine["points"] {
  return points.flatMap(([x, y], index) => {
    const before = points[index - 1];
    return before === undefined ? [[x, y] as const] : [[x, before[1]] as const, [x, y] as const];
  });
}

/** At the end of each line, moved apart where they would cover each other, and up from the axis. */
function labelsOf(lines: readonly PlotLine[], atY: Place): string[] {
  const wanted = lines
    .flatMap(({ label, colour, points }) => {
      const last = points.findLast(([, y]) => !Number.isNaN(y));
      return last === undefined ? [] : [{ label, colour, y: atY(last[1]) + 4 }];
    })
    .sort((a, b) => a.y - b.y);
  const lowest = BASE + 4;
  let above = -Infinity;
  const placed = wanted.map(({ label, colour, y }, index) => {
    const room = (wanted.length - 1 - index) * LABEL_HEIGHT;
    above = Math.max(Math.min(y, lowest - room), above + LABEL_HEIGHT);
    return { label, colour, y: above };
  });
  return placed.map(
    ({ label, colour, y }) =>
      `<text x="${RIGHT_END + 8}" y="${y.toFixed(1)}" style="fill: var(--plot-${colour})">${escapeXml(label)}</text>`,
  );
}

/** A round number that goes into a length about so many times. */
function stepOf(length: number, wanted: number): number {
  const rough = length / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough) ?? rough;
}

function roundTicks(from: number, to: number, step: number): number[] {
  const ticks: number[] = [];
  for (let count = Math.ceil(from / step); count * step <= to * (1 + 1e-9); count += 1) {
    ticks.push(Number((count * step).toPrecision(6)));
  }
  return ticks;
}
