/**
 * Goal: after any crash, what `open` says agrees with what Claude Code will accept: an id is free
 * only while no file bears it, and can be resumed only while the file holds a message.
 */

import { readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname } from "node:path";

import { describe, expect, it } from "vitest";

import {
  QUEUE_LINE,
  byId,
  codeOf,
  openSessions,
  takeTurn,
  thread,
  threadWithHistory,
  userLine,
  writeTranscript,
} from "./fixture.ts";

const MESSAGE = userLine("hello");
const TORN = '{"type":"assistant","uuid":"a1","mess';

const shapes = [
  // What is in the file, and what must be there for the next turn; null: no file of that name.
  { shape: "no message yet", text: QUEUE_LINE, left: null, repairedLines: 0 },
  { shape: "empty", text: "", left: null, repairedLines: 0 },
  { shape: "a torn first line", text: TORN, left: null, repairedLines: 1 },
  { shape: "NULs", text: "\0".repeat(500), left: null, repairedLines: 1 },
  { shape: "NULs and a newline", text: `${"\0".repeat(500)}\n`, left: null, repairedLines: 0 },
  { shape: "a message", text: QUEUE_LINE + MESSAGE, left: QUEUE_LINE + MESSAGE, repairedLines: 0 },
  { shape: "a torn last line", text: MESSAGE + TORN, left: MESSAGE, repairedLines: 1 },
  { shape: "NULs at the end", text: `${MESSAGE}\0\0\0`, left: MESSAGE, repairedLines: 1 },
  { shape: "only no newline", text: MESSAGE.trimEnd(), left: MESSAGE, repairedLines: 1 },
  {
    shape: "a bad line inside",
    text: `${TORN}\n${MESSAGE}`,
    left: `${TORN}\n${MESSAGE}`,
    repairedLines: 0,
  },
  {
    shape: "a torn line longer than one read",
    text: `${MESSAGE}{"x":"${"y".repeat(200_000)}`,
    left: MESSAGE,
    repairedLines: 1,
  },
];

describe("FileSessions.open after a crash in the first turn", () => {
  it.each(shapes)("leaves a usable session: $shape", async ({ text, left, repairedLines }) => {
    const { sessions, reopened } = await openSessions();
    const file = await writeTranscript(await sessions.open(thread("t"), 5), text);
    const next = await reopened().open(threadWithHistory("t"), 6);
    expect(next).toMatchObject({
      isNew: left === null,
      repairedLines,
      wasSetAside: left === null,
      transcriptBytes: left === null ? 0 : Buffer.byteLength(left),
    });
    if (left === null) await expect(stat(file)).rejects.toThrow("ENOENT");
    else expect(await readFile(file, "utf8")).toBe(left);
    const again = await reopened().open(threadWithHistory("t"), 7);
    expect(again).toMatchObject({ isNew: left === null, repairedLines: 0, wasSetAside: false });
  });

  it("keeps what it cut off, and what it set aside", async () => {
    const { sessions } = await openSessions();
    const session = await sessions.open(thread("t"), 5);
    const file = await writeTranscript(session, MESSAGE + TORN);
    await sessions.open(thread("t"), 6);
    expect(await readFile(`${file}.torn`, "utf8")).toBe(TORN);
    await writeFile(file, QUEUE_LINE);
    await sessions.open(thread("t"), 7);
    const name = basename(file);
    expect((await readdir(dirname(file))).sort()).toEqual([`${name}.torn`, `${name}.unusable`]);
  });
});

describe("FileSessions.open after a finished turn", () => {
  it("repairs a torn line", async () => {
    const { sessions } = await openSessions();
    const session = await takeTurn(sessions, thread("t"), 5);
    await writeTranscript(session, MESSAGE + TORN);
    expect(await sessions.open(thread("t"), 6)).toMatchObject({ isNew: false, repairedLines: 1 });
  });

  it.each([
    ["missing", undefined],
    ["empty", ""],
    ["without a message", QUEUE_LINE],
    ["garbage", "\0\0\0"],
  ])("does not start anew when the transcript is %s", async (_shape, text) => {
    const { sessions } = await openSessions();
    const session = await takeTurn(sessions, thread("t"), 5);
    const file = await writeTranscript(session, text ?? "");
    if (text === undefined) await rm(file);
    const inputs = [thread("t"), threadWithHistory("t"), byId(session.sessionId)];
    for (const input of inputs) {
      expect(await codeOf(sessions.open(input, 6))).toBe("session_gone");
    }
    await sessions.delete({ tenant: "acme", sessionId: session.sessionId }, 7);
    expect(await sessions.open(thread("t"), 8)).toMatchObject({ isNew: true });
  });
});
