/**
 * The hull as shapes: a ship seen from the side, her hold cut open. Pure.
 *
 * The hold is to scale: its floor is 0 bytes, the deck is the limit, and whatever lies in it has an
 * area as its bytes. So the cargo reaches as high as what is committed, and the sea outside does, too:
 * the water meets the load line when one turn more would cross it.
 *
 * Lengths are CSS pixels, from the top left. The drawing is made for a width instead of being scaled
 * to it, so that texts keep their size on a phone.
 *
 * @module
 */

import type { Cargo, TurnCargo } from "./cargo.ts";

export interface Drawing {
  readonly width: number;
  readonly height: number;
  /** All of the hull from stern to bow. */
  readonly hullPath: string;
  /** Where the deckhouse and the foremast stand. */
  readonly house: Placement;
  readonly foremast: Placement;
  readonly hold: Rect;
  readonly bands: readonly Band[];
  readonly boxes: readonly Box[];
  /** Where more turns would lie, as many as fit. */
  readonly free: readonly Rect[];
  /** Of the load line, of the deck, which is the limit, and of the water. */
  readonly lineY: number;
  readonly deckY: number;
  readonly waterY: number;
  readonly mark: { readonly x: number; readonly y: number; readonly radius: number };
  /** Draft marks at the stern. */
  readonly ticks: readonly { readonly y: number; readonly text: string }[];
  readonly labels: readonly Label[];
  /** Where it is told of sessions that are not on board: in the water under the keel. */
  readonly anchor: Point;
  /** From where the load line is drawn, to where. */
  readonly lineFromX: number;
  readonly lineToX: number;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Rect extends Point {
  readonly width: number;
  readonly height: number;
}

/** Where something stands on the deck, and how large it is drawn. */
export interface Placement extends Point {
  readonly scale: number;
}

export type BandKind = "server" | "resting" | "kept" | "other" | "pool" | "reserve";

export interface Band extends Rect {
  readonly kind: BandKind;
}

/** A turn: its outline, and how much of it is filled. */
export interface Box extends Rect {
  readonly cargo: TurnCargo;
  /** From its floor up. */
  readonly fillHeight: number;
  /** Of the prediction, where the turn holds more than that; else the height of the box. */
  readonly predictedHeight: number;
}

export interface Label {
  readonly kind: "limit" | "line" | "committed";
  /** Of what it tells of, and where there is room to write it. */
  readonly y: number;
  readonly textY: number;
  readonly x: number;
}

/** Below this there is room for the ship alone; labels are then beside the picture. */
const NARROW_PX = 620;
const LABEL_GAP_PX = 32;
const GIB = 2 ** 30;

/** What one turn more is predicted to hold, and how many of them fit. */
export interface NextTurns {
  readonly bytes: number;
  readonly count: number;
}

/** Beyond these, one cannot be told from the other. */
const MOST_FREE = 200;

interface Scale {
  readonly hold: Rect;
  readonly pxPerByte: number;
  readonly perRow: number;
}

interface Frame {
  readonly width: number;
  readonly height: number;
  readonly isNarrow: boolean;
  /** Where the hull ends at the keel, its deck being longer at both ends. */
  readonly left: number;
  readonly right: number;
  readonly hold: Rect;
}

/** @param places Of the turns, in rows from the bottom. */
export function drawHull(
  cargo: Cargo,
  places: ReadonlyMap<string, number>,
  next: NextTurns,
  widthPx: number,
): Drawing {
  const frame = frameOf(Math.max(280, widthPx));
  const { hold } = frame;
  const pxPerByte = hold.height / Math.max(1, cargo.limitBytes);
  const floorY = hold.y + hold.height;
  const yOf = (bytes: number) => clamp(floorY - bytes * pxPerByte, 4, floorY);
  const lineY = yOf(cargo.loadLineBytes);
  const waterY = yOf(cargo.committedBytes);
  const radius = frame.isNarrow ? 9 : 17;
  const markX = frame.isNarrow ? hold.x + hold.width + 15 : hold.x + hold.width + 40;
  return {
    width: frame.width,
    height: frame.height,
    ...shipOf(frame),
    ...stow(cargo, places, { hold, pxPerByte, perRow: perRowOf(hold, next.bytes * pxPerByte) }),
    free: freeOf(cargo, hold, pxPerByte, next),
    hold,
    lineY,
    deckY: hold.y,
    waterY,
    mark: { x: markX, y: lineY, radius },
    ticks: frame.isNarrow ? [] : ticksOf(cargo.limitBytes, yOf),
    labels: frame.isNarrow
      ? []
      : labelsOf(frame, { limit: hold.y, line: lineY, committed: waterY }),
    anchor: { x: hold.x + 8, y: frame.height - (frame.isNarrow ? 6 : 12) },
    lineFromX: frame.left - (frame.isNarrow ? 4 : 14),
    lineToX: frame.width - (frame.isNarrow ? 4 : 156),
  };
}

function frameOf(width: number): Frame {
  const isNarrow = width < NARROW_PX;
  const height = isNarrow ? 330 : Math.round(clamp(width * 0.43, 340, 440));
  const [top, keel] = isNarrow ? [64, height - 22] : [92, height - 34];
  const [left, right] = isNarrow ? [9, width - 12] : [30, width - 190];
  const [stern, bow] = isNarrow ? [16, 42] : [56, 96];
  const hold = {
    x: left + stern,
    y: top,
    width: right - left - stern - bow,
    // Below the hold there is the double bottom.
    height: keel - 12 - top,
  };
  return { width, height, isNarrow, left, right, hold };
}

/** A raked bow on the right, a counter stern and the deckhouse on the left. */
function shipOf({ left, right, hold, isNarrow }: Frame) {
  const deck = hold.y;
  const keel = hold.y + hold.height + 12;
  const [rake, bulwark, counter, bilge] = isNarrow ? [8, 12, 6, 18] : [26, 20, 18, 30];
  const hullPath = [
    `M${left - counter} ${deck - 8}`,
    `L${hold.x + 6} ${deck - 8} L${hold.x + 10} ${deck}`,
    `L${hold.x + hold.width - 4} ${deck} L${hold.x + hold.width + 4} ${deck - bulwark * 0.6}`,
    `Q${right - 12} ${deck - bulwark * 0.8} ${right + rake} ${deck - bulwark}`,
    `Q${right + rake * 0.3} ${deck + (keel - deck) * 0.35} ${right - 6} ${keel - 34}`,
    `Q${right - 12} ${keel} ${right - 48} ${keel}`,
    `L${left + bilge} ${keel}`,
    `Q${left + 5} ${keel} ${left + 4} ${keel - bilge}`,
    `L${left} ${deck + 34} Z`,
  ].join(" ");
  const scale = isNarrow ? 0.62 : 1;
  return {
    hullPath,
    house: { x: left - 6 * scale, y: deck - 8, scale },
    foremast: { x: right - 26 * scale, y: deck - bulwark * 0.8, scale },
  };
}

/** Bands over the whole width, and between them the turns in rows, as containers are stowed. */
function stow(
  cargo: Cargo,
  places: ReadonlyMap<string, number>,
  { hold, pxPerByte, perRow }: Scale,
) {
  let bytesBelow = 0;
  const bandOf = (kind: BandKind, bytes: number): Band => {
    const band = rowRect(hold, pxPerByte, bytesBelow, bytes);
    bytesBelow += bytes;
    return { kind, ...band };
  };
  const below = [
    bandOf("server", cargo.serverBytes),
    bandOf("resting", cargo.restingBytes),
    bandOf("kept", cargo.keptBytes),
  ];
  const boxes: Box[] = [];
  for (const row of rowsOf(cargo.turns, places, perRow)) {
    const rowBytes = row.reduce((sum, { weightBytes }) => sum + weightBytes, 0);
    boxes.push(...boxesOf(row, rowRect(hold, pxPerByte, bytesBelow, rowBytes)));
    bytesBelow += rowBytes;
  }
  const above = [bandOf("other", cargo.otherBytes), bandOf("pool", cargo.poolBytes)];
  const reserve = rowRect(
    hold,
    pxPerByte,
    cargo.loadLineBytes,
    cargo.limitBytes - cargo.loadLineBytes,
  );
  return { bands: [...below, ...above, { kind: "reserve" as const, ...reserve }], boxes };
}

/** What lies on so many bytes; nothing is higher than the deck. */
function rowRect(hold: Rect, pxPerByte: number, bytesBelow: number, bytes: number): Rect {
  const floorY = hold.y + hold.height;
  const bottomY = Math.max(hold.y, floorY - bytesBelow * pxPerByte);
  const topY = Math.max(hold.y, floorY - (bytesBelow + bytes) * pxPerByte);
  return { x: hold.x, y: topY, width: hold.width, height: bottomY - topY };
}

/** Rows without a turn take no room. */
function rowsOf(
  turns: readonly TurnCargo[],
  places: ReadonlyMap<string, number>,
  perRow: number,
): readonly (readonly TurnCargo[])[] {
  const placeOf = ({ turnId }: TurnCargo) => places.get(turnId) ?? places.size;
  const rows = new Map<number, TurnCargo[]>();
  for (const turn of [...turns].sort((one, other) => placeOf(one) - placeOf(other))) {
    const row = Math.floor(placeOf(turn) / perRow);
    rows.set(row, [...(rows.get(row) ?? []), turn]);
  }
  return [...rows.values()];
}

/**
 * Turns in a row, so that each is about twice as wide as high.
 * @param aloneHeight Of a turn that has a row for itself.
 */
function perRowOf(hold: Rect, aloneHeight: number): number {
  return Math.max(1, Math.round(Math.sqrt(hold.width / (2 * Math.max(0.5, aloneHeight)))));
}

/** On top of the cargo, and never above the load line. */
function freeOf(cargo: Cargo, hold: Rect, pxPerByte: number, next: NextTurns): readonly Rect[] {
  const perRow = perRowOf(hold, next.bytes * pxPerByte);
  const count = Math.min(next.count, MOST_FREE);
  const rows: Rect[] = [];
  for (let index = 0; index < count; index += perRow) {
    const inRow = Math.min(perRow, count - index);
    const row = rowRect(
      hold,
      pxPerByte,
      cargo.committedBytes + index * next.bytes,
      inRow * next.bytes,
    );
    const width = hold.width / inRow;
    for (let place = 0; place < inRow; place += 1) {
      rows.push({ ...row, x: hold.x + place * width, width });
    }
  }
  return rows;
}

/** Widths as their weights: then an area is as its bytes, and all are as high as the row. */
function boxesOf(row: readonly TurnCargo[], place: Rect): readonly Box[] {
  const rowBytes = row.reduce((sum, { weightBytes }) => sum + weightBytes, 0);
  let x = place.x;
  return row.map((cargo) => {
    const width = rowBytes === 0 ? 0 : (place.width * cargo.weightBytes) / rowBytes;
    const ratioOf = (bytes: number) => bytes / Math.max(1, cargo.weightBytes);
    const box = {
      cargo,
      x,
      y: place.y,
      width,
      height: place.height,
      fillHeight: place.height * ratioOf(cargo.heldBytes ?? 0),
      predictedHeight: place.height * ratioOf(cargo.predictedBytes),
    };
    x += width;
    return box;
  });
}

/** Four to eight marks at round figures. */
function ticksOf(limitBytes: number, yOf: (bytes: number) => number) {
  const limitGib = limitBytes / GIB;
  const steps = [0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
  const stepGib = steps.find((step) => limitGib / step <= 8) ?? 2048;
  const count = Math.floor(limitGib / stepGib);
  return Array.from({ length: count }, (_, index) => {
    const gib = (index + 1) * stepGib;
    const text = stepGib < 1 ? gib.toFixed(stepGib < 0.25 ? 3 : stepGib < 0.5 ? 2 : 1) : `${gib}`;
    return { y: yOf(gib * GIB), text };
  });
}

/** From the top down; those that would overlap move apart. */
function labelsOf(frame: Frame, ys: Record<Label["kind"], number>): readonly Label[] {
  const x = frame.width - 148;
  const kinds = ["limit", "line", "committed"] as const;
  const sorted = [...kinds].sort((one, other) => ys[one] - ys[other]);
  let leastY = 14;
  const labels: Label[] = [];
  for (const kind of sorted) {
    const textY = Math.max(leastY, ys[kind] - (kind === "committed" ? 0 : 14));
    labels.push({ kind, y: ys[kind], textY, x });
    leastY = textY + LABEL_GAP_PX;
  }
  return labels;
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value));
}
