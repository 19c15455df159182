/**
 * SHA-256 as text.
 *
 * @module
 */

import { createHash } from "node:crypto";

export function sha256(data: string | Uint8Array, encoding: "hex" | "base64url" = "hex"): string {
  return createHash("sha256").update(data).digest(encoding);
}
