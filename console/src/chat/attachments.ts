/**
 * Which files fit into a message, known before it is sent. Pure but for the reading.
 *
 * @module
 */

import { bytesText } from "../ui/format.ts";
import type { ShownFile } from "./conversation.ts";

/** What a message may hold, as `GET /v1/agents` says it. */
export interface Accepts {
  readonly mediaTypes: readonly string[];
  readonly parts: number;
  readonly textLength: number;
  /** Of the whole request, in which files are base64. */
  readonly bodyBytes: number;
}

/** A file that a message gets. */
export type Attachment = ShownFile & { readonly base64: string };

/** Kept of the body for all that is not a file: names of keys, ids, and a text of some pages. */
const ROOM_FOR_WORDS_BYTES = 16 * 1024;

/** Bytes of files that fit, beside words. */
function filesRoomBytes({ bodyBytes }: Accepts): number {
  return Math.max(0, Math.floor(((bodyBytes - ROOM_FOR_WORDS_BYTES) * 3) / 4));
}

/** e.g. `PNG, JPEG, GIF, WEBP, PDF or text; up to 19 files, 752 KiB in all`. */
export function limitsText(accepts: Accepts): string {
  const names = accepts.mediaTypes.map(shortName);
  const last = names.at(-1);
  const kinds = names.length < 2 ? last : `${names.slice(0, -1).join(", ")} or ${last}`;
  return `${kinds}; up to ${accepts.parts - 1} files, ${bytesText(filesRoomBytes(accepts))} in all`;
}

function shortName(mediaType: string): string {
  const [kind, name = ""] = mediaType.split("/");
  return kind === "text" ? "text" : name.toUpperCase();
}

/** Why a file cannot be sent with those that are there already; null if it can. */
export function fileProblem(
  file: { readonly name: string; readonly type: string; readonly size: number },
  have: readonly Attachment[],
  accepts: Accepts,
): string | null {
  if (!accepts.mediaTypes.includes(file.type)) {
    return `${file.name} is not of a kind that the agent takes (${limitsText(accepts)})`;
  }
  if (file.size === 0) return `${file.name} is empty`;
  if (have.length + 1 >= accepts.parts) return `A message holds ${accepts.parts - 1} files at most`;
  const room = filesRoomBytes(accepts) - have.reduce((sum, { base64 }) => sum + bytesOf(base64), 0);
  if (file.size <= room) return null;
  return `${file.name} has ${bytesText(file.size)}, and there is room for ${bytesText(room)}`;
}

function bytesOf(base64: string): number {
  return Math.ceil((base64.length * 3) / 4);
}

/** What the message has too much of; null where it fits. */
export function textProblem(text: string, accepts: Accepts): string | null {
  if (text.length <= accepts.textLength) return null;
  const most = accepts.textLength.toLocaleString("en");
  return `The message has ${text.length.toLocaleString("en")} characters, and ${most} are the most`;
}

export async function attachmentOf(file: File): Promise<Attachment> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  // In pieces, as arguments of a function are limited in number.
  for (let at = 0; at < bytes.length; at += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return { mediaType: file.type, name: file.name, base64: btoa(text) };
}
