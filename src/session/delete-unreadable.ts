/**
 * Deletes a session in a store that nobody can read any more, because somebody asks for that: a limit
 * never takes one, as it may be worth a rescue.
 *
 * @module
 */

import type { SessionRef } from "./session-id.ts";
import { mustNotBeOnHold, recordFrom } from "./session-record.ts";
import { logKeyOf } from "./stored-record.ts";
import { holdIn } from "./stores/damaged-head.ts";
import { deletingNameOf, goneNameOf } from "./stores/names.ts";
import type { ObjectStore } from "./stores/object-store.ts";
import { deleted, type LeaseTerms, type SessionHead } from "./stores/session-head.ts";
import type { SessionLog } from "./stores/session-log.ts";

/**
 * Its place in the list is not known: a sweep finds that it is of none.
 *
 * @throws {AppError} `session_on_hold` where it may be; `session_busy`, `session_newer`,
 *   `store_unavailable`.
 */
export async function deleteUnreadable(
  { store, log }: { readonly store: ObjectStore; readonly log: SessionLog },
  ref: SessionRef,
  terms: LeaseTerms,
): Promise<void> {
  const { nowMs } = terms;
  const key = logKeyOf(ref);
  const remove = (head: SessionHead): SessionHead => {
    mustNotBeOnHold(recordFrom(head.record) ?? holdIn(head.record));
    return deleted(head, terms);
  };
  const known = await log.knowAnyway(key, nowMs);
  // Refused before anything is written for it.
  remove(known.head);
  const deletingName = deletingNameOf(key, nowMs);
  for (const name of [goneNameOf(key, nowMs), deletingName]) {
    await store.put(name, Buffer.alloc(0), "any");
  }
  await log.update(key, remove, known);
  await log.clear(key);
  // If that cannot be told now, a sweep looks once more.
  await store.delete([deletingName]).catch(() => {});
}
