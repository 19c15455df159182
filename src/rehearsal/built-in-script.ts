/**
 * The script of a rehearsal that names none: a short, honest conversation that shows what the
 * server does. It says that it is scripted, quotes the history so that a resumed session can be
 * told from a new one, and calls a tool when the user names it.
 *
 * @module
 */

import type { RehearsalScript } from "./script.ts";

export const BUILT_IN_SCRIPT: RehearsalScript = {
  defaults: { firstTokenMs: 300, tokensPerSecond: 40 },
  rules: [
    {
      when: { declaresTool: "StructuredOutput", afterTool: false },
      reply: [
        { thinking: "The answer must fit a schema, so I make up an example that does." },
        { tool: { name: "StructuredOutput" } },
      ],
    },
    {
      when: { afterTool: true },
      reply: [
        {
          text:
            "The tool {{toolName}} ran for real and answered:\n\n{{toolResult}}\n\n" +
            "(I am the rehearsal, not Claude: my words are scripted.)",
        },
      ],
    },
    {
      when: { mentionsTool: true },
      reply: [
        { thinking: "The user names the tool {{mentionedTool}}. I call it once." },
        { text: "I call {{mentionedTool}}, as you named it. " },
        { tool: { name: "{{mentionedTool}}" } },
      ],
    },
    {
      when: { turnNumber: 1 },
      reply: [
        { thinking: "This is the first message, so I greet the user and say what I am." },
        {
          text:
            "Hello! This is a rehearsal: I am a script, not Claude, and I understand nothing. " +
            "All else is real: the Claude Code process, its transcript and its memory.\n\n" +
            "You said: “{{userText}}”\n\n" +
            "Write again in this session and I will quote what you began with.",
        },
      ],
    },
    {
      reply: [
        { thinking: "The history holds {{turnCount}} messages of the user. I quote the first." },
        {
          text:
            "This is message {{turnCount}} of our conversation, and still a rehearsal, not " +
            "Claude.\n\nYou began with: “{{firstUserText}}”\n\nNow you said: “{{userText}}”",
        },
      ],
    },
  ],
};
