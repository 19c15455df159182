/**
 * What the bodies of all protocols have in common: ids, text, images and documents, with their
 * limits, and how a body that does not fit is reported.
 *
 * @module
 */

import { z } from "zod";
import { AppError } from "../lib/errors.ts";
import { checkValue } from "../lib/schema-issues.ts";
import { MAX_THREAD_ID_LENGTH } from "../session/session-id.ts";
import type { InputPart } from "../turn/turn.ts";

/** Lengths are of JavaScript strings, in UTF-16 code units. */
export const INPUT_LIMITS = {
  textLength: 1_000_000,
  /** Parts of one message. */
  parts: 20,
  /** Places named in the answer to a body that does not fit. */
  reportedErrors: 100,
  /** Length of a reported place: it can hold keys of the body. */
  pointerLength: 256,
} as const;

const IMAGE_MEDIA_TYPES = ["image/png", "image/jpeg", "image/gif", "image/webp"] as const;
const DOCUMENT_MEDIA_TYPES = ["application/pdf", "text/plain"] as const;
/** What can be said beside text. */
export const ATTACHMENT_MEDIA_TYPES = [...IMAGE_MEDIA_TYPES, ...DOCUMENT_MEDIA_TYPES] as const;

/** A place in a body that does not fit; `pointer` is a JSON Pointer (RFC 6901). */
export interface BodyError {
  readonly pointer: string;
  readonly detail: string;
}

/**
 * A name that the client chose for something. Any character but control characters and halves of
 * surrogate pairs, two of which would look the same once written as UTF-8. It is only ever hashed
 * or echoed, never part of a path.
 */
export const clientIdSchema = z
  .string()
  .min(1)
  .max(MAX_THREAD_ID_LENGTH)
  .refine((id) => !/[\p{Cc}\p{Cs}]/u.test(id), {
    error: "needs well-formed Unicode without control characters",
  });

/** Halves of surrogate pairs, from a cut in the middle of an emoji, are replaced by U+FFFD. */
export const textSchema = z
  .string()
  .max(INPUT_LIMITS.textLength)
  .refine((text) => /\S/.test(text), { error: "needs text that is not blank" })
  .overwrite((text) => text.replace(/\p{Cs}/gu, "\uFFFD"));

const base64Schema = z.string().refine(isBase64, {
  error: "needs base64 (RFC 4648, section 4) with padding, and not empty",
});

const textPartSchema = z.strictObject({ type: z.literal("text"), text: textSchema });

const imagePartSchema = z.strictObject({
  type: z.literal("image"),
  mediaType: z.enum(IMAGE_MEDIA_TYPES),
  base64: base64Schema,
});

/** One of plain text becomes the text that it is, which must fit as any other does. */
const documentPartSchema = z
  .strictObject({
    type: z.literal("document"),
    mediaType: z.enum(DOCUMENT_MEDIA_TYPES),
    base64: base64Schema,
  })
  .transform((part, context): InputPart => {
    if (part.mediaType !== "text/plain") return part;
    const text = utf8Of(part.base64);
    const checked = text === null ? NO_UTF8 : checkValue(textSchema, text);
    if (checked.ok) return { type: "text", text: checked.value };
    for (const { message } of checked.issues) {
      context.addIssue({ code: "custom", message, path: ["base64"] });
    }
    return z.NEVER;
  });

const NO_UTF8 = { ok: false, issues: [{ message: "needs the base64 of text in UTF-8" }] } as const;

/** Null for bytes that are no text. */
function utf8Of(base64: string): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(base64, "base64"));
  } catch {
    return null;
  }
}

export const inputPartSchema = z.discriminatedUnion("type", [
  textPartSchema,
  imagePartSchema,
  documentPartSchema,
]) satisfies z.ZodType<InputPart>;

/** By searching for what does not belong: a pattern of groups overflows on megabytes. */
function isBase64(text: string): boolean {
  if (text.length === 0 || text.length % 4 !== 0) return false;
  return !/[^A-Za-z0-9+/]/.test(text.replace(/={1,2}$/, ""));
}

/** Refuses the request, naming the places that do not fit: all, or as many as one can read. */
export function invalidBody(errors: readonly BodyError[]): AppError {
  const shown = errors.slice(0, INPUT_LIMITS.reportedErrors).map(({ pointer, detail }) => ({
    pointer: pointer.slice(0, INPUT_LIMITS.pointerLength),
    detail: detail.slice(0, 2 * INPUT_LIMITS.pointerLength),
  }));
  const places = errors.length === 1 ? "one place does" : `${errors.length} places do`;
  return new AppError("invalid_request", `Cannot take the request: ${places} not fit`, {
    errors: shown,
  });
}

type CheckedValue<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly errors: readonly BodyError[] };

/** @param pointer Where in the body the value stands; empty for the body itself. */
export function checkInput<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  pointer = "",
): CheckedValue<z.output<Schema>> {
  const checked = checkValue(schema, value);
  if (checked.ok) return checked;
  const errors = checked.issues.map(({ path, message }) => ({
    pointer: pointer + toPointer(path),
    detail: message,
  }));
  return { ok: false, errors };
}

function toPointer(path: readonly PropertyKey[]): string {
  // Cut first: a key may be as long as the body.
  const escape = (key: PropertyKey): string =>
    String(key).slice(0, INPUT_LIMITS.pointerLength).replaceAll("~", "~0").replaceAll("/", "~1");
  return path.map((key) => `/${escape(key)}`).join("");
}
