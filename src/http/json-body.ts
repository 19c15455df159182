/**
 * A request body as JSON: well-formed UTF-8, valid, and not deeper than anyone needs.
 *
 * @module
 */

import { AppError } from "../lib/errors.ts";

/** Arrays and objects within one another. The deepest body of our protocols has nine. */
const MAX_JSON_DEPTH = 64;

/** Whether a Content-Type names no charset, or one of which all text is UTF-8. */
export function isUtf8(contentType = ""): boolean {
  const charset = /;\s*charset\s*=\s*"?([^\s";]*)/i.exec(contentType)?.[1];
  return charset === undefined || /^(?:utf-?8|us-ascii)$/i.test(charset);
}

/**
 * Undefined for no body at all: some clients announce JSON also where there is none to send.
 *
 * @throws {AppError} `invalid_request`
 */
export function parseJsonBody(bytes: Buffer): unknown {
  if (bytes.length === 0) return undefined;
  const text = decodeUtf8(bytes);
  if (depthOf(text) > MAX_JSON_DEPTH) throw unreadable(`it nests deeper than ${MAX_JSON_DEPTH}`);
  try {
    return JSON.parse(text);
  } catch (cause) {
    // V8 quotes the text around the error: where it stands is enough.
    const place = /at position \d+|end of JSON input/i.exec(String(cause))?.[0];
    throw unreadable(place === undefined ? "it is not JSON" : `it is not JSON (${place})`);
  }
}

function decodeUtf8(bytes: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw unreadable("it is not UTF-8");
  }
}

/**
 * How deep brackets nest outside of strings; more than the truth for text that is no JSON. One
 * look at each character: a pattern with alternatives could be made to look again and again.
 */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (inString) {
      if (character === "\\") at++;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === "[" || character === "{") deepest = Math.max(deepest, ++depth);
    else if (character === "]" || character === "}") depth--;
  }
  return deepest;
}

function unreadable(state: string): AppError {
  return new AppError("invalid_request", `Cannot read the body: ${state}`, {
    errors: [{ pointer: "", detail: state }],
  });
}
