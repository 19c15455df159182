/**
 * The hull: memory of a replica as a ship that is loaded up to her line.
 *
 * @module
 */

import { useComputed, useSignal } from "@preact/signals";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import type { Feed } from "../feed/feed.ts";
import type { Capacity } from "../feed/capacity.ts";
import { bytesText } from "../ui/format.ts";
import { Boxes, type Choice } from "./boxes.tsx";
import { type Cargo, cargoOf, stowed } from "./cargo.ts";
import {
  type Drawing,
  drawHull,
  type Label,
  type NextTurns,
  type Point,
  type Rect,
} from "./drawing.ts";
import { Fittings } from "./fittings.tsx";
import { TurnCard } from "./turn-card.tsx";
import { cargoText, idleText } from "./words.ts";

interface HullProps {
  readonly feed: Pick<Feed, "capacity" | "liveTurns" | "endedTurns">;
  /** What to call it where there are several. */
  readonly name?: string;
  readonly nowMs: number;
}

/** Nothing until the feed has told of a capacity. */
export function Hull({ feed, name, nowMs }: HullProps) {
  const id = useId();
  const scene = useRef<HTMLDivElement>(null);
  const width = useWidth(scene);
  const choice: Choice = {
    hovered: useSignal(null),
    focused: useSignal(null),
    pinned: useSignal(null),
  };
  const cargo = useComputed(() => {
    const event = feed.capacity.value;
    return event === null ? null : cargoOf(event, feed.liveTurns.value, feed.endedTurns.value);
  });
  const places = useRef<ReadonlyMap<string, number>>(new Map());
  places.current = stowed(places.current, cargo.value?.turns ?? []);
  const event = feed.capacity.value;
  const isKnown = event !== null && cargo.value !== null && width.value > 0;
  return (
    <figure class="hull">
      <div class="hull-scene" ref={scene}>
        {isKnown && (
          <Ship
            {...{ id, choice, nowMs }}
            cargo={cargo.value}
            drawing={drawHull(cargo.value, places.current, nextOf(event.capacity), width.value)}
            idle={idleText(event)}
          />
        )}
      </div>
      <figcaption class="aloud">
        {name === undefined ? "" : `${name}: `}
        {isKnown ? cargoText(cargo.value, event) : "No figures yet."}
      </figcaption>
    </figure>
  );
}

function nextOf({ nextTurnBytes, turnsThatFit, inflight }: Capacity): NextTurns {
  return { bytes: nextTurnBytes, count: Math.max(0, turnsThatFit - inflight) };
}

interface ShipProps {
  readonly id: string;
  readonly cargo: Cargo;
  readonly drawing: Drawing;
  readonly choice: Choice;
  readonly nowMs: number;
  /** Null where their number is not known. */
  readonly idle: string | null;
}

function Ship({ id, cargo, drawing, choice, nowMs, idle }: ShipProps) {
  const { width, height, waterY } = drawing;
  const isOver = cargo.committedBytes > cargo.loadLineBytes;
  return (
    <>
      <div class="hull-water" aria-hidden="true" style={{ height: `${height}px` }}>
        <div class="hull-sea" style={{ transform: `translateY(${waterY}px)` }}>
          <div class="hull-waves hull-waves-far" />
          <div class="hull-waves" />
        </div>
      </div>
      <svg
        class={`hull-ship ${isOver ? "hull-over" : ""}`}
        viewBox={`0 0 ${width} ${height}`}
        width={width}
        height={height}
        role="group"
        aria-label="Turns on board"
      >
        <Plating id={id} drawing={drawing} />
        <Bands id={id} drawing={drawing} />
        <Free places={drawing.free} />
        <Boxes drawing={drawing} choice={choice} nowMs={nowMs} />
        <Marks drawing={drawing} cargo={cargo} />
        {idle !== null && <Anchored place={drawing.anchor} idle={idle} />}
      </svg>
      <TurnCard drawing={drawing} choice={choice} nowMs={nowMs} />
    </>
  );
}

function Plating({ id, drawing }: { readonly id: string; readonly drawing: Drawing }) {
  const { hullPath, hold, lineY, width, height, ticks } = drawing;
  return (
    <g aria-hidden="true">
      <defs>
        <clipPath id={`${id}-below`}>
          <rect x={0} y={lineY} width={width} height={height} />
        </clipPath>
        <clipPath id={`${id}-stripe`}>
          <rect x={0} y={lineY - 1.5} width={width} height={3} />
        </clipPath>
        <pattern
          id={`${id}-hatch`}
          width={7}
          height={7}
          patternUnits="userSpaceOnUse"
          patternTransform="rotate(45)"
        >
          <path d="M0 0V7" class="hull-hatch" />
        </pattern>
        <pattern
          id={`${id}-kept`}
          width={6}
          height={6}
          patternUnits="userSpaceOnUse"
          patternTransform="rotate(-45)"
        >
          <path d="M0 0V6" class="hull-hatch-kept" />
        </pattern>
      </defs>
      <Fittings house={drawing.house} foremast={drawing.foremast} />
      <path class="hull-plating" d={hullPath} />
      <path class="hull-bottom" d={hullPath} clip-path={`url(#${id}-below)`} />
      <path class="hull-stripe" d={hullPath} clip-path={`url(#${id}-stripe)`} />
      <rect class="hull-hold" {...hold} />
      {ticks.map(({ y, text }) => (
        <g key={text}>
          <path class="hull-tick" d={`M${hold.x - 9} ${y}H${hold.x}`} />
          <text class="hull-tick-text" x={hold.x - 13} y={y + 4} text-anchor="end">
            {text}
          </text>
        </g>
      ))}
    </g>
  );
}

