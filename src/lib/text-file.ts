/**
 * Text files of bounded size, with a reason in plain words when one cannot be read.
 *
 * @module
 */

import { open, stat } from "node:fs/promises";
import { KIB } from "./byte-units.ts";
import { formatBytes } from "./bytes.ts";

export type TextFile =
  | { readonly ok: true; readonly text: string }
  | {
      readonly ok: false;
      /** The file is not there at all. */
      readonly isMissing: boolean;
      readonly message: string;
      readonly remedy: string;
    };

/** Reads UTF-8, with or without a byte order mark. Never rejects for what is on the disk. */
export async function readTextFile(path: string, maxBytes: number): Promise<TextFile> {
  try {
    // Before opening: opening a pipe would wait for its writer.
    const kind = await stat(path);
    if (kind.isDirectory()) return refusal("is a directory", "Name a file");
    if (!kind.isFile()) return refusal("is not a regular file", "Name a file");
    const bytes = await readAtMost(path, maxBytes + 1);
    if (bytes.length > maxBytes) {
      return refusal(`is larger than ${formatBytes(maxBytes)}`, "Make it smaller");
    }
    return { ok: true, text: new TextDecoder("utf-8", { fatal: true }).decode(bytes) };
  } catch (thrown) {
    const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
    const [message, remedy] = REASONS[code] ?? [`cannot be read (${code})`, "Check the file"];
    return { ok: false, isMissing: code === "ENOENT", message, remedy };
  }
}

const REASONS: Readonly<Record<string, readonly [message: string, remedy: string]>> = {
  ENOENT: ["does not exist", "Correct the path"],
  ENOTDIR: ["does not exist", "Correct the path"],
  ENAMETOOLONG: ["does not exist", "Correct the path"],
  ERR_INVALID_ARG_VALUE: ["is not a path", "Correct the path"],
  EACCES: ["may not be read by this user", "Change its permissions or the user"],
  EPERM: ["may not be read by this user", "Change its permissions or the user"],
  ELOOP: ["is a symbolic link that leads to itself", "Correct the link"],
  ERR_ENCODING_INVALID_ENCODED_DATA: ["is not UTF-8 text", "Save it as UTF-8"],
};

function refusal(message: string, remedy: string): TextFile {
  return { ok: false, isMissing: false, message, remedy };
}

const CHUNK_BYTES = 64 * KIB;

async function readAtMost(path: string, maxBytes: number): Promise<Buffer> {
  await using file = await open(path, "r");
  const chunks: Buffer[] = [];
  let total = 0;
  while (total < maxBytes) {
    const size = Math.min(CHUNK_BYTES, maxBytes - total);
    const { bytesRead, buffer } = await file.read(Buffer.alloc(size), 0, size);
    if (bytesRead === 0) break;
    chunks.push(buffer.subarray(0, bytesRead));
    total += bytesRead;
  }
  return Buffer.concat(chunks);
}
