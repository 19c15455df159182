/**
 * What the memory of the server's own process is for. Of its main thread: the guard's is small, and
 * what Node has allocated beside V8 is what is left of the private memory that the kernel counts.
 *
 * @module
 */

import { getHeapCodeStatistics } from "node:v8";
import type { MEMORY_PARTS } from "./values.ts";

export type MemoryPart = (typeof MEMORY_PARTS)[number];

/** In bytes. Takes some microseconds; for when somebody reads. */
export function readServerMemory(): Readonly<Record<MemoryPart, number>> {
  const { heapTotal, heapUsed, external } = process.memoryUsage();
  const { code_and_metadata_size: compiled, bytecode_and_metadata_size: bytecode } =
    getHeapCodeStatistics();
  const code = Math.min(compiled + bytecode, heapUsed);
  return { objects: heapUsed - code, code, free: heapTotal - heapUsed, buffers: external };
}
