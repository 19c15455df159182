/**
 * A turn as text for a terminal, piece by piece as it happens.
 *
 * @module
 */

import { printable } from "../lib/diagnostics.ts";
import { type ErrorCode, ERRORS } from "../lib/errors.ts";
import { promptTokens } from "../lib/tokens.ts";
import type { TurnEvent, TurnOutcome, TurnUsage } from "../turn/turn.ts";
import { count, countOf, dollars, seconds } from "../lib/figures.ts";
import type { Paint } from "./paint.ts";

/** Longest part of a tool's input or result that is shown. */
const MAX_SHOWN = 100;

export class TurnPrinter {
  readonly #paint: Paint;
  /** Where colours do not tell thinking from speaking, a word does. */
  readonly #isPlain: boolean;
  readonly #calls = new Map<string, { readonly name: string; input: string }>();
  #isLineOpen = false;

  constructor(paint: Paint, isPlain: boolean) {
    this.#paint = paint;
    this.#isPlain = isPlain;
  }

  /** What to write for an event; often nothing. */
  print(event: TurnEvent): string {
    switch (event.type) {
      case "reasoning_started":
        return this.#freshLine() + (this.#isPlain ? this.#open("(thinking) ") : "");
      case "reasoning_delta":
        return this.#open(this.#paint("dim", visible(event.delta)));
      case "text_started":
      case "text_ended":
      case "reasoning_ended":
        return this.#freshLine();
      case "text_delta":
        return this.#open(visible(event.delta));
      case "tool_call_started":
        this.#calls.set(event.toolCallId, { name: event.toolName, input: "" });
        return "";
      case "tool_call_input_delta": {
        const call = this.#calls.get(event.toolCallId);
        if (call !== undefined) call.input += event.delta;
        return "";
      }
      case "tool_call_ended": {
        const { name, input } = this.#calls.get(event.toolCallId) ?? { name: "", input: "" };
        return this.#line(
          `${this.#paint("cyan", `→ ${name}`)} ${this.#paint("dim", short(input))}`,
        );
      }
      case "tool_result": {
        const name = this.#calls.get(event.toolCallId)?.name ?? "";
        const mark = this.#paint(event.isError ? "red" : "cyan", `← ${name}`);
        const failed = event.isError ? `${this.#paint("red", "failed:")} ` : "";
        return this.#line(`${mark} ${failed}${this.#paint("dim", short(event.content))}`);
      }
      case "notice": {
        const facts = Object.entries(event.data).map(([key, value]) => `${key}=${value}`);
        const words = [event.name.replaceAll("_", " "), ...facts].join(" ");
        return this.#line(this.#paint("yellow", short(words)));
      }
      case "turn_started":
        return "";
      case "turn_ended":
        return this.#freshLine() + this.#ending(event.outcome);
    }
  }

  #ending(outcome: TurnOutcome): string {
    const lines = endingLines(outcome, this.#paint);
    const figures = this.#paint("dim", usageLine(outcome.usage));
    return [...lines, figures].map((line) => `${line}\n`).join("");
  }

  #open(text: string): string {
    if (text !== "") this.#isLineOpen = !text.endsWith("\n");
    return text;
  }

  #freshLine(): string {
    const end = this.#isLineOpen ? "\n" : "";
    this.#isLineOpen = false;
    return end;
  }

  #line(text: string): string {
    return `${this.#freshLine()}${text}\n`;
  }
}

/** What a failure says: its code, what went wrong, and what can be done. */
export function failureLines(code: ErrorCode, message: string, paint: Paint): string[] {
  return [`${paint("red", code)}: ${visible(message)}`, `  ${ERRORS[code].remedy}`];
}

function endingLines(outcome: TurnOutcome, paint: Paint): string[] {
  switch (outcome.status) {
    case "completed": {
      const { stopReason, structuredOutput } = outcome;
      const isUsual = stopReason === "end_turn" || stopReason === "tool_use";
      return [
        ...(structuredOutput === undefined ? [] : [JSON.stringify(structuredOutput, null, 2)]),
        ...(isUsual ? [] : [paint("yellow", `The model stopped: ${visible(stopReason)}`)]),
      ];
    }
    case "limit_reached": {
      const key = outcome.limit === "steps" ? "limits.steps" : "limits.budgetUsd";
      return [paint("yellow", `The turn has used up its ${outcome.limit} (${key})`)];
    }
    case "cancelled":
      return [paint("yellow", "Cancelled")];
    case "failed":
      return failureLines(outcome.code, outcome.message, paint);
  }
}

/** `621 tokens in (400 from cache), 62 out, $0.0019, 1 step, 2.7 s, first token after 1.1 s`. */
function usageLine(usage: TurnUsage): string {
  const { cacheReadTokens, outputTokens, firstTokenMs } = usage;
  const cached = cacheReadTokens === 0 ? "" : ` (${count(cacheReadTokens)} from cache)`;
  return [
    `${count(promptTokens(usage))} tokens in${cached}`,
    `${count(outputTokens)} out`,
    dollars(usage.costUsd),
    countOf(usage.steps, "step"),
    seconds(usage.durationMs),
    ...(firstTokenMs === null ? [] : [`first token after ${seconds(firstTokenMs)}`]),
  ].join(", ");
}

/** Its lines as they may be printed: models and tools may repeat escape sequences they read. */
function visible(text: string): string {
  return text.split("\n").map(printable).join("\n");
}

/** On one line, cut. */
function short(text: string): string {
  const line = visible(text.trim().replaceAll(/\s+/gu, " "));
  return line.length <= MAX_SHOWN ? line : `${line.slice(0, MAX_SHOWN)}…`;
}
