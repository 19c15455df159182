/**
 * What replicas say to each other about a request that is passed on: which of them is meant, and that
 * this is the one. An address may be somebody else's by now, also another replica's.
 *
 * @module
 */

import type { IncomingHttpHeaders } from "node:http";
import { AppError } from "../lib/errors.ts";

/** Has the tag of the replica that is meant; whoever has it was passed on. */
export const MEANT = "x-plimsoll-forwarded";

/** Has the tag of the replica that answers. */
export const ANSWERED_BY = "x-plimsoll-replica";

/**
 * Null for a request of a client, or one that is meant for this replica.
 *
 * @param ownTag Undefined where the others do not know of this replica.
 */
export function refusalOfMark(
  headers: IncomingHttpHeaders,
  ownTag: string | undefined,
): AppError | null {
  const meant = headers[MEANT];
  return meant === undefined || meant === ownTag ? null : MEANT_FOR_ANOTHER;
}

// Always the same, so made once.
const MEANT_FOR_ANOTHER = new AppError(
  "misdirected_request",
  "Cannot take what is passed on: another replica is meant",
);
