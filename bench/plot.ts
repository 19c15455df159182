/**
 * Time series as SVG, to be read on a light and on a dark page. Pure.
 *
 * @module
 */

export interface Line {
  readonly label: string;
  readonly colour: keyof typeof COLOURS;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** `area` is filled down to the axis, `dashed` is for limits. */
  readonly style?: "area" | "dashed" | "thin";
}

export interface Panel {
  /** With the unit, above the panel. */
  readonly title: string;
  readonly lines: readonly Line[];
  /** Moments worth a mark, such as kills. */
  readonly marks?: readonly { readonly x: number; readonly label: string }[];
  /** The highest value shown; that of the lines without it. */
  readonly top?: number;
}

export interface Plot {
  readonly title: string;
  /** Below the last panel, with the unit. */
  readonly xTitle: string;
  readonly panels: readonly Panel[];
}

/** Readable on white and on the dark grey of code hosts. */
const COLOURS = {
  blue: "#3b82f6",
  teal: "#14a38b",
  orange: "#e08a1e",
  red: "#dc4a4a",
  violet: "#8b6cd9",
  grey: "#8a8f98",
} as const;

const WIDTH = 860;
const LEFT = 58;
/** Room for the names of the lines, at their ends. */
const RIGHT = 150;
const PANEL_HEIGHT = 190;
const PANEL_GAP = 60;
const TOP = 62;
const BOTTOM = 46;
const LABEL_HEIGHT = 15;
/** Points of a line beyond which several share one, their highest kept. */
const MAX_POINTS = 700;

export function plotOf({ title, xTitle, panels }: Plot): string {
  const height = TOP + panels.length * PANEL_HEIGHT + (panels.length - 1) * PANEL_GAP + BOTTOM;
  const xs = panels.flatMap(({ lines }) => lines.flatMap(({ points }) => points.map(([x]) => x)));
  const [left, right] = [Math.min(...xs, 0), Math.max(...xs, 1)];
  const atX = (x: number) => LEFT + ((x - left) / (right - left)) * (WIDTH - LEFT - RIGHT);
  const drawn = panels.map((panel, index) => {
    const bottom = TOP + index * (PANEL_HEIGHT + PANEL_GAP) + PANEL_HEIGHT;
    return panelOf(panel, { atX, bottom, xTicks: ticksOf(left, right, 8) });
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="system-ui, sans-serif" font-size="12" fill="${COLOURS.grey}">`,
    `<text x="${LEFT}" y="22" font-size="15" font-weight="600">${escaped(title)}</text>`,
    ...drawn,
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${height - 8}" text-anchor="middle">${escaped(xTitle)}</text>`,
    "</svg>\n",
  ].join("\n");
}

interface Place {
  readonly atX: (x: number) => number;
  /** Where the axis is; down is more. */
  readonly bottom: number;
  readonly xTicks: readonly number[];
}

function panelOf({ title, lines, marks = [], top }: Panel, { atX, bottom, xTicks }: Place): string {
  const highest = top ?? Math.max(1, ...lines.flatMap(({ points }) => points.map(([, y]) => y)));
  const yTicks = ticksOf(0, highest * 1.04, 5);
  const scaleTop = Math.max(highest * 1.04, yTicks.at(-1) ?? 1);
  const atY = (y: number) => bottom - (Math.min(y, scaleTop) / scaleTop) * PANEL_HEIGHT;
  const end = WIDTH - RIGHT;
  const grid = yTicks.map(
    (tick) =>
      `<line x1="${LEFT}" x2="${end}" y1="${atY(tick)}" y2="${atY(tick)}" stroke="${COLOURS.grey}" stroke-opacity="${tick === 0 ? 0.8 : 0.25}"/>` +
      `<text x="${LEFT - 8}" y="${atY(tick) + 4}" text-anchor="end">${tick.toLocaleString("en")}</text>`,
  );
  const times = xTicks.map(
    (tick) => `<text x="${atX(tick)}" y="${bottom + 17}" text-anchor="middle">${tick}</text>`,
  );
  return [
    `<text x="${LEFT}" y="${bottom - PANEL_HEIGHT - 12}" font-weight="600">${escaped(title)}</text>`,
    ...grid,
    ...times,
    ...lines.map((line) => pathOf(line, atX, atY, bottom)),
    ...marks.map(({ x, label }) => markOf(atX(x), bottom, label)),
    ...labelsOf(lines, atX, atY),
  ].join("\n");
}

function pathOf(
  { colour, points, style }: Line,
  atX: (x: number) => number,
  atY: (y: number) => number,
  bottom: number,
): string {
  const kept = thinned(points);
  const path = kept.map(([x, y]) => `${atX(x).toFixed(1)},${atY(y).toFixed(1)}`).join(" ");
  const [from, to] = [kept[0]?.[0] ?? 0, kept.at(-1)?.[0] ?? 0];
  const dashes = style === "dashed" ? ' stroke-dasharray="6 4"' : "";
  const width = style === "thin" || style === "dashed" ? 1.2 : 1.8;
  const line = `<polyline points="${path}" fill="none" stroke="${COLOURS[colour]}" stroke-width="${width}"${dashes}/>`;
  if (style !== "area") return line;
  const area = `${atX(from).toFixed(1)},${bottom} ${path} ${atX(to).toFixed(1)},${bottom}`;
  return `<polygon points="${area}" fill="${COLOURS[colour]}" fill-opacity="0.18"/>${line}`;
}

/** At the end of each line, moved apart where they would cover each other. */
function labelsOf(
  lines: readonly Line[],
  atX: (x: number) => number,
  atY: (y: number) => number,
): string[] {
  const wanted = lines
    .flatMap(({ label, colour, points }) => {
      const last = points.at(-1);
      return last === undefined ? [] : [{ label, colour, x: atX(last[0]), y: atY(last[1]) + 4 }];
    })
    .sort((a, b) => a.y - b.y);
  let above = -Infinity;
  return wanted.map(({ label, colour, y }) => {
    above = Math.max(y, above + LABEL_HEIGHT);
    return `<text x="${WIDTH - RIGHT + 8}" y="${above.toFixed(1)}" fill="${COLOURS[colour]}">${escaped(label)}</text>`;
  });
}

function markOf(x: number, bottom: number, label: string): string {
  const top = bottom - PANEL_HEIGHT;
  // Towards the end of the panel the words go before the line, off the names of the lines, and off
  // a curve that rises to it.
  const [at, anchor] = x > WIDTH / 2 ? [x - 16, "end"] : [x + 6, "start"];
  return (
    `<line x1="${x}" x2="${x}" y1="${top}" y2="${bottom}" stroke="${COLOURS.red}" stroke-width="1"/>` +
    `<text x="${at}" y="${top + 36}" text-anchor="${anchor}" fill="${COLOURS.red}">${escaped(label)}</text>`
  );
}

/** Round numbers, about as many as wanted. */
function ticksOf(from: number, to: number, wanted: number): number[] {
  const rough = (to - from) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough) ?? rough;
  const ticks: number[] = [];
  for (let tick = Math.ceil(from / step) * step; tick <= to; tick += step) {
    ticks.push(Number(tick.toPrecision(6)));
  }
  return ticks;
}

function thinned(points: Line["points"]): Line["points"] {
  const share = Math.ceil(points.length / MAX_POINTS);
  if (share <= 1) return points;
  const kept: (readonly [number, number])[] = [];
  for (let at = 0; at < points.length; at += share) {
    const group = points.slice(at, at + share);
    kept.push(group.reduce((high, point) => (point[1] > high[1] ? point : high)));
  }
  return kept;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
