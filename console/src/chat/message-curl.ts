/**
 * A message as a line for a shell: the same turn, whoever sends it.
 *
 * @module
 */

import { session } from "../access/session.ts";
import { curlOf, type MissingFile } from "../curl.ts";
import type { UserItem } from "./conversation.ts";
import { type Target, turnBodyOf, turnsPathOf } from "./send-turn.ts";

/**
 * Files that the page has no more, as after a reload, are read where the line runs: under their names,
 * or as `file-1.png` where not even those are known.
 */
export function curlOfMessage(target: Target, { id, text, files }: UserItem): string {
  const missing: MissingFile[] = [];
  const known = files.map((file, index) => {
    if (file.base64 !== null) return file;
    const type = file.mediaType.split("/")[1]?.replace("plain", "txt");
    const name = file.name ?? `file-${index + 1}.${type}`;
    // No base64 has such a sign, and files stand before the words.
    const mark = `?${index}?`;
    missing.push({ mark, name });
    return { ...file, base64: mark };
  });
  return curlOf({
    origin: location.origin,
    method: "POST",
    path: turnsPathOf(target.agent),
    headers: { accept: "text/event-stream" },
    body: turnBodyOf(target, { key: id, text, files: known }),
    missing,
    needsKey: session.value?.auth === true,
    isStream: true,
  });
}
