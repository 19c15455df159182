/**
 * Which of the media types we can produce a client prefers (RFC 9110, section 12.5.1).
 *
 * @module
 */

import { SSE_MEDIA_TYPE } from "./sse.ts";

interface MediaRange {
  /** Lower case; `*` stands for any. */
  readonly type: string;
  readonly subtype: string;
  /** 0 to 1; 0 refuses. */
  readonly quality: number;
}

/**
 * The offered media type the client likes best, or null when it takes none of them. Among equals
 * the one offered first wins; without a header, anything is acceptable.
 *
 * @param offered Bare media types in lower case, the server's favourite first.
 */
export function preferredMediaType<Offered extends string>(
  accept: string | undefined,
  offered: readonly Offered[],
): Offered | null {
  const ranges = parseAccept(accept?.trim() ? accept : "*/*");
  let best: Offered | null = null;
  let bestQuality = 0;
  for (const mediaType of offered) {
    const quality = qualityOf(mediaType, ranges);
    if (quality > bestQuality) {
      best = mediaType;
      bestQuality = quality;
    }
  }
  return best;
}

/** Whether a turn is answered with one JSON body or with its events; null for neither. */
export function negotiateRest(accept: string | undefined): "json" | "events" | null {
  const preferred = preferredMediaType(accept, ["application/json", SSE_MEDIA_TYPE]);
  if (preferred === null) return null;
  return preferred === SSE_MEDIA_TYPE ? "events" : "json";
}

/** The most specific range that matches decides, also when a wider one is liked better. */
function qualityOf(mediaType: string, ranges: readonly MediaRange[]): number {
  const [type, subtype] = mediaType.split("/");
  const exact = ranges.find((range) => range.type === type && range.subtype === subtype);
  const family = ranges.find((range) => range.type === type && range.subtype === "*");
  const any = ranges.find((range) => range.type === "*" && range.subtype === "*");
  return (exact ?? family ?? any)?.quality ?? 0;
}

function parseAccept(accept: string): MediaRange[] {
  return accept.split(",").flatMap((range) => parseRange(range) ?? []);
}

/** Undefined for what is no media range. Parameters other than the weight are not looked at. */
function parseRange(text: string): MediaRange | undefined {
  const [name = "", ...parameters] = text.toLowerCase().split(";");
  const [type, subtype, ...rest] = name.trim().split("/");
  if (!type || !subtype || rest.length > 0) return undefined;
  const weight = parameters.map((one) => one.trim()).find((one) => one.startsWith("q="));
  const quality = weight === undefined ? 1 : parseQuality(weight.slice(2));
  return quality === undefined ? undefined : { type, subtype, quality };
}

/** A weight of RFC 9110, 12.4.2: 0 to 1, of three decimals at most; undefined for what is none. */
export function parseQuality(text: string): number | undefined {
  return /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(text) ? Number(text) : undefined;
}
