/**
 * What the scripted model says while an agent is measured: answers of one length, and a call of each
 * tool that it is asked for. Pure.
 *
 * @module
 */

import type { RehearsalScript } from "../../rehearsal/script.ts";

/** Asks for a plain answer. */
export const PLAIN_INPUT = "Say something.";

/** Asks for a word: what is left of a turn without the answer is its start and its end. */
export const SHORT_INPUT = "Say a word.";

export function toolInput(toolName: string): string {
  return `Call ${toolName}.`;
}

const TOKENS_PER_SECOND = 40;
/** Small, so that Claude Code does not think that its context is full, however long a transcript. */
const USAGE = { inputTokens: 10, outputTokens: 10, cacheReadTokens: 90, cacheCreationTokens: 0 };

/**
 * Built-in tools that can be called on any machine without a trace, and with what: the script's own
 * example would be no command that there is.
 */
const HARMLESS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  Bash: { command: "seq 100000 | sort -rn | head -3", description: "Sort numbers" },
  Read: { file_path: "/etc/hostname" },
  Grep: { pattern: "a", path: "/etc/hostname" },
  Glob: { pattern: "*.md" },
};

/** Whether a tool may be called without being asked for it. */
export function isHarmless(toolName: string): boolean {
  return Object.hasOwn(HARMLESS, toolName);
}

/** @param answerMs How long an answer is streamed. */
export function measureScript(answerMs: number): RehearsalScript {
  const tokens = Math.ceil((answerMs / 1_000) * TOKENS_PER_SECOND);
  const answer = { tokens };
  return {
    // The model's own time is made up, so it is left out: the first token is as fast as we are.
    defaults: { firstTokenMs: 0, tokensPerSecond: TOKENS_PER_SECOND },
    rules: [
      { when: { afterTool: "StructuredOutput" }, reply: [{ text: "Done." }], usage: USAGE },
      ...Object.entries(HARMLESS).map(([name, input]) => ({
        when: { userText: `/^${toolInput(name)}$/`, declaresTool: name, afterTool: false },
        reply: [{ tool: { name, input } }],
        usage: USAGE,
      })),
      {
        when: { userText: "/^Call /", mentionsTool: true, afterTool: false },
        reply: [{ tool: { name: "{{mentionedTool}}" } }],
        usage: USAGE,
      },
      {
        when: { userText: `/^${SHORT_INPUT}$/`, declaresTool: "StructuredOutput" },
        reply: [{ tool: { name: "StructuredOutput" } }],
        usage: USAGE,
      },
      { when: { userText: `/^${SHORT_INPUT}$/` }, reply: [{ tokens: 1 }], usage: USAGE },
      {
        when: { declaresTool: "StructuredOutput" },
        reply: [answer, { tool: { name: "StructuredOutput" } }],
        usage: USAGE,
      },
      { reply: [answer], usage: USAGE },
    ],
  };
}
