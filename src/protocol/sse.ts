/**
 * Server-Sent Events: framing as pure functions, and the heartbeat that keeps a silent stream open.
 *
 * Lines end in `\n` only: some AG-UI clients do not read `\r\n`, which the standard also allows.
 *
 * @module
 */

/** A comment, which every reader skips. */
export const SSE_HEARTBEAT = ": ping\n\n";

export const SSE_MEDIA_TYPE = "text/event-stream";

export interface SseFrame {
  /** Not sent when absent. One line. */
  readonly id?: string;
  /** Not sent when absent. One line. */
  readonly event?: string;
  /** May have several lines, with any line ends; the reader gets them joined with `\n`. */
  readonly data: string;
}

/** The text of one event, ended by an empty line. */
export function encodeSseFrame(frame: SseFrame): string {
  const data = frame.data.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`);
  return `${field("id", frame.id)}${field("event", frame.event)}${data.join("")}\n`;
}

/** The last event of a text that {@link encodeSseFrame} wrote; null for one of comments alone. */
export function lastFrameIn(text: string): SseFrame | null {
  const frame = text.split("\n\n").findLast((each) => /^data: /m.test(each));
  if (frame === undefined) return null;
  const fieldsOf = (name: string): string[] =>
    frame.split("\n").flatMap((line) => (line.startsWith(name) ? [line.slice(name.length)] : []));
  const [id] = fieldsOf("id: ");
  const [event] = fieldsOf("event: ");
  const data = fieldsOf("data: ").join("\n");
  return { ...(id !== undefined && { id }), ...(event !== undefined && { event }), data };
}

/** A line end in a name would let its rest pass for another field or another event. */
function field(name: string, value: string | undefined): string {
  if (value === undefined) return "";
  if (/[\r\n\0]/.test(value)) throw new TypeError(`Cannot frame an event: its ${name} has lines`);
  return `${name}: ${value}\n`;
}

/**
 * Passes the frames on, and yields `beat` whenever nothing came for `heartbeatMs`.
 *
 * Ends with its source, or when `signal` aborts, and gives the source the chance to clean up
 * either way. A consumer that stops early is obeyed at the next frame or beat; only the signal
 * takes effect at once, because nothing else can interrupt the wait for a frame.
 *
 * @param heartbeatMs 1 or more.
 */
export async function* withHeartbeat<Frame>(
  frames: AsyncIterable<Frame>,
  heartbeatMs: number,
  beat: Frame,
  signal: AbortSignal,
): AsyncGenerator<Frame, void, undefined> {
  const source = frames[Symbol.asyncIterator]();
  let next = source.next();
  try {
    while (true) {
      const first = await firstOf(next, heartbeatMs, signal);
      if (first === "aborted") return;
      if (first === "silence") {
        yield beat;
        continue;
      }
      if (first.done === true) return;
      yield first.value;
      next = source.next();
    }
  } finally {
    // Left behind by an abort; its failure has no reader any more.
    next.catch(() => undefined);
    await source.return?.();
  }
}

/** The same, but for silence before the first frame: a beat that is itself a frame cannot be first. */
export async function* withHeartbeatOnceBegun<Frame>(
  frames: AsyncIterable<Frame>,
  heartbeatMs: number,
  beat: Frame,
  signal: AbortSignal,
): AsyncGenerator<Frame, void, undefined> {
  const source = frames[Symbol.asyncIterator]();
  try {
    const first = await source.next();
    if (first.done === true) return;
    yield first.value;
    const rest = { [Symbol.asyncIterator]: () => source };
    yield* withHeartbeat(rest, heartbeatMs, beat, signal);
  } finally {
    await source.return?.();
  }
}

async function firstOf<Result>(
  result: Promise<Result>,
  silenceMs: number,
  signal: AbortSignal,
): Promise<Result | "silence" | "aborted"> {
  if (signal.aborted) return "aborted";
  let stopWaiting = (): void => undefined;
  const interruption = new Promise<"silence" | "aborted">((resolve) => {
    const onAbort = (): void => resolve("aborted");
    const timer = setTimeout(resolve, silenceMs, "silence");
    signal.addEventListener("abort", onAbort, { once: true });
    stopWaiting = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    };
  });
  try {
    return await Promise.race([result, interruption]);
  } finally {
    stopWaiting();
  }
}

const FRAME_END = Buffer.from("\n\n");
const LINE_END = 0x0a;

/**
 * The bytes of a stream in chunks that end where a frame does, so that something may come between two of
 * them. What is left of one that never ended is dropped, as every reader would.
 *
 * @throws {Error} For a frame that is longer than `maxBytes`.
 */
export async function* wholeFrames(
  chunks: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<Buffer, void, undefined> {
  // With room to grow: a frame comes in thousands of chunks, and is not copied anew for each of them.
  let held: Buffer = Buffer.alloc(0);
  let heldBytes = 0;
  for await (const chunk of chunks) {
    const endBytes = frameEndIn(chunk, held[heldBytes - 1] === LINE_END);
    const rest = chunk.subarray(endBytes);
    const restBytes = (endBytes > 0 ? 0 : heldBytes) + rest.length;
    if (restBytes > maxBytes) throw new Error("a frame is too long");
    if (endBytes > 0) {
      yield Buffer.concat([held.subarray(0, heldBytes), chunk.subarray(0, endBytes)]);
      [held, heldBytes] = [Buffer.alloc(0), 0];
    }
    if (restBytes > held.length) held = withRoom(held.subarray(0, heldBytes), 2 * restBytes);
    held.set(rest, heldBytes);
    heldBytes = restBytes;
  }
}

/** Where the last frame that ends in the chunk does; 0 for none. */
function frameEndIn(chunk: Uint8Array, isAfterLineEnd: boolean): number {
  const { buffer, byteOffset, length } = chunk;
  const at = Buffer.from(buffer, byteOffset, length).lastIndexOf(FRAME_END);
  if (at >= 0) return at + FRAME_END.length;
  return isAfterLineEnd && chunk[0] === LINE_END ? 1 : 0;
}

function withRoom(bytes: Uint8Array, roomBytes: number): Buffer {
  const roomy = Buffer.alloc(roomBytes);
  roomy.set(bytes);
  return roomy;
}
