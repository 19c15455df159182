/**
 * `plimsoll keys new`: a key for callers, and what the server file says of it. The key itself is
 * printed once and kept nowhere.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import type { AuthKey } from "../config/config.ts";
import { ServerFile } from "../config/schema.ts";
import { AppError } from "../lib/errors.ts";
import { checkValue } from "../lib/schema-issues.ts";
import { sha256 } from "../lib/sha256.ts";
import { EXIT } from "./exit-codes.ts";
import type { Io } from "./io.ts";

const KEY_BYTES = 32;

export interface NewKeyOptions {
  readonly tenant: string;
  readonly role: AuthKey["role"];
  /** Name of the key in logs; made up without it. */
  readonly id?: string;
}

/** @throws {AppError} `usage` when the server file could not hold such a key. */
export function runKeysNew({ tenant, role, id }: NewKeyOptions, io: Io): number {
  const secret = `plk_${randomBytes(KEY_BYTES).toString("base64url")}`;
  const key = {
    id: id ?? `${tenant}-${randomBytes(3).toString("hex")}`,
    tenant,
    role,
    sha256: sha256(secret),
  };
  const checked = checkValue(ServerFile, { auth: { keys: [key] } });
  if (!checked.ok) {
    // The id is made from the tenant unless it is given.
    const [first, ...others] = checked.issues;
    const issue = id === undefined ? (others.at(0) ?? first) : first;
    const flag = `--${String(issue?.path.at(-1))}`;
    throw new AppError("usage", `Cannot make the key: ${flag} ${issue?.message}`);
  }
  io.stdout(
    [
      "The key, shown this once; callers send it as `Authorization: Bearer <key>`:",
      "",
      `  ${secret}`,
      "",
      "For the server file plimsoll.yaml:",
      "",
      "auth:",
      "  keys:",
      // JSON strings are YAML strings, whatever the name looks like.
      `    - id: ${JSON.stringify(key.id)}`,
      `      tenant: ${JSON.stringify(key.tenant)}`,
      `      role: ${key.role}`,
      `      sha256: ${JSON.stringify(key.sha256)}`,
      "",
    ].join("\n"),
  );
  return EXIT.ok;
}
