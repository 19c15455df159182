/**
 * Whose each process is, by the markers in its environment, which is read once.
 *
 * The kernel reads an environment under the lock of the memory it is in. One that waits in the kernel
 * (state D, on a dead network disk) may hold that lock, and whoever reads then waits with it: the main
 * loop, or the memory guard. So nobody in that state is asked, and nobody twice.
 *
 * @module
 */

import { SERVER_ID_MARKER, PROCESS_ID_MARKER } from "../lib/process-markers.ts";
import { type ProcessStat, type ProcessTable, readEnvironment, variableIn } from "./proc.ts";

interface Markers {
  readonly startTicks: number;
  /** Whether it had its own program: until its exec it has the environment of its parent. */
  readonly hasOwnProgram: boolean;
  /** Which program it ran: `env A=b setsid sleep` is three in a row, and not all are marked alike. */
  readonly nameHash: number;
  readonly processId: string | null;
  readonly serverId: string | null;
}

export class KnownMarkers {
  readonly #read: (pid: number) => string | null;
  #known = new Map<number, Markers>();

  constructor(read: (pid: number) => string | null = readEnvironment) {
    this.#read = read;
  }

  /** Forgets all that are not in the table. */
  keepOnly(table: ProcessTable): void {
    for (const pid of this.#known.keys()) if (!table.byPid.has(pid)) this.#known.delete(pid);
  }

  /** The marker of a process; null for one without it, and for one that cannot be asked now. */
  valueOf(stat: ProcessStat, marker: Marker): string | null {
    const markers = this.#markersOf(stat);
    return (marker === PROCESS_ID_MARKER ? markers?.processId : markers?.serverId) ?? null;
  }

  #markersOf(stat: ProcessStat): Markers | null {
    const { pid, startTicks, hasOwnProgram, nameHash, waitsInKernel } = stat;
    const known = this.#known.get(pid);
    const isSame = known?.startTicks === startTicks;
    const hadExec = known?.hasOwnProgram !== hasOwnProgram || known.nameHash !== nameHash;
    if (isSame && !hadExec) return known;
    if (waitsInKernel) return isSame ? known : null;
    const environment = this.#read(pid);
    // Cannot be read now, or is in the middle of an exec.
    if (environment === null || environment === "") return isSame ? known : null;
    const processId = variableIn(environment, PROCESS_ID_MARKER);
    const serverId = variableIn(environment, SERVER_ID_MARKER);
    const markers = { startTicks, hasOwnProgram, nameHash, processId, serverId };
    this.#known.set(pid, markers);
    return markers;
  }
}

export type Marker = typeof PROCESS_ID_MARKER | typeof SERVER_ID_MARKER;
