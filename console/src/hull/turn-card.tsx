/**
 * The card of a turn in the hull: what it is, where it is, what it was predicted to hold and holds.
 *
 * @module
 */

import { useComputed } from "@preact/signals";
import { hrefOf } from "../router.ts";
import { bytesText, countText, durationText, tokensText } from "../ui/format.ts";
import { nowText } from "../ui/stages.ts";
import type { Choice } from "./boxes.tsx";
import type { Box, Drawing } from "./drawing.ts";

interface TurnCardProps {
  readonly drawing: Drawing;
  readonly choice: Choice;
  readonly nowMs: number;
}

const [WIDTH_PX, HEIGHT_PX] = [280, 250];

export function TurnCard({ drawing, choice, nowMs }: TurnCardProps) {
  const shownId = useComputed(
    () => choice.hovered.value ?? choice.focused.value ?? choice.pinned.value,
  );
  const box = drawing.boxes.find(({ cargo }) => cargo.turnId === shownId.value);
  if (box === undefined) return null;
  const { turn, turnId } = box.cargo;
  return (
    <div class="hull-card" style={placeOf(box, drawing)}>
      <p class="hull-card-title">
        {turn?.agent ?? "A turn"}
        {turn !== null && <span class="badge badge-accent">{nowText(turn)}</span>}
      </p>
      <dl class="hull-facts">
        {factsOf(box, nowMs).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {choice.pinned.value === turnId && <a href={hrefOf("turns", [turnId])}>Show the turn</a>}
    </div>
  );
}

function factsOf({ cargo }: Box, nowMs: number): readonly (readonly [string, string])[] {
  const { turn, heldBytes, predictedBytes, ceilingBytes } = cargo;
  const sizes = [
    ["holds", heldBytes === null ? "not measured yet" : bytesText(heldBytes)],
    ["predicted", predictedBytes === 0 ? "none" : bytesText(predictedBytes)],
    ...(ceilingBytes === null ? [] : [["ceiling", bytesText(ceilingBytes)]]),
  ] as [string, string][];
  if (turn === null) return sizes;
  const { promptTokens, outputTokens, firstTokenMs, toolCalls, sessionId } = turn;
  const tokens = promptTokens === null ? "none yet" : tokensText(promptTokens, outputTokens ?? 0);
  return [
    ["age", durationText(nowMs - turn.startedAtMs)],
    ["session", sessionId === null ? "none" : sessionId.slice(0, 8)],
    ["transcript", bytesText(turn.carriedBytes)],
    ["first token", firstTokenMs === null ? "not yet" : durationText(firstTokenMs)],
    ["tokens", tokens],
    ...(toolCalls > 0 ? [["tools", countText(toolCalls, "call")] as [string, string]] : []),
    ...sizes,
  ];
}

/** Beside the box, within the picture; a narrow page shows it below instead. */
function placeOf(box: Box, { width, height }: Drawing) {
  const left = Math.min(width - WIDTH_PX - 4, Math.max(4, box.x + box.width / 2 - WIDTH_PX / 2));
  const isBelow = box.y + box.height + HEIGHT_PX < height + 140;
  return isBelow
    ? { left: `${left}px`, top: `${box.y + box.height + 8}px` }
    : { left: `${left}px`, bottom: `${height - box.y + 8}px` };
}