/** Where more turns would lie. */
function Free({ places }: { readonly places: readonly Rect[] }) {
  return (
    <g aria-hidden="true">
      {places.map(({ x, y, width, height }, index) => (
        <rect
          key={index}
          class="hull-free"
          rx={2}
          x={x + 1.5}
          y={y + 1.5}
          width={Math.max(0, width - 3)}
          height={Math.max(0, height - 3)}
        />
      ))}
    </g>
  );
}

const HATCHED = { pool: "hatch", other: "hatch", reserve: "kept" } as const;

function Bands({ id, drawing }: { readonly id: string; readonly drawing: Drawing }) {
  return (
    <g aria-hidden="true">
      {drawing.bands.map(({ kind, x, y, width, height }) => (
        <g key={kind}>
          <rect class={`hull-band hull-${kind}`} {...{ x, y, width, height }} />
          {kind in HATCHED && (
            <rect
              class="hull-band"
              fill={`url(#${id}-${HATCHED[kind as keyof typeof HATCHED]})`}
              {...{ x, y, width, height }}
            />
          )}
        </g>
      ))}
    </g>
  );
}

const LABEL_NAMES = { limit: "Limit", line: "Load line", committed: "Committed" };

function Marks({ drawing, cargo }: { readonly drawing: Drawing; readonly cargo: Cargo }) {
  const { mark, lineY, lineFromX, lineToX, labels, hold } = drawing;
  const bytes = {
    limit: cargo.limitBytes,
    line: cargo.loadLineBytes,
    committed: cargo.committedBytes,
  } satisfies Record<Label["kind"], number>;
  return (
    <g aria-hidden="true">
      <rect class="hull-rim" {...hold} />
      <path class="hull-line" d={`M${lineFromX} ${lineY}H${lineToX}`} />
      <circle class="hull-mark" cx={mark.x} cy={mark.y} r={mark.radius} />
      <path
        class="hull-mark"
        d={`M${mark.x - mark.radius * 1.7} ${mark.y}H${mark.x + mark.radius * 1.7}`}
      />
      {mark.radius > 12 && <MarkLetters {...mark} />}
      {labels.map(({ kind, x, y, textY }) => (
        <g key={kind} class={`hull-label hull-label-${kind}`}>
          <path class="hull-leader" d={`M${lineToX - 4} ${y}L${x - 14} ${textY - 4}H${x - 4}`} />
          <text class="hull-label-name" x={x} y={textY}>
            {LABEL_NAMES[kind]}
          </text>
          <text class="hull-label-bytes" x={x} y={textY + 16}>
            {bytesText(bytes[kind])}
          </text>
        </g>
      ))}
    </g>
  );
}

const ANCHOR = "M0-7V3M-3-4H3M-6-1Q-5 3 0 3T6-1M-1.5-8.5a1.5 1.5 0 1 0 3 0a1.5 1.5 0 1 0-3 0";

/** Sessions at rest are not on board: they have no process, so they weigh nothing here. */
function Anchored({ place: { x, y }, idle }: { readonly place: Point; readonly idle: string }) {
  return (
    <g class="hull-idle" aria-hidden="true" transform={`translate(${x} ${y})`}>
      <path d={ANCHOR} />
      <text x={12}>{idle}: no process</text>
    </g>
  );
}

/** As the letters of the society that has surveyed the ship. */
function MarkLetters({ x, y, radius }: Drawing["mark"]) {
  return (
    <g class="hull-mark-letters" text-anchor="middle">
      <text x={x - radius - 8} y={y - 6}>
        P
      </text>
      <text x={x + radius + 8} y={y - 6}>
        L
      </text>
    </g>
  );
}

/** Of an element, kept up to date; 0 until it is known. */
function useWidth(ref: { readonly current: HTMLElement | null }) {
  const width = useSignal(0);
  useLayoutEffect(() => {
    if (ref.current === null) return;
    const observer = new ResizeObserver(([entry]) => {
      width.value = Math.floor(entry?.contentRect.width ?? 0);
    });
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, [ref, width]);
  return width;
}
