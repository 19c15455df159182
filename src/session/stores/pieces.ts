/**
 * Of what size pieces are: large ones are cut, so that no write is long; many small ones become
 * one, so that no session is of thousands. And what tells them apart. Pure.
 *
 * @module
 */

import { KIB, MIB } from "../../lib/byte-units.ts";
import { sha256 } from "../../lib/sha256.ts";
import { transcriptBytesOf, piecesOf, type SessionHead } from "./session-head.ts";

/** The most that is written at once. */
export const PIECE_BYTES = 4 * MIB;
/** Not worth being merged any more. */
const LARGE_PIECE_BYTES = MIB;
/** So many of one level at the end become one of the next: a byte is written once for each level. */
const PIECES_OF_LEVEL = 16;
const LEVEL_0_BYTES = 16 * KIB;

export function chunksOf(bytes: Buffer): readonly Buffer[] {
  const chunks: Buffer[] = [];
  for (let start = 0; start < bytes.length; start += PIECE_BYTES) {
    chunks.push(bytes.subarray(start, start + PIECE_BYTES));
  }
  return chunks;
}

/** Tells one piece from another: who goes on with a transcript has to have what comes before. */
export function hashOf(bytes: Uint8Array): string {
  return sha256(bytes, "base64url");
}

/**
 * Tells what a session's transcripts say from what they say at any other time, in this store or
 * another: a copy of the same state need not be made again. A number of its writes would not do, as a store
 * that was restored from a backup counts the same ones once more.
 */
export function stateOf({ pieces }: SessionHead): string {
  const all = Object.entries(pieces)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, some]) => [path, some.map(({ bytes, hash }) => [bytes, hash])]);
  return hashOf(Buffer.from(JSON.stringify(all)));
}

/** Where the next write of a transcript begins: at its end, or before many small pieces. */
export function writeStartOf(head: SessionHead, path: string): number {
  const pieces = piecesOf(head, path);
  const endBytes = transcriptBytesOf(head, path);
  const level = levelOf(pieces.at(-1)?.bytes ?? 0);
  const lastAbove = pieces.findLastIndex(({ bytes }) => levelOf(bytes) > level);
  const run = pieces.slice(lastAbove + 1);
  if (level === Infinity || run.length < PIECES_OF_LEVEL) return endBytes;
  return endBytes - run.reduce((sum, { bytes }) => sum + bytes, 0);
}

function levelOf(bytes: number): number {
  if (bytes >= LARGE_PIECE_BYTES) return Infinity;
  return bytes < LEVEL_0_BYTES ? 0 : 1 + Math.floor(Math.log(bytes / LEVEL_0_BYTES) / LOG_16);
}

const LOG_16 = Math.log(PIECES_OF_LEVEL);
