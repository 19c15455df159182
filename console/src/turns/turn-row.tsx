/**
 * A turn as a row; a card where there is no room for one.
 *
 * @module
 */

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import type { FeedTurn } from "../../../src/protocol/feed.ts";
import { ApiError, send } from "../access/api.ts";
import { session } from "../access/session.ts";
import { curlOf } from "../curl.ts";
import { feed, nowMs } from "../replica.ts";
import { hrefOf } from "../router.ts";
import { CopyButton } from "../ui/copy-button.tsx";
import { bytesText, clockText, durationText, moneyText, tokensText } from "../ui/format.ts";
import { TimeLine } from "./time-line.tsx";
import { spansOf, toolsEndedText, verdictOf } from "./turn-facts.ts";

interface RowProps {
  readonly turn: FeedTurn;
  /** More than one tenant has turns here. */
  readonly hasTenants: boolean;
}

export function TurnRow({ turn, hasTenants }: RowProps) {
  // Read also where a turn has ended: whoever reads a signal is only drawn again when it must be.
  const guardEvents = feed.guardEvents.value;
  const atMs = turn.endedAtMs ?? Math.max(nowMs.value, lastNewsMs(turn));
  const verdict = verdictOf(turn, guardEvents);
  const toolsEnded = toolsEndedText(turn);
  return (
    <tr role="row" class={turn.outcome === null ? "turn turn-live" : "turn"}>
      <Cell label="State">
        <span class={`badge ${verdict.tone === "" ? "" : `badge-${verdict.tone}`}`}>
          {verdict.text}
        </span>
        {toolsEnded === "" ? null : <span class="badge badge-warn">{toolsEnded}</span>}
        {turn.outcome?.message == null ? null : (
          <p class="small soft turn-message">{turn.outcome.message}</p>
        )}
      </Cell>
      <Cell label="Agent">
        <strong>{turn.agent}</strong>
        {hasTenants ? <span class="small soft turn-tenant"> {turn.tenant}</span> : null}
        <span class="small soft turn-since">{clockText(turn.startedAtMs)}</span>
      </Cell>
      <Cell label="Time line" class="turn-wide">
        <TimeLine spans={spansOf(turn, atMs)} />
        <span class="small soft turn-times">
          {durationText(atMs - turn.startedAtMs)}
          {turn.firstTokenMs === null ? "" : `, first token ${durationText(turn.firstTokenMs)}`}
        </span>
      </Cell>
      <Cell label="Tokens" class="turn-figure">
        <Cost turn={turn} />
      </Cell>
      <Cell label="Memory" class="turn-figure">
        <Memory turn={turn} />
      </Cell>
      <Cell label="Actions" class="turn-acts">
        <Actions turn={turn} />
      </Cell>
    </tr>
  );
}

interface CellProps {
  readonly label: string;
  readonly class?: string;
  readonly children: ComponentChildren;
}

/** The label is shown where there are no columns. */
function Cell({ label, class: name, children }: CellProps) {
  return (
    <td role="cell" data-label={label} class={name}>
      {children}
    </td>
  );
}

/** The clock of the page ticks once a second; what was told since has happened all the same. */
function lastNewsMs({ startedAtMs, firstTokenMs, stages }: FeedTurn): number {
  return Math.max(startedAtMs + (firstTokenMs ?? 0), stages.at(-1)?.sinceMs ?? 0);
}

function Cost({ turn }: { readonly turn: FeedTurn }) {
  const { promptTokens, outputTokens, costUsd } = turn;
  if (promptTokens === null || outputTokens === null) return <span class="soft">–</span>;
  return (
    <>
      {tokensText(promptTokens, outputTokens)}
      {costUsd === null ? null : <span class="turn-under small soft">{moneyText(costUsd)}</span>}
    </>
  );
}

function Memory({ turn }: { readonly turn: FeedTurn }) {
  const { predictedBytes } = turn;
  const heldBytes = turn.endedAtMs === null ? liveBytes(turn.turnId) : turn.peakBytes;
  const isOver = heldBytes !== null && heldBytes > predictedBytes;
  return (
    <>
      <span class={isOver ? "turn-over" : undefined}>
        {heldBytes === null ? "–" : bytesText(heldBytes)}
      </span>
      <span class="turn-under small soft">of {bytesText(predictedBytes)} predicted</span>
    </>
  );
}

/** The most that it has held so far, as the last capacity says; null where none was measured. */
function liveBytes(turnId: string): number | null {
  const trees = feed.capacity.value?.capacity.turns ?? [];
  const tree = trees.find((one) => one.turnId === turnId);
  return tree?.peakBytes ?? tree?.bytes ?? null;
}

function Actions({ turn }: { readonly turn: FeedTurn }) {
  const { sessionId, tenant, turnId, agent, outcome } = turn;
  const isOwn = session.value?.caller?.tenant === tenant;
  const name = `of the turn of ${agent} at ${clockText(turn.startedAtMs)}`;
  return (
    <span class="turn-actions">
      {outcome === null ? <CancelButton turnId={turnId} of={name} /> : null}
      {sessionId === null ? null : (
        <a class="small" href={hrefOf("sessions", [sessionId], isOwn ? {} : { tenant })}>
          Session<span class="aloud"> {name}</span>
        </a>
      )}
      <CopyButton label="Copy curl" of={name} text={() => followLine(turnId)} />
    </span>
  );
}

/** Follows the turn in a shell; one that has ended is told again as long as the server has its events. */
function followLine(turnId: string): string {
  return curlOf({
    origin: location.origin,
    method: "GET",
    path: `/v1/turns/${turnId}/events`,
    needsKey: session.value?.auth === true,
    isStream: true,
  });
}

function CancelButton({ turnId, of: name }: { readonly turnId: string; readonly of: string }) {
  const state = useSignal<"" | "sent" | "failed">("");
  const cancel = async () => {
    state.value = "sent";
    try {
      await send(`/v1/turns/${turnId}/cancel`, { method: "POST" });
    } catch (thrown) {
      // One that is not known has just ended by itself.
      const isOver = thrown instanceof ApiError && thrown.code === "turn_not_found";
      if (!isOver) state.value = "failed";
    }
  };
  return (
    <button
      type="button"
      class="button button-small button-danger"
      disabled={state.value === "sent"}
      onClick={() => void cancel()}
    >
      {LABELS[state.value]}
      <span class="aloud"> {name}</span>
    </button>
  );
}

const LABELS = { "": "Cancel", sent: "Cancelling …", failed: "Not cancelled: again" } as const;
