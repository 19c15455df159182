/**
 * A plot as SVG without script, to be read on a light and on a dark page. The colours are in
 * {@link PLOT_STYLE}, which the page holds once. Pure.
 *
 * @module
 */

export const PLOT_COLOURS = ["blue", "teal", "orange", "violet", "red", "grey"] as const;
export type PlotColour = (typeof PLOT_COLOURS)[number];

export interface Series {
  readonly label: string;
  /** Ascending in x; where y is NaN the line is broken. */
  readonly points: readonly (readonly [x: number, y: number])[];
  /**
   * `dashed` is for what is not measured: a fit, a limit, a formula. `line` marks its points; `curve`
   * has too many of them. `steps` is for what holds until the next value, `area` is filled.
   */
  readonly style: "line" | "curve" | "dots" | "dashed" | "steps" | "area";
  /** By its place among the others without it. */
  readonly colour?: PlotColour;
}

export interface Plot {
  readonly title: string;
  /** With the unit. */
  readonly xTitle: string;
  readonly yTitle: string;
  readonly series: readonly Series[];
  /** Where the x axis has its marks; round numbers without it. */
  readonly xTicks?: readonly number[];
  /** What is shown at least. */
  readonly top?: number;
}

/** For the `<style>` of the page. */
export const PLOT_STYLE = `
:root { --plot-blue: #1f6fd6; --plot-teal: #0b8a74; --plot-orange: #b8620b;
  --plot-violet: #7a52c7; --plot-red: #c02626; --plot-grey: #6b7280; }
@media (prefers-color-scheme: dark) { :root { --plot-blue: #6aa9ff; --plot-teal: #3cc9ad;
  --plot-orange: #f0a04b; --plot-violet: #b495f5; --plot-red: #f27979; --plot-grey: #9aa1ac; } }
`;

const WIDTH = 680;
const HEIGHT = 300;
const LEFT = 64;
/** Room for the names of the series, at their ends. */
const RIGHT = 150;
const TOP = 44;
const BOTTOM = 50;
const RIGHT_END = WIDTH - RIGHT;
const BASE = HEIGHT - BOTTOM;
const LABEL_HEIGHT = 15;
const TICKS = 6;
/** The top of a plot in which all is 0: one line at the bottom, and marks that are not all called 0. */
const TOP_OF_NOTHING = 1;

interface Scales {
  readonly atX: (x: number) => number;
  readonly atY: (y: number) => number;
}

export function plotSvg(plot: Plot): string {
  const { title, xTitle, yTitle, series } = plot;
  const points = series.flatMap((each) => each.points);
  const found = points.reduce((most, [, y]) => (y > most ? y : most), plot.top ?? 0);
  const highest = found > 0 ? found : TOP_OF_NOTHING;
  const yTicks = ticksOf(0, highest, Math.ceil);
  const top = yTicks.at(-1) ?? 1;
  const from = points.reduce((least, [x]) => Math.min(least, x), 0);
  const furthest = points.reduce((most, [x]) => Math.max(most, x), from);
  const to = furthest > from ? furthest : from + 1;
  const scales = {
    atX: (x: number) => LEFT + ((x - from) / (to - from)) * (RIGHT_END - LEFT),
    atY: (y: number) => BASE - (y / top) * (BASE - TOP),
  };
  const xTicks = plot.xTicks ?? ticksOf(from, to, Math.floor);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(title)}" font-family="system-ui, sans-serif" font-size="12" fill="var(--ink)">`,
    `<text x="${LEFT}" y="16" font-size="14" font-weight="600">${escaped(title)}</text>`,
    `<text x="${LEFT}" y="34" fill="var(--faint)">${escaped(yTitle)}</text>`,
    ...yTicks.map((tick) => yTickOf(tick, scales)),
    ...xTicks.map((tick) => xTickOf(tick, scales)),
    ...series.map((each, at) => seriesOf(each, colourOf(each, at), scales)),
    ...labelsOf(series, scales),
    `<text x="${(LEFT + RIGHT_END) / 2}" y="${HEIGHT - 8}" text-anchor="middle" fill="var(--faint)">${escaped(xTitle)}</text>`,
    "</svg>",
  ].join("\n");
}

function yTickOf(tick: number, { atY }: Scales): string {
  const y = shown(atY(tick));
  return (
    `<line x1="${LEFT}" x2="${RIGHT_END}" y1="${y}" y2="${y}" stroke="var(--faint)" stroke-opacity="${tick === 0 ? 0.9 : 0.25}"/>` +
    `<text x="${LEFT - 8}" y="${shown(atY(tick) + 4)}" text-anchor="end">${tick.toLocaleString("en")}</text>`
  );
}

