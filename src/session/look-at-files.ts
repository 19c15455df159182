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
import { treeSizeOf } from "./tree-size.ts";

export interface LookOptions {
  readonly dataDirectory: string;
  readonly locks: Pick<SessionLocks, "isLocked">;
  /** Whether all of its files are to be weighed, or its transcript alone. */
  readonly needsBytes: boolean;
}

/** All there are, a few at a time, in no order. */
export async function* lookAtFiles(
  options: LookOptions,
): AsyncGenerator<readonly (SeenSession | "unreadable")[]> {
  for await (const directories of sessionDirectories(options.dataDirectory)) {
    const found = await Promise.all(directories.map((each) => lookAt(each, options)));
    yield found.filter((each) => each !== undefined);
  }
}

/** Undefined when it is gone by now, or was never begun. */
async function lookAt(
  directory: string,
  { dataDirectory, locks, needsBytes }: LookOptions,
): Promise<SeenSession | "unreadable" | undefined> {
  try {
    const record = await recordIn(dataDirectory, directory);
    if (record === undefined) return undefined;
    const size = needsBytes ? await treeSizeOf(directory) : undefined;
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
