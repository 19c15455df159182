/**
 * The names that a server file gives to things of its own.
 *
 * @module
 */

import { z } from "zod";
import { needs } from "../lib/schema-issues.ts";

/** Fits into a log line, a label and a part of an address as it is. */
export const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/u, {
  error: needs("a name of 1 to 64 letters, digits, `.`, `_` or `-`", "Choose another name"),
});