function xTickOf(tick: number, { atX }: Scales): string {
  return `<text x="${shown(atX(tick))}" y="${BASE + 18}" text-anchor="middle">${tick.toLocaleString("en")}</text>`;
}

function seriesOf({ points, style }: Series, colour: string, scales: Scales): string {
  const pieces = piecesOf(points).map((piece) => (style === "steps" ? stepped(piece) : piece));
  const hasDots = style === "dots" || style === "line";
  const hasLine = style !== "dots";
  return pieces
    .flatMap((piece) => [
      ...(style === "area" ? [areaOf(piece, colour, scales)] : []),
      ...(hasLine ? [lineOf(piece, colour, style === "dashed", scales)] : []),
      ...(hasDots ? piece.map((point) => dotOf(point, colour, scales)) : []),
    ])
    .join("");
}

type Points = Series["points"];

/** Cut where a value is missing. */
function piecesOf(points: Points): readonly Points[] {
  const pieces: (readonly [number, number])[][] = [[]];
  for (const point of points) {
    if (Number.isNaN(point[1])) pieces.push([]);
    else pieces.at(-1)?.push(point);
  }
  return pieces.filter((piece) => piece.length > 0);
}

/** A value holds until the next one. */
function stepped(points: Points): Points {
  return points.flatMap(([x, y], at) => {
    const before = points[at - 1];
    return before === undefined ? [[x, y] as const] : [[x, before[1]] as const, [x, y] as const];
  });
}

function pathOf(points: Points, { atX, atY }: Scales): string {
  return points.map(([x, y]) => `${shown(atX(x))},${shown(atY(y))}`).join(" ");
}

function lineOf(points: Points, colour: string, isDashed: boolean, scales: Scales): string {
  const dashes = isDashed ? ' stroke-dasharray="6 4"' : "";
  return `<polyline points="${pathOf(points, scales)}" fill="none" stroke="${colour}" stroke-width="2" stroke-linejoin="round"${dashes}/>`;
}

function areaOf(points: Points, colour: string, scales: Scales): string {
  const from = shown(scales.atX(points[0]?.[0] ?? 0));
  const to = shown(scales.atX(points.at(-1)?.[0] ?? 0));
  return `<polygon points="${from},${BASE} ${pathOf(points, scales)} ${to},${BASE}" fill="${colour}" fill-opacity="0.16"/>`;
}

function dotOf([x, y]: readonly [number, number], colour: string, { atX, atY }: Scales): string {
  return `<circle cx="${shown(atX(x))}" cy="${shown(atY(y))}" r="3.5" fill="${colour}"/>`;
}

/** At the end of each series, moved apart where they would cover each other, and up from the axis. */
function labelsOf(series: readonly Series[], { atY }: Scales): string[] {
  const wanted = series
    .flatMap((each, at) => {
      const last = each.points.findLast(([, y]) => !Number.isNaN(y));
      if (last === undefined) return [];
      return [{ label: each.label, colour: colourOf(each, at), y: atY(last[1]) + 4 }];
    })
    .sort((a, b) => a.y - b.y);
  const lowest = BASE + 4;
  let above = -Infinity;
  return wanted.map(({ label, colour, y }, at) => {
    const room = (wanted.length - 1 - at) * LABEL_HEIGHT;
    above = Math.max(Math.min(y, lowest - room), above + LABEL_HEIGHT);
    return `<text x="${RIGHT_END + 10}" y="${shown(above)}" fill="${colour}">${escaped(label)}</text>`;
  });
}

function colourOf({ colour }: Series, at: number): string {
  return `var(--plot-${colour ?? PLOT_COLOURS[at % PLOT_COLOURS.length]})`;
}

/** Round numbers. @param steps Whole ones: up to the end, or as far as to hold it. */
function ticksOf(from: number, to: number, steps: (number: number) => number): number[] {
  const rough = (to - from) / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough) ?? rough;
  const count = steps(Number(((to - from) / step).toPrecision(6)));
  return Array.from({ length: count + 1 }, (_, at) => Number((from + at * step).toPrecision(6)));
}

function shown(place: number): string {
  return place.toFixed(1);
}

/** For the text of a page and its attributes. */
export function escaped(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
