/**
 * The transcripts of a test server, changed behind its back.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { appendFile, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import type { TestServer } from "../helpers/server.ts";

/** The path of the session's transcript. */
export async function transcriptOf(directory: string, sessionId: string): Promise<string> {
  const data = join(directory, "data", "tenants");
  const files = await readdir(data, { recursive: true });
  const file = files.find((name) => name.endsWith(`${sessionId}.jsonl`));
  return join(data, file ?? "none");
}

/** As another replica would: a message of the user and an answer at the end of the transcript. */
export async function sayElsewhere(
  { directory }: Pick<TestServer, "directory">,
  sessionId: string,
  text: string,
): Promise<void> {
  const path = await transcriptOf(directory, sessionId);
  const lines = (await readFile(path, "utf8")).trim().split("\n");
  const entries = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  const last = entries.findLast(({ type }) => type === "assistant") ?? {};
  const user = entries.findLast(({ type }) => type === "user") ?? {};
  const ids = { user: randomUUID(), assistant: randomUUID() };
  const said = { ...user, uuid: ids.user, parentUuid: last["uuid"] };
  const message = { role: "user", content: [{ type: "text", text }] };
  const answered = { ...last, uuid: ids.assistant, parentUuid: ids.user };
  const added = [{ ...said, message }, answered].map((line) => JSON.stringify(line));
  await appendFile(path, `${added.join("\n")}\n`);
}
