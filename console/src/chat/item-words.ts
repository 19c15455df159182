/**
 * What happened in a conversation, in words. Pure.
 *
 * @module
 */

import { durationText, moneyText } from "../ui/format.ts";
import type { Ending, Item, NoticeItem, RunUsage } from "./conversation.ts";

const CANCEL_CAUSES: Readonly<Record<string, string>> = {
  cancel_requested: "Cancelled",
  client_gone: "Cancelled: nobody read it any more",
  draining: "Ended: the replica is shutting down",
};

/** How a model ends that has said all. */
const USUAL_STOPS: readonly (string | null)[] = [null, "end_turn", "tool_use"];

/** How a run ended that did not fail; empty for one that simply did what was asked. */
export function endingText(ending: Exclude<Ending, { is: "failed" }>): string {
  if (ending.is === "completed") {
    const { stopReason } = ending;
    return USUAL_STOPS.includes(stopReason) ? "" : `The model stopped: ${stopReason}`;
  }
  return CANCEL_CAUSES[ending.cause ?? "cancel_requested"] ?? "Cancelled";
}

/** e.g. `1,204 tokens in, 96 out · $0.0042 · 3.2 s, first token after 420 ms`. */
export function usageText(usage: RunUsage): string {
  const { inputTokens, outputTokens, costUsd, steps, durationMs, firstTokenMs } = usage;
  const number = (value: number) => value.toLocaleString("en");
  const first = firstTokenMs === null ? "" : `, first token after ${durationText(firstTokenMs)}`;
  return [
    `${number(inputTokens)} tokens in, ${number(outputTokens)} out`,
    ...(steps !== null && steps > 1 ? [`${steps} steps`] : []),
    ...(costUsd === null || costUsd === 0 ? [] : [moneyText(costUsd)]),
    ...(durationMs === null ? [] : [durationText(durationMs) + first]),
  ].join(" · ");
}

const NOTICES: Readonly<Record<string, string>> = {
  model_retry: "The model did not answer; it is asked again",
  compacted: "What was said before was summed up, to make room",
  permission_denied: "The agent may not use a tool that it asked for",
  transcript_shortened:
    "The beginning of the conversation was cut off, as it was too long to carry",
  turn_unknown:
    "The replica does not know this turn any more: it was restarted meanwhile, or the turn ended a while ago. What is kept of it is shown",
};

export function noticeText({ name, data }: Pick<NoticeItem, "name" | "data">): string {
  const text = NOTICES[name] ?? name.replaceAll("_", " ");
  const { attempt } = (data ?? {}) as { attempt?: unknown };
  return typeof attempt === "number" ? `${text} (attempt ${attempt})` : text;
}

/** JSON with one place a line; what is not whole yet as it is. */
export function prettyJson(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

const SHOWN_ANSWER = 300;

/**
 * The last thing that happened, for who does not see it: not each word, but that an answer has
 * begun, which tool is called, and what was said when all of it is there.
 */
export function aloudText(items: readonly Item[]): string {
  const last = items.at(-1);
  switch (last?.kind) {
    case "reasoning":
      return "The agent thinks.";
    case "text":
      return "The agent writes.";
    case "tool":
      return last.result === null ? `Calls the tool ${last.name}.` : `${last.name} has answered.`;
    case "notice":
      return noticeText(last);
    case "end":
      return endAloud(last.ending, items);
    default:
      return "";
  }
}

function endAloud(ending: Ending, items: readonly Item[]): string {
  if (ending.is === "failed") return `The turn failed: ${ending.message}`;
  if (ending.is === "cancelled") return endingText(ending);
  const text = items.findLast((item) => item.kind === "text")?.text ?? "";
  const answer = ending.result ?? text;
  const shown = answer.length > SHOWN_ANSWER ? `${answer.slice(0, SHOWN_ANSWER)} …` : answer;
  return `The answer is complete: ${shown}`;
}
