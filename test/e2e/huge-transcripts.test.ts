/**
 * Goal: a turn on a transcript that is far too large has a clear end soon, and the server does not
 * read it into its memory.
 * Method: half a gigabyte of tool results before what was said; the built program, whose peak of
 * memory the kernel tells.
 */

import { open, readFile, rename, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { startServerProcess, type ServerProcess } from "../helpers/server.ts";
import { ask, post, refusal, stream, textOfRequest } from "./client.ts";
import { transcriptOf } from "./transcripts.ts";

const MEBIBYTE = 2 ** 20;
const HUGE_BYTES = 500 * MEBIBYTE;
const LIMIT_BYTES = 16 * MEBIBYTE;

let server: ServerProcess;
beforeAll(async () => {
  server = await startServerProcess({
    script: "rules:\n  - reply:\n      - text: Yes\n",
    agents: [
      "name: helper\ninstructions: You are a test.\n",
      "name: strict\ninstructions: You are a test.\nlimits: { whenTranscriptFull: refuse }\n",
    ],
    settings: { "capacity.memoryLimit": "4GiB" },
  });
});
afterAll(async () => server[Symbol.asyncDispose]());

/** The same conversation, after half a gigabyte of what tools have answered. */
async function makeHuge(transcript: string): Promise<void> {
  const said = await readFile(transcript);
  const content = [{ type: "tool_result", tool_use_id: "t", content: "x".repeat(MEBIBYTE) }];
  const line = `${JSON.stringify({ type: "user", message: { role: "user", content } })}\n`;
  const draft = `${transcript}.draft`;
  {
    await using file = await open(draft, "w");
    for (let bytes = 0; bytes < HUGE_BYTES; bytes += line.length) await file.writeFile(line);
    await file.writeFile(said);
  }
  await rename(draft, transcript);
}

async function peakBytes(): Promise<number> {
  const status = await readFile(`/proc/${server.pid}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

describe("a transcript of half a gigabyte", () => {
  it("is shortened before the turn, which goes on with what was said last", async () => {
    const { sessionId } = await ask(server, "My name is Ada", { threadId: "huge" });
    const transcript = await transcriptOf(server.directory, sessionId);
    await makeHuge(transcript);
    const peakBefore = await peakBytes();
    const turn = await stream(server, "Who am I?", { sessionId });
    expect((await turn.outcome()).status).toBe("completed");
    const notice = await turn.until("notice");
    expect(notice).toMatchObject({ name: "transcript_shortened", data: { at: "question" } });
    expect(textOfRequest(server.asked.at(-1) ?? { messages: "", system: "" })).toContain(
      "My name is Ada",
    );
    expect((await stat(transcript)).size).toBeLessThan(LIMIT_BYTES);
    const earlier = join(dirname(transcript), sessionId, "earlier.jsonl");
    expect((await stat(earlier)).size).toBeGreaterThanOrEqual(HUGE_BYTES);
    expect((await peakBytes()) - peakBefore).toBeLessThan(128 * MEBIBYTE);
  });

  it("is refused where the agent file says so, untouched, and can be shown and deleted", async () => {
    const { sessionId } = await ask(server, "Hello", { agent: "strict", threadId: "huge" });
    const transcript = await transcriptOf(server.directory, sessionId);
    await makeHuge(transcript);
    const { size } = await stat(transcript);
    const peakBefore = await peakBytes();
    const refused = await refusal(post(server, "Go on", { agent: "strict", sessionId }));
    expect(refused).toMatchObject({ status: 413, code: "transcript_too_large" });
    expect((await peakBytes()) - peakBefore).toBeLessThan(32 * MEBIBYTE);
    expect((await stat(transcript)).size).toBe(size);
    const address = `${server.url}/v1/sessions/${sessionId}`;
    const shown = (await (await fetch(address)).json()) as { isComplete: boolean };
    expect(shown).toMatchObject({ isComplete: false });
    expect((await fetch(address, { method: "DELETE" })).status).toBe(204);
  });
});
