/**
 * A plot as SVG without script, to stand within a page: its colours are the page's CSS variables
 * `--ink`, `--faint` and `--series-1` to `--series-4`, so it is read on light and on dark. Pure.
 *
 * @module
 */

export interface Series {
  readonly label: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** `dashed` is for what is not measured: a fit, a limit, a formula. */
  readonly style: "line" | "dots" | "dashed";
}

export interface Plot {
  readonly title: string;
  /** With the unit. */
  readonly xTitle: string;
  readonly yTitle: string;
  readonly series: readonly Series[];
  /** Where the x axis has its marks; round numbers without it. */
  readonly xTicks?: readonly number[];
}

const WIDTH = 680;
const HEIGHT = 300;
const LEFT = 64;
/** Room for the names of the series, at their ends. */
const RIGHT = 150;
const TOP = 44;
const BOTTOM = 50;
const LABEL_HEIGHT = 15;
const TICKS = 6;
const COLOURS = 4;
/** Of a plot in which all is 0. */
const LEAST_TOP = 1e-9;

interface Scales {
  readonly atX: (x: number) => number;
  readonly atY: (y: number) => number;
}

export function plotSvg(plot: Plot): string {
  const { title, xTitle, yTitle, series } = plot;
  const points = series.flatMap((each) => each.points);
  const xs = points.map(([x]) => x);
  const yTicks = ticksOf(0, Math.max(LEAST_TOP, ...points.map(([, y]) => y)), Math.ceil);
  const top = yTicks.at(-1) ?? 1;
  const [from, to] = [Math.min(0, ...xs), Math.max(1, ...xs)];
  const scales = {
    atX: (x: number) => LEFT + ((x - from) / (to - from)) * (WIDTH - LEFT - RIGHT),
    atY: (y: number) => HEIGHT - BOTTOM - (y / top) * (HEIGHT - TOP - BOTTOM),
  };
  const middle = (LEFT + WIDTH - RIGHT) / 2;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(title)}" font-family="system-ui, sans-serif" font-size="12" fill="var(--ink)">`,
    `<text x="${LEFT}" y="16" font-size="14" font-weight="600">${escaped(title)}</text>`,
    `<text x="${LEFT}" y="34" fill="var(--faint)">${escaped(yTitle)}</text>`,
    ...yTicks.map((tick) => yTickOf(tick, scales)),
    ...(plot.xTicks ?? ticksOf(from, to, Math.floor)).map((tick) => xTickOf(tick, scales)),
    ...series.map((each, at) => seriesOf(each, colourOf(at), scales)),
    ...labelsOf(series, scales),
    `<text x="${middle}" y="${HEIGHT - 8}" text-anchor="middle" fill="var(--faint)">${escaped(xTitle)}</text>`,
    "</svg>",
  ].join("\n");
}

function yTickOf(tick: number, { atY }: Scales): string {
  const y = shown(atY(tick));
  return (
    `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y}" y2="${y}" stroke="var(--faint)" stroke-opacity="${tick === 0 ? 0.9 : 0.25}"/>` +
    `<text x="${LEFT - 8}" y="${shown(atY(tick) + 4)}" text-anchor="end">${tick.toLocaleString("en")}</text>`
  );
}

function xTickOf(tick: number, { atX }: Scales): string {
  return `<text x="${shown(atX(tick))}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${tick.toLocaleString("en")}</text>`;
}

function seriesOf({ points, style }: Series, colour: string, { atX, atY }: Scales): string {
  const places = points.map(([x, y]) => [shown(atX(x)), shown(atY(y))] as const);
  const dots = places.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="3.5" fill="${colour}"/>`);
  if (style === "dots") return dots.join("");
  const path = places.map((place) => place.join(",")).join(" ");
  const dashes = style === "dashed" ? ' stroke-dasharray="6 4"' : "";
  const line = `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"${dashes}/>`;
  return style === "dashed" ? line : line + dots.join("");
}

/** At the end of each series, moved apart where they would cover each other. */
function labelsOf(series: readonly Series[], { atY }: Scales): string[] {
  const wanted = series
    .flatMap(({ label, points }, at) => {
      const last = points.at(-1);
      return last === undefined ? [] : [{ label, colour: colourOf(at), y: atY(last[1]) + 4 }];
    })
    .sort((a, b) => a.y - b.y);
  let above = -Infinity;
  return wanted.map(({ label, colour, y }) => {
    above = Math.max(y, above + LABEL_HEIGHT);
    return `<text x="${WIDTH - RIGHT + 10}" y="${shown(above)}" fill="${colour}">${escaped(label)}</text>`;
  });
}

function colourOf(at: number): string {
  return `var(--series-${(at % COLOURS) + 1})`;
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
