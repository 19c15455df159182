/**
 * Pictures of the same size as one that moves (APNG): their chunks are put one behind the other, and
 * nothing is encoded anew. Browsers that know no APNG show the first picture.
 *
 * @module
 */

import { crc32 } from "node:zlib";

const SIGNATURE = Buffer.from("89504e470d0a1a0a", "hex");

/**
 * @param {readonly Buffer[]} pictures PNG files, all with the same header.
 * @param {number} frameMs How long each is shown.
 */
export function animatedPng(pictures, frameMs) {
  const [header] = chunksOf(pictures[0]);
  const width = header.data.readUInt32BE(0);
  const height = header.data.readUInt32BE(4);
  let sequence = 0;
  const frames = pictures.flatMap((picture, index) => {
    const control = chunk(
      "fcTL",
      numbers(sequence++, width, height, 0, 0),
      shorts(frameMs, 1000),
      [0, 0],
    );
    const pixels = chunksOf(picture).filter(({ type }) => type === "IDAT");
    const data = pixels.map((part) =>
      index === 0 ? chunk("IDAT", part.data) : chunk("fdAT", numbers(sequence++), part.data),
    );
    return [control, ...data];
  });
  return Buffer.concat([
    SIGNATURE,
    chunk("IHDR", header.data),
    chunk("acTL", numbers(pictures.length, 0)),
    ...frames,
    chunk("IEND"),
  ]);
}

function chunksOf(file) {
  const chunks = [];
  for (let at = SIGNATURE.length; at < file.length;) {
    const length = file.readUInt32BE(at);
    const type = file.toString("latin1", at + 4, at + 8);
    chunks.push({ type, data: file.subarray(at + 8, at + 8 + length) });
    at += length + 12;
  }
  return chunks;
}

function chunk(type, ...parts) {
  const body = Buffer.concat([
    Buffer.from(type, "latin1"),
    ...parts.map((part) => Buffer.from(part)),
  ]);
  return Buffer.concat([numbers(body.length - 4), body, numbers(crc32(body))]);
}

function numbers(...values) {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, 4 * index);
  return bytes;
}

function shorts(...values) {
  const bytes = Buffer.alloc(2 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt16BE(value, 2 * index);
  return bytes;
}
