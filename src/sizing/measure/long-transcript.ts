/**
 * Makes the transcript of a session as long as months of use would: further exchanges in the form
 * of those that Claude Code wrote itself, with text of the user, answers, and tools with results.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { appendFileSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { MIB } from "../../lib/byte-units.ts";

const WRITE_BYTES = 4 * MIB;
const WORDS = "the ship rides lower the more she carries and the mark on her hull says how much ";

/** An entry of a transcript: what it is made of is Claude Code's own affair. */
type Entry = Readonly<Record<string, unknown>> & {
  readonly type: string;
  readonly uuid: string;
  readonly message: Readonly<Record<string, unknown>>;
};

/** Where Claude Code keeps the transcript of a session of this data directory. */
export function transcriptPathOf(dataDirectory: string, sessionId: string): string {
  const tenants = join(dataDirectory, "tenants");
  for (const tenant of readdirSync(tenants)) {
    const session = join(tenants, tenant, "sessions", sessionId.slice(0, 2), sessionId);
    const projects = join(session, "config", "projects");
    for (const project of readdirSync(projects)) {
      return join(projects, project, `${sessionId}.jsonl`);
    }
  }
  throw new Error("the session has no transcript");
}

/** Appends exchanges until the file has that size, about. It must hold one already. */
export function lengthenTranscript(file: string, bytes: number): void {
  const lines = readFileSync(file, "utf8").trimEnd().split("\n");
  const entries = lines.map((line) => JSON.parse(line) as Entry);
  const user = entries.find(({ type }) => type === "user");
  const assistant = entries.findLast(({ type }) => type === "assistant");
  if (user === undefined || assistant === undefined) throw new Error("there is no exchange yet");

  let size = statSync(file).size;
  let parent = assistant.uuid;
  while (size < bytes) {
    let text = "";
    while (text.length < WRITE_BYTES && size + text.length < bytes) {
      for (const entry of exchange(user, assistant, parent)) {
        parent = entry.uuid;
        text += `${JSON.stringify(entry)}\n`;
      }
    }
    appendFileSync(file, text);
    size += text.length;
  }
}

/** A question, a call of a tool, its result, and the answer; each follows the one before. */
function exchange(user: Entry, assistant: Entry, parent: string): Entry[] {
  const toolUseId = `toolu_${randomUUID().replaceAll("-", "")}`;
  const call = { type: "tool_use", id: toolUseId, name: "Read", input: { file_path: "/notes" } };
  const result = { type: "tool_result", tool_use_id: toolUseId, content: words(8_000) };
  const said = (content: readonly object[]) => ({ ...user, message: { ...user.message, content } });
  const answered = (content: readonly object[], stop: string) => ({
    ...assistant,
    message: {
      ...assistant.message,
      id: `msg_${randomUUID()}`,
      content,
      ["stop_reason"]: stop,
    },
  });
  const entries = [
    said([{ type: "text", text: words(500) }]),
    answered([call], "tool_use"),
    said([result]),
    answered([{ type: "text", text: words(3_000) }], "end_turn"),
  ];
  let parentUuid = parent;
  return entries.map((entry) => {
    const linked = { ...entry, parentUuid, uuid: randomUUID() };
    parentUuid = linked.uuid;
    return linked;
  });
}

/** A number here and there, so that no two texts are the same. */
function words(characters: number): string {
  let text = "";
  while (text.length < characters) text += `${WORDS}${Math.floor(Math.random() * 1e6)} `;
  return text;
}
