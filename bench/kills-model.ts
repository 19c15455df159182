/**
 * The model of `kills`, which has each turn use a tool and remembers what it was told, and what
 * Claude Code has written down of it.
 *
 * @module
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadRehearsalScript } from "../src/rehearsal/load-script.ts";
import type { Message } from "../src/rehearsal/conversation.ts";
import { startRehearsal } from "../src/rehearsal/server.ts";
import { type ModelRequest, modelRequestOf, numbersIn } from "./conversation-check.ts";
import { transcriptPathOf } from "../src/sizing/measure/long-transcript.ts";

const SCRIPT = {
  defaults: { firstTokenMs: 5, tokensPerSecond: 40 },
  rules: [
    {
      when: { afterTool: true },
      reply: [{ text: "Turn {{turnCount}}. The tool said: {{toolResult}} " }, { tokens: 20 }],
    },
    {
      reply: [
        { text: "I ask the tool for that. " },
        { tool: { name: "Bash", input: { command: 'echo "measured: {{userText}}"' } } },
      ],
    },
  ],
};

export interface ToldModel extends AsyncDisposable {
  readonly url: string;
  /** One for each turn: that with the question. */
  readonly requests: readonly ModelRequest[];
  /** Of which questions the tool's results were told together with this one. */
  toolResultsOf(number: number): readonly number[];
}

export async function startToldModel(directory: string): Promise<ToldModel> {
  const file = join(directory, "rehearsal.yaml");
  writeFileSync(file, JSON.stringify(SCRIPT));
  const requests: ModelRequest[] = [];
  const results = new Map<number, readonly number[]>();
  const model = await startRehearsal({
    script: await loadRehearsalScript(file, {}),
    onRequest: ({ messages }) => {
      const request = modelRequestOf(messages);
      if (request === null || isToolResult(messages.findLast(({ role }) => role === "user")))
        return;
      requests.push(request);
      results.set(request.number, messages.flatMap(resultsIn));
    },
  });
  return {
    url: model.url,
    requests,
    toolResultsOf: (number) => results.get(number) ?? [],
    [Symbol.asyncDispose]: () => model[Symbol.asyncDispose](),
  };
}

/** The user's words of a turn may stand in one message with a result of the turn before. */
function isToolResult(message: Message | undefined): boolean {
  if (message === undefined || typeof message.content === "string") return false;
  return message.content.at(-1)?.type === "tool_result";
}

function resultsIn({ content }: Message): number[] {
  if (typeof content === "string") return [];
  const results = content.filter(({ type }) => type === "tool_result");
  return results.flatMap((block) => numbersIn(JSON.stringify(block.content ?? "")));
}

export interface Written {
  /** Of all messages of which a whole line is in the transcript. */
  readonly ids: readonly string[];
  /** Questions whose tool's result is among them. */
  readonly answered: readonly number[];
}

interface Line {
  readonly type?: string;
  readonly uuid?: string;
  readonly message?: { readonly content?: unknown };
}

/** Nothing where there is no transcript. */
export function entriesIn(dataDirectory: string, sessionId: string): Written {
  const lines = textOf(dataDirectory, sessionId).split("\n").flatMap(parsed);
  const messages = lines.filter(({ type }) => type === "user" || type === "assistant");
  const contents = messages.flatMap(({ message }) => message?.content ?? []);
  const results = contents.filter((block) => (block as { type?: string }).type === "tool_result");
  return {
    ids: messages.flatMap(({ uuid }) => uuid ?? []),
    answered: results.flatMap((block) => numbersIn(JSON.stringify(block))),
  };
}

function textOf(dataDirectory: string, sessionId: string): string {
  try {
    return readFileSync(transcriptPathOf(dataDirectory, sessionId), "utf8");
  } catch {
    return "";
  }
}

function parsed(line: string): Line[] {
  try {
    return [JSON.parse(line) as Line];
  } catch {
    return [];
  }
}
