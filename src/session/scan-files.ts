/**
 * What retention has to know of the sessions of a data directory.
 *
 * @module
 */

import { join } from "node:path";
import { recordIn, sessionDirectories } from "./session-list.ts";
import type { SessionLocks } from "./session-locks.ts";
import { RECORD_NAME } from "./session-paths.ts";
import { readLastUse } from "./session-record.ts";
import type { SeenSession } from "./session-tally.ts";
import type { ScanOptions } from "./sessions.ts";
import { treeSizeOf } from "./tree-size.ts";

/** Where the sessions are, and who knows which of them are busy. */
interface ScannedPlace {
  readonly dataDirectory: string;
  readonly locks: Pick<SessionLocks, "isLocked">;
}

/** All sessions there are, a few at a time, in no order. */
export async function* scanFiles(
  place: ScannedPlace,
  options: ScanOptions,
): AsyncGenerator<readonly (SeenSession | "unreadable")[]> {
  for await (const directories of sessionDirectories(place.dataDirectory)) {
    const found = await Promise.all(directories.map((each) => lookAt(each, place, options)));
    yield found.filter((each) => each !== undefined);
  }
}

/** Undefined when it is gone by now, or was never begun. */
async function lookAt(
  directory: string,
  { dataDirectory, locks }: ScannedPlace,
  { withDiskUsage }: ScanOptions,
): Promise<SeenSession | "unreadable" | undefined> {
  try {
    const record = await recordIn(dataDirectory, directory);
    if (record === undefined) return undefined;
    const size = withDiskUsage ? await treeSizeOf(directory) : undefined;
    const { tenant, sessionId, createdAtMs, onHoldSinceMs, transcriptBytes } = record;
    return {
      tenant,
      sessionId,
      createdAtMs,
      lastUseAtMs: await readLastUse(join(directory, RECORD_NAME), record),
      bytes: size?.diskBytes ?? transcriptBytes,
      transcriptBytes,
      isOnHold: onHoldSinceMs !== undefined,
      isBusy: locks.isLocked({ tenant, sessionId }),
    };
  } catch {
    return "unreadable";
  }
}
