/**
 * A session that lives for one turn: nothing of it is kept, and nothing of an earlier one is known.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { removeTree } from "./remove-tree.ts";
import { join } from "node:path";
import { makeDirectoriesBelow, makeDirectory } from "./durable-file.ts";
import type { OpenSession } from "./sessions.ts";
import { type SessionInput, sessionNotFound, sessionRefOf } from "./session-id.ts";
import { dataPathsOf } from "./session-paths.ts";
import { storing } from "./storage-errors.ts";

/**
 * The thread of a turn that can do without what was said before.
 *
 * @throws {AppError} `session_not_found` for anything that asks for history.
 */
export function threadToBegin(input: SessionInput): string {
  sessionRefOf(input);
  const { target } = input;
  if (target.by !== "thread" || target.expectsHistory) throw sessionNotFound();
  return target.threadId;
}

/**
 * Makes the directories of a turn; disposing removes them. Takes no lock: two turns of one thread
 * have nothing in common.
 *
 * @throws {AppError} `session_not_found` for anything that asks for history; `storage_full`,
 *   `storage_failed`.
 */
export async function openEphemeralSession(
  dataDirectory: string,
  input: SessionInput,
): Promise<OpenSession & AsyncDisposable> {
  const threadId = threadToBegin(input);
  const { run } = dataPathsOf(dataDirectory);
  const sessionId = randomUUID();
  const name = sessionId.replaceAll("-", "").slice(0, 16);
  const root = join(run, "ephemeral", name);
  const directories = {
    work: join(root, "work"),
    config: join(root, "config"),
    home: join(root, "home"),
    tmp: join(run, "tmp", name),
  };
  const remove = async (): Promise<void> => {
    await removeTree(root);
    await removeTree(directories.tmp);
  };
  await storing("open the session", async () => {
    try {
      await makeDirectoriesBelow(run, ["ephemeral", name]);
      await makeDirectoriesBelow(run, ["tmp", name]);
      const { work, config, home } = directories;
      for (const directory of [work, config, home]) await makeDirectory(directory);
    } catch (thrown) {
      await remove();
      throw thrown;
    }
  });
  return {
    sessionId,
    threadId,
    transcriptId: sessionId,
    isNew: true,
    directories,
    transcriptBytes: 0,
    repairedLines: 0,
    wasSetAside: false,
    shortened: null,
    [Symbol.asyncDispose]: () => storing("remove the session", remove),
  };
}
