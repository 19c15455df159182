/**
 * Whether the kernel can drop the program text of this server when memory is short. If it can, a
 * replica that only reads text again for ever holds up the memory guard too, which is to end that:
 * each of its looks waits for the disk (`npm run bench -- livelock`). Node copies its text to
 * memory of no file with `--use-largepages`, where the kernel has huge pages to give.
 *
 * @module
 */

import { MIB } from "../lib/byte-units.ts";
import { readText } from "./cgroup.ts";

/** Less is what a compiler at run time makes; Node's text is 24 MiB. */
const LEAST_TEXT_BYTES = 8 * MIB;

/** @param root Directory that stands for `/`. False where it is not told. */
export function isTextPinned(root = "/"): boolean {
  const file = readText(root, "proc/self/maps");
  if (file.status !== "read") return false;
  // `from-to r-xp offset device inode path`, see proc(5): inode 0 is no file.
  const anonymousText = /^([\da-f]+)-([\da-f]+) r-xp [\da-f]+ \S+ 0 *$/gm;
  return [...file.text.matchAll(anonymousText)].some(
    ([, from = "0", to = "0"]) =>
      Number.parseInt(to, 16) - Number.parseInt(from, 16) >= LEAST_TEXT_BYTES,
  );
}

export const TEXT_NOT_PINNED =
  "The program text of the server can be dropped when memory is short, which would hold up the " +
  "memory guard: start it with NODE_OPTIONS=--use-largepages=silent, which takes 26 MiB";
