/**
 * What the memory of the measured server is for, from the metrics that it shows to anybody. Pure.
 *
 * @module
 */

export interface Heap {
  readonly objectsBytes: number;
  readonly codeBytes: number;
  readonly freeBytes: number;
  readonly buffersBytes: number;
}

/** In the text format of Prometheus. */
export function heapIn(metrics: string): Heap | null {
  const bytes = (part: string) =>
    Number(
      new RegExp(`^plimsoll_memory_server\\{[^}]*"${part}"[^}]*\\} (\\d+)`, "m").exec(metrics)?.[1],
    );
  const heap = {
    objectsBytes: bytes("objects"),
    codeBytes: bytes("code"),
    freeBytes: bytes("free"),
    buffersBytes: bytes("buffers"),
  };
  return Object.values(heap).some((each) => Number.isNaN(each)) ? null : heap;
}
