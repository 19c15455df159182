/**
 * The turns on board, each a box: its outline as predicted, filled as measured. One of them is in
 * the order of the Tab key, arrow keys go to the others.
 *
 * @module
 */

import type { Signal } from "@preact/signals";
import { bytesText } from "../ui/format.ts";
import type { Box, Drawing } from "./drawing.ts";
import { turnText } from "./words.ts";

/** Which turn's card is shown: each is the id of a turn. */
export interface Choice {
  readonly hovered: Signal<string | null>;
  readonly focused: Signal<string | null>;
  readonly pinned: Signal<string | null>;
}

interface BoxesProps {
  readonly drawing: Drawing;
  readonly choice: Choice;
  readonly nowMs: number;
}

const STEPS: Readonly<Record<string, number>> = {
  ArrowRight: 1,
  ArrowUp: 1,
  ArrowLeft: -1,
  ArrowDown: -1,
  Home: -Infinity,
  End: Infinity,
};

export function Boxes({ drawing, choice, nowMs }: BoxesProps) {
  const { boxes } = drawing;
  const ids = boxes.map(({ cargo }) => cargo.turnId);
  const known = choice.focused.value ?? choice.pinned.value ?? "";
  const tabId = ids.includes(known) ? known : ids[0];
  const move = (event: KeyboardEvent) => {
    if (event.key === "Escape") choice.pinned.value = null;
    const step = STEPS[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const index = ids.indexOf(tabId ?? "");
    const next = ids[Math.min(ids.length - 1, Math.max(0, index + step))] ?? "";
    const group = event.currentTarget as SVGGElement;
    group.querySelector<SVGGElement>(`[data-turn="${CSS.escape(next)}"]`)?.focus();
  };
  return (
    <>
      <g onKeyDown={move}>
        {boxes.map((box) => (
          <BoxShape
            key={box.cargo.turnId}
            {...{ box, choice, nowMs }}
            isTabStop={box.cargo.turnId === tabId}
          />
        ))}
      </g>
      <g class="hull-turn-text" aria-hidden="true">
        {boxes.map((box) => (
          <BoxText key={box.cargo.turnId} box={box} />
        ))}
      </g>
    </>
  );
}

interface BoxShapeProps {
  readonly box: Box;
  readonly choice: Choice;
  readonly nowMs: number;
  readonly isTabStop: boolean;
}

/** Space between two containers. */
const GAP_PX = 1;

function BoxShape({ box, choice, nowMs, isTabStop }: BoxShapeProps) {
  const { cargo } = box;
  const { turnId } = cargo;
  const { hovered, focused, pinned } = choice;
  const x = box.x + GAP_PX;
  const y = box.y + GAP_PX;
  const width = Math.max(0.5, box.width - 2 * GAP_PX);
  const height = Math.max(0.5, box.height - 2 * GAP_PX);
  const fillHeight = Math.min(height, box.fillHeight);
  const isPinned = pinned.value === turnId;
  return (
    <g
      class={`hull-turn ${classOf(box)} ${isPinned ? "hull-turn-pinned" : ""}`}
      data-turn={turnId}
      role="button"
      tabindex={isTabStop ? 0 : -1}
      aria-pressed={isPinned}
      aria-label={turnText(cargo, nowMs)}
      onMouseEnter={() => (hovered.value = turnId)}
      onMouseLeave={() => (hovered.value = null)}
      onFocus={() => (focused.value = turnId)}
      onBlur={() => (focused.value = null)}
      onClick={() => (pinned.value = isPinned ? null : turnId)}
      onKeyDown={(event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        pinned.value = isPinned ? null : turnId;
      }}
    >
      <rect class="hull-turn-outline" rx={2} {...{ x, y, width, height }} />
      <rect
        class="hull-turn-fill"
        rx={2}
        {...{ x, width }}
        y={y + height - fillHeight}
        height={fillHeight}
      />
      {box.predictedHeight < box.height - 1 && box.predictedHeight > 0 && (
        <path
          class="hull-turn-predicted"
          d={`M${x} ${y + height - box.predictedHeight}h${width}`}
        />
      )}
    </g>
  );
}

/** Where there is room for it. It is no part of the button, whose name says more. */
function BoxText({ box }: { readonly box: Box }) {
  const { x, y, width, height, cargo } = box;
  if (width < 74 || height < 18) return null;
  const { turn, heldBytes, predictedBytes } = cargo;
  const size = bytesText(heldBytes ?? predictedBytes);
  const name = (turn?.agent ?? "turn").slice(0, Math.floor((width - 12) / 8));
  const isTall = height >= 36;
  const isOnFill = box.fillHeight > 6;
  return (
    <g
      class={isOnFill ? "hull-on-fill" : ""}
      style={{ transform: `translate(${x + 7}px, ${y + height}px)` }}
    >
      <text y={isTall ? -21 : 4 - height / 2}>{isTall ? name : size}</text>
      {isTall && (
        <text class="hull-turn-bytes" y={-7}>
          {size}
        </text>
      )}
    </g>
  );
}

function classOf({ cargo }: Box): string {
  const { turn, heldBytes, predictedBytes, isClosing } = cargo;
  if (isClosing) return "hull-turn-closing";
  if (heldBytes !== null && heldBytes > predictedBytes) return "hull-turn-over";
  const stage = turn?.stages.at(-1)?.stage;
  return stage === undefined ? "" : `hull-turn-${stage}`;
}
