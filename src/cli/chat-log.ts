/**
 * The log of a chat: in a file, because the screen is for the conversation.
 *
 * @module
 */

import { openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { errnoOf } from "../lib/errno.ts";
import { AppError } from "../lib/errors.ts";
import { makeDirectoryDeep } from "../session/durable-file.ts";
import type { LogDestination } from "../telemetry/log.ts";

export interface ChatLog {
  readonly path: string;
  readonly destination: LogDestination;
}

/**
 * Opens the log of this chat; that of the last one makes way, so that it does not grow for ever.
 *
 * @throws {AppError} `storage_failed` when it cannot be written.
 */
export async function openChatLog(dataDirectory: string): Promise<ChatLog> {
  const path = join(dataDirectory, "chat.log");
  try {
    await makeDirectoryDeep(dataDirectory);
    const file = openSync(path, "w", 0o600);
    return { path, destination: { write: (line) => writeAll(file, line) } };
  } catch (cause) {
    const reason = errnoOf(cause) ?? "unknown";
    throw new AppError("storage_failed", `Cannot open the log of the chat: ${reason}`, { cause });
  }
}

function writeAll(file: number, line: string): void {
  try {
    writeSync(file, line);
  } catch {
    // A full disk must not end a conversation; what it means for the session is told by the turn.
  }
}
