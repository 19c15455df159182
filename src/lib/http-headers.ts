/**
 * Headers of HTTP as a user writes them: what no client can send is refused where it stands, and not
 * by every request, long after.
 *
 * @module
 */

import { z } from "zod";
import { needs } from "./schema-issues.ts";

/** A token of RFC 9110, section 5.6.2. */
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/u;
/** A field value of RFC 9110, section 5.5, as Node sends it: a character is a byte. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/u;

const NAME_NEEDED = needs(
  "the name of a header: letters, digits and `-`, without blanks or a colon",
  "Write for example `X-Api-Key`",
);
const VALUE_NEEDED = needs(
  "a value that a header can have: one line of Latin letters and signs",
  "Take out line breaks, also one at its end, and what is not in Latin-1",
);

/** @param maxValueLength In UTF-16 code units. */
export function headersSchema(maxValueLength: number): z.ZodRecord<z.ZodString, z.ZodString> {
  const name = z.string().regex(NAME, { error: NAME_NEEDED });
  return z.record(name, z.string().max(maxValueLength)).superRefine((headers, context) => {
    for (const [key, value] of Object.entries(headers)) {
      if (VALUE.test(value)) continue;
      // Told of the name, because what is told of a value repeats it, and this one may be secret.
      const issues = [{ code: "custom" as const, message: VALUE_NEEDED, path: [], input: key }];
      context.addIssue({ code: "invalid_key", origin: "record", path: [key], issues, input: key });
    }
  });
}
