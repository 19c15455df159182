/**
 * The legend of the hull: its parts from the keel up, with their figures.
 *
 * @module
 */

import type { FeedTurn } from "../../../src/protocol/feed.ts";
import type { CapacityEvent } from "../feed/capacity.ts";
import { cargoOf, type TurnCargo } from "../hull/cargo.ts";
import { idleNote, weightBytes } from "../hull/words.ts";
import { hrefOf } from "../router.ts";
import { bytesText, countText } from "../ui/format.ts";

interface ManifestProps {
  readonly event: CapacityEvent;
  readonly live: ReadonlyMap<string, FeedTurn>;
}

interface Line {
  readonly kind: string;
  readonly name: string;
  readonly bytes: number;
  readonly note?: string;
}

export function Manifest({ event, live }: ManifestProps) {
  return (
    <dl class="manifest">
      {linesOf(event, live).map(({ kind, name, bytes, note }) => (
        <div key={kind}>
          <dt>
            <span class={`manifest-key manifest-${kind}`} aria-hidden="true" />
            {name}
          </dt>
          <dd>{bytesText(bytes)}</dd>
          {note !== undefined && <dd class="manifest-note">{note}</dd>}
        </div>
      ))}
      <div>
        <dt>
          <span class="manifest-key manifest-idle" aria-hidden="true" />
          <a href={hrefOf("sessions")}>Idle sessions</a>
        </dt>
        <dd>{event.sessions?.idle?.toLocaleString("en") ?? "–"}</dd>
        <dd class="manifest-note">{idleNote(event)}</dd>
      </div>
    </dl>
  );
}

function linesOf(event: CapacityEvent, live: ReadonlyMap<string, FeedTurn>): readonly Line[] {
  const { capacity } = event;
  const cargo = cargoOf(event, live);
  const { kept, memory } = capacity;
  const keptBytes = cargo.restingBytes + cargo.keptBytes;
  const lines: (Line | false)[] = [
    {
      kind: "server",
      name: "Server",
      bytes: cargo.serverBytes,
      ...(memory.covers === "machine" ? { note: "and all else on the machine" } : {}),
    },
    keptBytes > 0 && {
      kind: "kept",
      name: "Kept between turns",
      bytes: keptBytes,
      note:
        `${countText(kept.residents, "resident")}, ${countText(kept.spares, "spare")}` +
        (kept.longRunning > 0 ? `; ${kept.longRunning} of them committed` : ""),
    },
    {
      kind: "turn",
      name: "Turns",
      bytes: weightBytes(cargo),
      note: turnsNote(cargo.turns, capacity.nextTurnBytes),
    },
    {
      kind: "pool",
      name: "Pool",
      bytes: cargo.poolBytes + cargo.otherBytes,
      note: "for turns that outgrow their prediction",
    },
    {
      kind: "headroom",
      name: "Headroom",
      bytes: cargo.headroomBytes,
      note: `before the line at ${bytesText(cargo.loadLineBytes)}`,
    },
    {
      kind: "reserve",
      name: "Kept free",
      bytes: cargo.limitBytes - cargo.loadLineBytes,
      note: `above the line, up to ${bytesText(cargo.limitBytes)}`,
    },
  ];
  return lines.filter((line) => line !== false);
}

function turnsNote(turns: readonly TurnCargo[], nextTurnBytes: number): string {
  if (turns.length === 0) return `next: ${bytesText(nextTurnBytes)}`;
  const heldBytes = turns.reduce((sum, turn) => sum + (turn.heldBytes ?? 0), 0);
  const over = turns.filter(
    (turn) => (turn.heldBytes ?? 0) > turn.predictedBytes && !turn.isClosing,
  );
  const text = `${countText(turns.length, "turn")} ${turns.length === 1 ? "holds" : "hold"} ${bytesText(heldBytes)}`;
  return over.length === 0 ? text : `${text}; ${over.length} more than predicted`;
}
